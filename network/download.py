"""Whole files and artifact directories from any source to disk: verified, resumable, with memory of a few blocks.

What came is kept in ``<path>.part``, whatever ends a download: an error, ``kill -9``, a full disk. The next one hashes what
is there and asks only for the rest; ``path`` itself appears by rename, when it is whole and on disk.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

from network.files import sync_directory
from network.local_tree import import_path
from network.part_file import PartFile, open_inside, open_part_file, open_part_folder
from network.progress import OnProgress, silent
from network.reader import Arrival, Reader
from network.store import BlockSource
from protocol.cid import RAW, Cid
from protocol.dag_pb import Kind, decode_node
from protocol.errors import InvalidInput


def download(
    source: BlockSource,
    cid: Cid,
    path: Path,
    *,
    limit: int,
    seconds: float | None = None,
    on_progress: OnProgress = silent,
) -> int:
    """Fetch the file or artifact directory ``cid`` to ``path``; as ``download_file`` and ``download_tree``, whichever it is."""
    reader = Reader(source, seconds=seconds, on_progress=on_progress)
    is_file = cid.codec == RAW or decode_node(reader.top(cid)).kind is Kind.FILE
    return (_download_file if is_file else _download_tree)(reader, cid, path, limit)


def download_file(
    source: BlockSource,
    cid: Cid,
    path: Path,
    *,
    limit: int,
    seconds: float | None = None,
    on_progress: OnProgress = silent,
) -> int:
    """Fetch the file ``cid`` to ``path`` and return its size in bytes; nothing is fetched where it is there already.

    Two processes may do so at once: the second waits, and finds it done or goes on where the first one ended.

    Args:
        limit: Most bytes of content.
        seconds: How long it may last; what came by then is kept.
        on_progress: Takes the bytes that are there, and those that will be.

    Raises:
        BlockMissing, BlockCorrupt, StoreUnavailable: A block cannot be had, after all that the source tried; or the
            time is over (StoreUnavailable).
        TooLarge, NotCanonical: As ``protocol.unixfs.read_file``; TooLarge before any leaf is asked for.
        InvalidInput: ``path`` is something else already, or another process is at it until the time is over.
        OSError: The file system says no, for example because it is full.
    """
    return _download_file(Reader(source, seconds=seconds, on_progress=on_progress), cid, path, limit)


def download_tree(
    source: BlockSource,
    cid: Cid,
    path: Path,
    *,
    limit: int,
    seconds: float | None = None,
    on_progress: OnProgress = silent,
) -> int:
    """Fetch the artifact directory ``cid`` to the folder ``path``, which appears whole; as ``download_file``.

    Files of another artifact that an earlier download left in ``<path>.part`` are removed.
    """
    return _download_tree(Reader(source, seconds=seconds, on_progress=on_progress), cid, path, limit)


def _download_file(reader: Reader, cid: Cid, path: Path, limit: int) -> int:
    with open_part_file(path, reader.seconds_left) as part:
        there = _size_there(path, cid)
        if there is not None:
            return there
        size = _fill(part, reader.leaves(cid, limit, part.has))
        part.place.replace(path)
        sync_directory(path.parent)
    return size


def _download_tree(reader: Reader, cid: Cid, path: Path, limit: int) -> int:
    with open_part_folder(path, reader.seconds_left) as folder:
        there = _size_there(path, cid)
        if there is not None:
            return there
        links, size = reader.directory(cid, limit), 0
        _remove_others(folder, set(links))
        for name, link in links.items():
            with open_inside(folder, name) as part:
                size += _fill(part, reader.linked_leaves(link, part.has))
        sync_directory(folder)
        folder.rename(path)
        sync_directory(path.parent)
    return size


def _fill(part: PartFile, arrivals: Generator[Arrival, None, None]) -> int:
    """Write what comes, put it on disk, and return the size."""
    size = 0
    with closing(arrivals):
        for leaf, data in arrivals:
            size = max(size, leaf.offset + leaf.size)
            if data is not None:
                part.write(leaf, data)
    part.finish(size)
    return size


def _size_there(path: Path, cid: Cid) -> int | None:
    """Return the size of ``path`` where it is the content of ``cid``, None where it is not there; raises InvalidInput."""
    if not os.path.lexists(path):
        return None
    found = import_path(path, lambda _: None, hidden=True)
    if found.cid == cid:
        return found.size
    raise InvalidInput(f"{path} exists.", f"It is {found.cid}.", "Remove it, or name another path.")


def _remove_others(folder: Path, names: set[str]) -> None:
    for other in folder.iterdir():
        if other.name not in names:
            if other.is_dir() and not other.is_symlink():
                raise InvalidInput(f"{other} is in the way.", "No artifact has folders.", "Move it.")
            other.unlink()
