"""The loops of `processor.networks` and `processor.ewc`, compiled: the same integers as there. See `processor.compiled`.

All in one file: Numba does not see that what it keeps calls code of another file that has changed since.

Values lie in groups of coordinates, (members, lanes) each, with `ROW_BYTES` a row: a group of 64 rows stays in the nearest
cache while all comparators pass over it, and a comparator is a few instructions on the longest registers there are. Numba's
own vectors are shorter, and it would look at each comparator whether its rows overlap.

Copies are written as loops: an assignment to a slice is compiled to a loop that no vector unit can run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import config
from numba.extending import intrinsic
from numpy.typing import NDArray

ROW_BYTES = 512
ALIGNMENT = 64
MOST = float((1 << 32) - 1)

_compile = njit(nogil=True, cache=True, error_model="numpy")


def room(groups: int, members: int, dtype: np.dtype[Any]) -> NDArray[np.integer]:
    """Return an array (groups, members, lanes) for wires, which begins where a line of the cache does."""
    size = groups * members * ROW_BYTES
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(groups, members, ROW_BYTES // dtype.itemsize)


@_compile
def trimmed_sum(
    rows: NDArray[np.integer],
    shifts: NDArray[np.int32],
    network: NDArray[np.int32],
    trim: int,
    wires: NDArray[np.integer],
    sums: NDArray[np.signedinteger],
) -> NDArray[np.int64]:
    """Return the sum of wires trim ... members - trim - 1 after ``network``, int64 of shape (coordinates,).

    Args:
        shifts: Row k counts as rows[k] * 2^shifts[k].
        wires: `room` for as many coordinates as are to be worked on at a time, of a dtype that holds these.
        sums: Room for the sums of a group, (lanes,), of a dtype that holds every one of them.
    """
    members, size = rows.shape
    groups, _, lanes = wires.shape
    total = np.empty(size, np.int64)
    for begin in range(0, size, groups * lanes):
        end = min(begin + groups * lanes, size)
        _load(wires, rows, shifts, begin, end)
        for at in range(groups_in(begin, end, lanes)):
            group, start = wires[at], begin + at * lanes
            apply_network(group, network)
            add_wires(group, trim, members - trim, sums)
            part = total[start : min(start + lanes, end)]
            for c in range(part.size):
                part[c] = sums[c]
    return total


@_compile
def apply(
    rows: NDArray[np.integer],
    shifts: NDArray[np.int32],
    network: NDArray[np.int32],
    wires: NDArray[np.integer],
    result: NDArray[np.integer],
) -> None:
    """Set ``result`` to all wires after ``network``.

    Args:
        shifts, wires: As of `trimmed_sum`. result: Of the rows' shape and the wires' dtype.
    """
    members, size = rows.shape
    groups, _, lanes = wires.shape
    for begin in range(0, size, groups * lanes):
        end = min(begin + groups * lanes, size)
        _load(wires, rows, shifts, begin, end)
        for at in range(groups_in(begin, end, lanes)):
            group, start = wires[at], begin + at * lanes
            apply_network(group, network)
            for k in range(members):
                row, wire = result[k, start : min(start + lanes, end)], group[k]
                for c in range(row.size):
                    row[c] = wire[c]


@_compile
def consolidated(
    values: NDArray[np.uint8],
    scales: NDArray[np.float64],
    network: NDArray[np.int32],
    trim: int,
    wires: NDArray[np.uint32],
    totals: NDArray[np.int64],
    before: NDArray[np.uint32],
    factor: float,
    divisor: float,
) -> NDArray[np.uint32]:
    """Return min(floor(before * factor / divisor) + floor(mean of what trimming leaves of the rescaled values), 2^32 - 1).

    Floors of divisions are exact: of n / d, n below 2^52 and the quotient below 2^32, (n + 1/2) / d is at least 1 / (2 d) away
    from every integer, and the product with 1 / d is off by less than 2^32 * 2^-51 = 2^-19 <= 1 / (2 d) for d <= 2^18.

    Args:
        values: (members, coordinates), of at most 2^18 members.
        scales: `processor.importance.scales`. network: `processor.networks.trimming`, for ``trim``.
        wires: `room`. totals: Room for the sums of a group of it, (lanes,).
        before: (coordinates,). factor, divisor: Whole numbers, factor <= divisor <= 2^18.
    """
    members, size = values.shape
    groups, _, lanes = wires.shape
    result = np.empty(size, np.uint32)
    share, inverse = 1.0 / (members - 2 * trim), 1.0 / divisor
    for begin in range(0, size, groups * lanes):
        end = min(begin + groups * lanes, size)
        count = groups_in(begin, end, lanes)
        for k in range(members):
            for at in range(count):
                start = begin + at * lanes
                row, scale, wire = values[k, start : min(start + lanes, end)], scales[k], wires[at, k]
                for c in range(row.size):
                    value = np.float64(row[c]) * scale
                    wire[c] = np.uint32(np.int64(MOST if value > MOST else value))
        for at in range(count):
            group, start = wires[at], begin + at * lanes
            apply_network(group, network)
            add_wires(group, trim, members - trim, totals)
            old, new = before[start : min(start + lanes, end)], result[start : min(start + lanes, end)]
            for c in range(new.size):
                kept = np.int64((np.float64(old[c]) * factor + 0.5) * inverse)
                combined = np.int64((np.float64(totals[c]) + 0.5) * share)
                new[c] = np.uint32(min(kept + combined, np.int64(MOST)))
    return result


@_compile
def groups_in(begin: int, end: int, lanes: int) -> int:
    """Return how many groups coordinates ``begin`` to before ``end`` take; not for every row: a division takes its time."""
    return (end - begin + lanes - 1) // lanes


@_compile
def _load(
    wires: NDArray[np.integer], rows: NDArray[np.integer], shifts: NDArray[np.int32], begin: int, end: int
) -> None:
    """Set wires to coordinates ``begin`` to before ``end``; row by row, which memory is faster at than group by group."""
    lanes = wires.shape[2]
    groups = groups_in(begin, end, lanes)
    for k in range(len(rows)):
        shift = shifts[k]
        for at in range(groups):
            start = begin + at * lanes
            row, wire = rows[k, start : min(start + lanes, end)], wires[at, k]
            if shift:
                for c in range(row.size):
                    wire[c] = np.int32(row[c]) << shift
            else:
                for c in range(row.size):
                    wire[c] = row[c]


def _comparator(smaller: bool, larger: bool) -> Callable[..., None]:
    """Return what puts the smaller values of two rows of a group into the first, the larger into the second, or one of both.

    Lanes beyond the last coordinate hold anything, and stay by themselves.
    """

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind, (wires, first, second) = signature.args[0], arguments
        element, word = context.get_value_type(kind.dtype), ir.IntType(64)
        vector = ir.VectorType(element, ROW_BYTES * 8 // kind.dtype.bitwidth)
        data = builder.ptrtoint(context.make_array(kind)(context, builder, wires).data, word)
        places = [
            builder.inttoptr(builder.add(data, builder.mul(row, word(ROW_BYTES))), vector.as_pointer())
            for row in (first, second)
        ]
        a, b = (builder.load(place, align=ALIGNMENT) for place in places)
        compare = builder.icmp_signed if kind.dtype.signed else builder.icmp_unsigned
        swapped = compare("<", b, a)
        if smaller:
            builder.store(builder.select(swapped, b, a), places[0], align=ALIGNMENT)
        if larger:
            builder.store(builder.select(swapped, a, b), places[1], align=ALIGNMENT)
        return context.get_dummy_value()

    def typed(context: Any, wires: Any, first: Any, second: Any) -> Any:
        return types.void(wires, types.int64, types.int64), emit

    def interpreted(wires: NDArray[np.integer], first: int, second: int) -> None:
        a, b = wires[first].copy(), wires[second].copy()
        if smaller:
            wires[first] = np.minimum(a, b)
        if larger:
            wires[second] = np.maximum(a, b)

    found: Callable[..., None] = interpreted if config.DISABLE_JIT else intrinsic(typed)
    return found


_both, _smaller, _larger = _comparator(True, True), _comparator(True, False), _comparator(False, True)


@_compile
def apply_network(wires: NDArray[np.integer], network: NDArray[np.int32]) -> None:
    """Send a group, (members, lanes) of `room`, through ``network``, in place."""
    for at in range(len(network)):
        low, high, reads = np.int64(network[at, 0]), np.int64(network[at, 1]), network[at, 2]
        if reads == 0:
            _both(wires, low, high)
        elif reads == 1:
            _smaller(wires, low, high)
        else:
            _larger(wires, low, high)


@_compile
def add_wires(wires: NDArray[np.integer], first: int, last: int, sums: NDArray[np.signedinteger]) -> None:
    """Set ``sums`` to the sum of rows ``first`` to before ``last`` of a group."""
    row = wires[first]
    for c in range(sums.size):
        sums[c] = row[c]
    k = first + 1
    while k + 4 <= last:  # four at a time: the sums are loaded and stored a quarter as often
        row0, row1, row2, row3 = wires[k], wires[k + 1], wires[k + 2], wires[k + 3]
        for c in range(sums.size):
            sums[c] += np.int64(row0[c]) + np.int64(row1[c]) + np.int64(row2[c]) + np.int64(row3[c])
        k += 4
    while k < last:
        row = wires[k]
        for c in range(sums.size):
            sums[c] += np.int64(row[c])
        k += 1
