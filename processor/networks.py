"""Comparator networks: the middle of every coordinate's values without sorting them all, one comparison for whole rows.

A network is a list of comparators (i, j), i < j: wire i keeps the smaller value, wire j the larger one. Batcher's odd-even
mergesort (Batcher, *Sorting Networks and Their Applications*, AFIPS 1968; Knuth, TAOCP 3, 5.3.4) sorts any number of wires.
Where only the sum of the values left after trimming is wanted, most of it is dead and is removed: whatever merely swaps two
kept values, or two dropped ones, and the half of a comparator whose result nobody reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processor.kernels import COMPILED_FROM, compiled

BOTH, SMALLER, LARGER = 0, 1, 2  # what of a comparator is read later: both wires, only the first, only the second
MOST_WIRES = {True: 1 << 11, False: 1 << 8}  # compiled or not: with more rows, numpy's sorting and selecting cost less
COMPILED_BYTES = 1 << 17  # of wires that compiled code works on at a time: in the second cache
NUMPY_BYTES = 1 << 20  # that numpy works on at a time: in a cache, and each of its calls has enough to do
NARROWEST = 64  # coordinates that numpy works on at a time at least, however many rows

Comparators = NDArray[np.int32]  # (comparators, 3): first wire, second wire, and what is read of them


@lru_cache(maxsize=64)
def sorting(wires: int) -> Comparators:
    """Return a network that sorts ``wires`` values, the smallest on wire 0."""
    return _freeze([(i, j, BOTH) for i, j in _odd_even_mergesort(wires)])


@lru_cache(maxsize=64)
def trimming(wires: int, trim: int) -> Comparators:
    """Return a network after which wires trim ... wires - trim - 1 hold, in some order, the values that trimming leaves.

    Args:
        trim: How many of the smallest and how many of the largest are dropped; 2 * trim < wires.
    """
    # Backwards over the sorting network. A wire is "kept" or "dropped" while nothing that is alive reads it later: its
    # value then only counts as a member of that set, so a comparator within one set changes nothing and is dead, and one
    # between them needs only its kept side. Any other comparator's results are read.
    kept, dropped, read = 0, 1, 2
    fate = [kept if trim <= wire < wires - trim else dropped for wire in range(wires)]
    alive: list[tuple[int, int, int]] = []
    for i, j in reversed(list(_odd_even_mergesort(wires))):
        if fate[i] == fate[j] != read:
            continue
        alive.append((i, j, LARGER if fate[i] == dropped else SMALLER if fate[j] == dropped else BOTH))
        fate[i] = fate[j] = read
    return _freeze(alive[::-1])


def wires(members: int, dtype: np.dtype[Any]) -> NDArray[np.integer]:
    """Return room for some groups of so many wires (processor.compiled_networks, which must be there)."""
    fast = compiled("compiled_networks")
    assert fast is not None  # noqa: S101 - callers are compiled or have looked; tells the type checker
    return np.asarray(fast.room(max(1, COMPILED_BYTES // (members * fast.ROW_BYTES)), members, dtype))


def trimmed_sum(rows: NDArray[np.integer], trim: int, shifts: tuple[int, ...] | None = None) -> NDArray[np.int64]:
    """Return, for every coordinate, the sum of its values but the ``trim`` smallest and the ``trim`` largest.

    Args:
        rows: (members, coordinates) of int8, int16, int32 or uint32; not changed.
        trim: 2 * trim < members.
        shifts: Row k counts as rows[k] * 2^shifts[k], below 2^31 in magnitude; None is all 0.

    Returns:
        int64 of shape (coordinates,): below members * 2^32, so below 2^63 for fewer than 2^31 members, in any order.
    """
    common, relative = _relative(shifts, len(rows))
    members, fast = len(rows), compiled("compiled_networks") if rows.size >= COMPILED_FROM else None
    if members > MOST_WIRES[fast is not None]:
        total = _selected_sum(_shifted(rows, relative), trim)
    elif fast is not None:
        room = _wires(rows, relative)
        # fewer than 2^12 values of int16 have a sum below 2^27
        sums = np.empty(room.shape[2], np.int32 if room.itemsize < 4 else np.int64)
        total = np.asarray(fast.trimmed_sum(rows, relative, trimming(members, trim), trim, room, sums))
    else:
        network, kept = trimming(members, trim), slice(trim, members - trim)
        total = np.concatenate([_sum(_apply(piece, network)[kept]) for piece in _pieces(_shifted(rows, relative))])
    return total << common if common else total


def sorted_rows(rows: NDArray[np.integer], shifts: tuple[int, ...] | None = None) -> NDArray[np.integer]:
    """Return every coordinate's values in ascending order, in an array of its own: (members, coordinates).

    Args:
        rows, shifts: As of `trimmed_sum`.

    Returns:
        In grid steps: of the rows' dtype where all shifts are 0, int32 otherwise.
    """
    own = np.array(shifts or (0,) * len(rows), np.int32)
    members, fast = len(rows), compiled("compiled_networks") if rows.size >= COMPILED_FROM else None
    if members > MOST_WIRES[fast is not None]:
        return np.asarray(np.sort(_shifted(rows, own), axis=0))
    if fast is not None:
        room = _wires(rows, own)
        result = np.empty(rows.shape, room.dtype)
        fast.apply(rows, own, sorting(members), room, result)
        return result
    return np.concatenate([np.stack(_apply(piece, sorting(members))) for piece in _pieces(_shifted(rows, own))], axis=1)


def _relative(shifts: tuple[int, ...] | None, members: int) -> tuple[int, NDArray[np.int32]]:
    """Return the shift that all rows share, and what each is shifted by beside it: order does not depend on the former."""
    common = min(shifts or (0,))
    return common, np.array(shifts or (0,) * members, np.int32) - np.int32(common)


def _shifted(rows: NDArray[np.integer], shifts: NDArray[np.int32]) -> NDArray[np.integer]:
    """Return the rows, or where there are shifts what they count as: int32, below 2^31 as their values are."""
    return np.left_shift(rows, shifts[:, None], dtype=np.int32) if shifts.any() else rows


def _wires(rows: NDArray[np.integer], shifts: NDArray[np.int32]) -> NDArray[np.integer]:
    return wires(len(rows), np.dtype(np.int32) if shifts.any() else rows.dtype)


def _selected_sum(values: NDArray[np.integer], trim: int) -> NDArray[np.int64]:
    """As `trimmed_sum`, of any number of rows."""
    if not trim:
        return np.asarray(values.sum(axis=0, dtype=np.int64))
    last = len(values) - trim
    parts = np.partition(values, (trim, last - 1), axis=0)
    return np.asarray(parts[trim:last].sum(axis=0, dtype=np.int64))


def _pieces(values: NDArray[np.integer]) -> Iterator[NDArray[np.integer]]:
    width = max(NARROWEST, NUMPY_BYTES // (len(values) * values.itemsize))
    for start in range(0, values.shape[1], width):
        yield values[:, start : start + width]


def _apply(values: NDArray[np.integer], network: Comparators) -> list[NDArray[np.integer]]:
    """Return copies of the rows ``values`` after ``network``; a wire that nobody reads any more holds anything."""
    wires = list(values.copy())
    spare = np.empty(values.shape[1], values.dtype)
    for first, second, reads in network.tolist():
        low, high = wires[first], wires[second]
        if reads == SMALLER:
            np.minimum(low, high, out=low)
        elif reads == LARGER:
            np.maximum(low, high, out=high)
        else:
            wires[first] = np.minimum(low, high, out=spare)
            np.maximum(low, high, out=high)
            spare = low
    return wires


def _sum(wires: list[NDArray[np.integer]]) -> NDArray[np.int64]:
    total = wires[0].astype(np.int64)
    for wire in wires[1:]:
        total += wire
    return total


def _odd_even_mergesort(wires: int) -> Iterator[tuple[int, int]]:
    """Yield Batcher's comparators for any number of wires: those of the next power of two, less all that touch a further
    wire, which could hold nothing but a value larger than any.
    """
    half = 1
    while half < wires:
        step = half
        while step >= 1:
            for start in range(step % half, wires - step, 2 * step):
                for wire in range(start, min(start + step, wires - step)):
                    if wire // (2 * half) == (wire + step) // (2 * half):
                        yield wire, wire + step
            step //= 2
        half *= 2


def _freeze(comparators: list[tuple[int, int, int]]) -> Comparators:
    network = np.array(comparators, np.int32).reshape(-1, 3)
    network.flags.writeable = False
    return network
