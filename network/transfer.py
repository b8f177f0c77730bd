"""How whole artifacts and files go in and out of any content store."""

from __future__ import annotations

import io
from collections.abc import Generator, Mapping
from contextlib import closing
from pathlib import Path

from network.block_writer import BlockWriter
from network.local_tree import bytes_to_import, import_path
from network.progress import OnProgress, silent
from network.reader import Arrival, Reader
from network.store import ContentStore
from protocol.artifact import check_directory
from protocol.cid import RAW, Cid, directory_cid
from protocol.content import Content, Files, open_stream
from protocol.errors import InvalidInput
from protocol.types import Digest
from protocol.unixfs import Block, Root, import_directory, import_file


def publish(store: ContentStore, files: Mapping[str, bytes] | Files) -> Digest:
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


def fetch(
    store: ContentStore,
    digest: Digest,
    limit: int,
    *,
    seconds: float | None = None,
    on_progress: OnProgress = silent,
) -> dict[str, bytes]:
    """Return the files of the artifact ``digest``, at most ``limit`` bytes, several blocks at once.

    Args:
        seconds: How long it may last; None is as long as every block comes within the store's own limit.
        on_progress: Takes the bytes that are there, and those that will be.

    Raises:
        StoreUnavailable: Also when ``seconds`` are over.
        All else as ``protocol.artifact.load_directory``.
    """
    cid = directory_cid(digest)
    reader = Reader(store, seconds=seconds, on_progress=on_progress)
    with store.lease(cid):
        links = reader.directory(cid, limit)
        files = {name: _content(reader.linked_leaves(link)) for name, link in links.items()}
    check_directory(digest, files)
    return files


def publish_file(store: ContentStore, data: bytes | Content) -> Cid:
    """Put one file into ``store`` and return its CID; raises StoreUnavailable."""
    with store.lease():
        with BlockWriter(store) as writer:
            cid = import_file(open_stream(data), writer.emit).cid
        store.keep(cid)
    return cid


def publish_path(store: ContentStore, path: Path, on_progress: OnProgress = silent) -> Root:
    """Put the file or artifact directory ``path`` into ``store``, with memory of a few blocks, and keep it.

    Args:
        on_progress: Takes the content bytes that were handed to the store, and those that will be.

    Raises:
        InvalidInput: It cannot be read, or it is a directory that is no artifact: more than 8 files, other names.
        FileChanged: It was changed while it was read.
        StoreUnavailable: The store failed; what is already in it does no harm, and trying again completes it.
    """
    _check_artifact(path)
    total, done = bytes_to_import(path, hidden=True, follow=True), 0
    with store.lease():
        with BlockWriter(store) as writer:

            def emit(block: Block) -> None:
                nonlocal done
                writer.emit(block)
                if block.cid.codec == RAW:
                    done += len(block.data)
                    on_progress(done, total)

            root = import_path(path, emit, hidden=True, follow=True)
        store.keep(root.cid)
    return root


def fetch_file(
    store: ContentStore,
    cid: Cid,
    limit: int,
    *,
    seconds: float | None = None,
    on_progress: OnProgress = silent,
) -> bytes:
    """Return the bytes of the file ``cid``, at most ``limit``, as ``fetch``; raises as ``protocol.unixfs.read_file``."""
    with store.lease(cid):
        return _content(Reader(store, seconds=seconds, on_progress=on_progress).leaves(cid, limit))


def _content(arrivals: Generator[Arrival, None, None]) -> bytes:
    out = io.BytesIO()
    with closing(arrivals):
        for leaf, data in arrivals:
            out.seek(leaf.offset)
            out.write(data or b"")
    return out.getvalue()


def _check_artifact(path: Path) -> None:
    """Refuse a directory that could not be fetched again as an artifact, before anything of it is read."""
    if not path.is_dir():
        return
    below = sorted(path.iterdir())
    import_directory({one.name: b"" for one in below}, lambda _: None)
    for one in below:
        if not one.is_file():
            raise InvalidInput(f"{one} is no file.", "An artifact is a directory of files alone.", "Leave it out.")
