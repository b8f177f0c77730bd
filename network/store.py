"""What a content store is, how one is named in the settings, and how whole artifacts go in and out of any of them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from network.directory_store import DirectoryStore
from network.memory_store import MemoryStore
from protocol.artifact import load_directory
from protocol.cid import Cid
from protocol.errors import InvalidInput
from protocol.types import Digest
from protocol.unixfs import Block, import_directory, import_file, read_file


class ContentStore(Protocol):
    """A place of blocks. Whatever it does inside, it gives only verified bytes and raises only these errors."""

    def get_block(self, cid: Cid) -> bytes:
        """Return the verified bytes of ``cid``; raises BlockMissing, BlockCorrupt, StoreUnavailable."""
        ...

    def put_block(self, block: Block) -> None:
        """Keep ``block``, durably where the store is durable; idempotent; raises BlockCorrupt, StoreUnavailable."""
        ...

    def has_block(self, cid: Cid) -> bool:
        """Say whether the block is in this store, without asking any other; raises StoreUnavailable."""
        ...

    def keep(self, cid: Cid) -> None:
        """Protect the complete tree of ``cid`` from garbage collection; raises BlockMissing, StoreUnavailable."""
        ...


def open_store(url: str) -> ContentStore:
    """Return the store that ``url`` names.

    ``dir:/var/lib/rondo/blocks`` is a directory on disk, ``memory:`` a new empty store in memory, and
    ``kubo:/ip4/127.0.0.1/tcp/5001`` the API of a Kubo node by its multiaddress.

    Raises:
        InvalidInput: It names none.
        StoreUnavailable: The directory cannot be created or written.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "dir" and rest:
        return DirectoryStore(Path(rest).expanduser())
    if scheme == "memory" and not rest:
        return MemoryStore()
    if scheme == "kubo" and rest:
        from network.ipfs import KuboStore  # the client library takes a third of a second to import

        return KuboStore(rest)
    raise InvalidInput(
        f"{url!r} names no content store.", "Unknown form.", "Use dir:/path, memory: or kubo:/ip4/127.0.0.1/tcp/5001."
    )


def publish(store: ContentStore, files: Mapping[str, bytes]) -> Digest:
    """Put the artifact of ``files`` (content by name) into ``store`` and return its digest.

    The directory's own block is put last, so whoever finds it finds everything below it.

    Raises:
        InvalidInput: As ``protocol.unixfs.import_directory``.
        StoreUnavailable: The store failed; what is already in it does no harm, and trying again completes it.
    """
    root = import_directory(files, store.put_block)
    store.keep(root.cid)
    return root.cid.digest


def fetch(store: ContentStore, digest: Digest, limit: int) -> dict[str, bytes]:
    """Return the files of the artifact ``digest``, at most ``limit`` bytes; raises as ``load_directory``."""
    return load_directory(digest, store.get_block, limit)


def publish_file(store: ContentStore, data: bytes) -> Cid:
    """Put one file into ``store`` and return its CID; raises StoreUnavailable."""
    cid = import_file(io.BytesIO(data), store.put_block).cid
    store.keep(cid)
    return cid


def fetch_file(store: ContentStore, cid: Cid, limit: int) -> bytes:
    """Return the bytes of the file ``cid``, at most ``limit``; raises as ``protocol.unixfs.read_file``."""
    return read_file(cid, store.get_block, limit)
