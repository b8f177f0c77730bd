"""How whole artifacts and files go in and out of any content store."""

from __future__ import annotations

import io
from collections.abc import Mapping

from network.block_writer import BlockWriter
from network.store import ContentStore
from protocol.artifact import load_directory
from protocol.cid import Cid
from protocol.types import Digest
from protocol.unixfs import import_directory, import_file, read_file


def publish(store: ContentStore, files: Mapping[str, bytes]) -> Digest:
    """Put the artifact of ``files`` (content by name) into ``store`` and return its digest.

    The directory's own block is put last, so whoever finds it finds everything below it.

    Raises:
        InvalidInput: As ``protocol.unixfs.import_directory``.
        StoreUnavailable: The store failed; what is already in it does no harm, and trying again completes it.
    """
    with store.lease():
        with BlockWriter(store) as writer:
            root = import_directory(files, writer.emit)
        store.keep(root.cid)
    return root.cid.digest


def fetch(store: ContentStore, digest: Digest, limit: int) -> dict[str, bytes]:
    """Return the files of the artifact ``digest``, at most ``limit`` bytes; raises as ``load_directory``."""
    return load_directory(digest, store.get_block, limit)


def publish_file(store: ContentStore, data: bytes) -> Cid:
    """Put one file into ``store`` and return its CID; raises StoreUnavailable."""
    with store.lease():
        with BlockWriter(store) as writer:
            cid = import_file(io.BytesIO(data), writer.emit).cid
        store.keep(cid)
    return cid


def fetch_file(store: ContentStore, cid: Cid, limit: int) -> bytes:
    """Return the bytes of the file ``cid``, at most ``limit``; raises as ``protocol.unixfs.read_file``."""
    return read_file(cid, store.get_block, limit)
