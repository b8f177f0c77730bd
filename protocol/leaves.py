"""The leaves of files, hashed side by side while they are read: piece by piece, so that none is held as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocol.cid import RAW, Cid
from protocol.content import Files
from protocol.rooms import lent
from protocol.runs import Run
from protocol.sha256_lanes import most_together, prepare, side_by_side, together
from protocol.types import Digest

PIECE = 128 * 1024  # bytes of a leaf at a time: of all lanes they stay in the caches between reading and hashing

_ROOMS: list[NDArray[np.uint8]] = []  # memory to read into: getting it from the system anew takes long


@dataclass(frozen=True, slots=True)
class _Leaf:
    """Where a leaf lies: bytes ``start`` to before ``stop`` of the file ``name``."""

    name: str
    start: int
    stop: int


def leaf_cids(files: Files, size: int, run: Run) -> dict[str, list[tuple[Cid, int]]]:
    """Return the CID and the length of each leaf of ``files``, which are cut into leaves of ``size`` bytes.

    An empty file is one empty leaf. Memory is 2 MiB for each thread of ``run``, whatever the size of the files.

    Args:
        size: A multiple of 64.
        run: Who reads and hashes groups of leaves, in this process.

    Raises:
        BlockMissing, BlockCorrupt, StoreUnavailable: From the contents.
    """
    prepare(sum(content.size for content in files.values()))
    leaves = [
        _Leaf(name, start, min(start + size, content.size))
        for name, content in files.items()
        for start in range(0, max(content.size, 1), size)
    ]
    groups = _groups([leaf for leaf in leaves if leaf.stop - leaf.start == size], size)
    groups += [(leaf,) for leaf in leaves if leaf.stop - leaf.start < size]
    found = dict[_Leaf, Cid]()
    for group, digests in zip(groups, run(lambda group: _hashed(files, group), groups), strict=True):
        found.update((leaf, Cid(RAW, Digest(digest))) for leaf, digest in zip(group, digests, strict=True))
    cids: dict[str, list[tuple[Cid, int]]] = {name: [] for name in files}
    for leaf in leaves:
        cids[leaf.name].append((found[leaf], leaf.stop - leaf.start))
    return cids


def _groups(leaves: Sequence[_Leaf], size: int) -> list[tuple[_Leaf, ...]]:
    """Divide leaves of one length into groups that fill all lanes; the last, fewer ones where there are narrower lanes.

    So two threads have something to do for as long as possible.
    """
    most, least = most_together(size), together(size)
    groups, at = [], 0
    while at < len(leaves):
        width = most if len(leaves) - at > most else least
        groups.append(tuple(leaves[at : at + width]))
        at += width
    return groups


def _hashed(files: Files, group: tuple[_Leaf, ...]) -> list[bytes]:
    """Return the digests of leaves of one length."""
    length = group[0].stop - group[0].start
    hashing = side_by_side(len(group), length)
    with _room(len(group), min(PIECE, length)) as rows:
        pieces = [row.data for row in rows]
        last = max(0, length - 1) // PIECE * PIECE  # where the last piece begins
        for at in range(0, last, PIECE):
            _fill(files, group, at, pieces)
            hashing.update(pieces)
        rest = [piece[: length - last] for piece in pieces]
        _fill(files, group, last, rest)
        return hashing.finish(rest)


def _fill(files: Files, group: tuple[_Leaf, ...], at: int, pieces: Sequence[memoryview]) -> None:
    for leaf, piece in zip(group, pieces, strict=True):
        files[leaf.name].read_into(leaf.start + at, piece)


@contextmanager
def _room(count: int, width: int) -> Iterator[NDArray[np.uint8]]:
    """Lend memory for ``count`` rows of ``width`` bytes."""
    with lent(_ROOMS, count * width) as room:
        yield room[: count * width].reshape(count, width)
