"""Files that are read and hashed several at a time, in pieces that stay in a processor's cache."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import TypeAlias

from network.mapped_files import laid
from protocol.sha256_lanes import MOST_LANES, Hashing, side_by_side

PIECE = 64 * 1024  # bytes that are read of each file in turn
_APART = 17 * 64  # bytes between the pieces, so that they do not all want the same lines of the cache

_ROOMS: list[bytearray] = []  # memory to read into: getting it from the system anew costs more than hashing

Hashed: TypeAlias = tuple[bytes, os.stat_result]


def hash_files(paths: Sequence[str], size: int) -> list[Hashed | None]:
    """Return the sha-256 of each file, and what described it before it was read; None where it has not ``size`` bytes.

    Memory is 1 MiB for each thread that is here at once, and stays for the next; the interpreter lock is free most of the
    time.

    Args:
        paths: At most 16 files, which may be gone: None as well.

    Raises:
        OSError: One of them cannot be read.
    """
    if len(paths) > MOST_LANES:
        raise ValueError(f"{len(paths)} files are more than {MOST_LANES}")
    with contextlib.ExitStack() as stack:
        files = [_open(path, stack) for path in paths]
        stats = [None if file is None else os.fstat(file) for file in files]
        whole = [at for at, stat in enumerate(stats) if stat is not None and stat.st_size == size]
        digests = _digests([file for file in (files[at] for at in whole) if file is not None], size)
    found: list[Hashed | None] = [None] * len(paths)
    for at, digest in zip(whole, digests, strict=True):
        stat = stats[at]
        found[at] = None if digest is None or stat is None else (digest, stat)
    return found


def _open(path: str, stack: contextlib.ExitStack) -> int | None:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    stack.callback(os.close, file)
    return file


def _digests(files: Sequence[int], size: int) -> list[bytes | None]:
    """Return the digests of open files of ``size`` bytes; None of one that was cut short meanwhile."""
    if not files:
        return []
    hashing = side_by_side(len(files), size)
    if hashing.lanes is not None:
        with laid(files, size) as rows:
            if rows is not None:  # all at once: no thread waits for the interpreter in between
                return list(hashing.finish([row.data for row in rows]))
    try:
        room = _ROOMS.pop()
    except IndexError:
        room = bytearray(MOST_LANES * (PIECE + _APART))
    try:
        return _digests_in(memoryview(room), hashing, files, size)
    finally:
        _ROOMS.append(room)


def _digests_in(room: memoryview, hashing: Hashing, files: Sequence[int], size: int) -> list[bytes | None]:
    pieces = [room[at * (PIECE + _APART) :][:PIECE] for at in range(len(files))]
    cut = [False] * len(files)
    end = max(size - 1, 0) // PIECE * PIECE  # where the last piece begins, which need not be whole
    for start in range(0, end, PIECE):
        for at, file in enumerate(files):
            cut[at] |= not fill(file, start, pieces[at])
        hashing.update(pieces)
    ends = [piece[: size - end] for piece in pieces]
    for at, file in enumerate(files):
        cut[at] |= not fill(file, end, ends[at])
    return [None if is_cut else digest for is_cut, digest in zip(cut, hashing.finish(ends), strict=True)]


def fill(file: int, start: int, out: memoryview) -> bool:
    """Fill ``out`` with the bytes of the open ``file`` from ``start`` on; say whether there were as many."""
    filled = 0
    while filled < len(out):
        count = os.preadv(file, [out[filled:]], start + filled)
        if not count:
            return False
        filled += count
    return True
