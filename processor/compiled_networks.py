"""The loops of `processor.networks`, compiled: the same integers as there. See `processor.compiled`.

Copies are written as loops: an assignment to a slice is compiled to a loop that no vector unit can run.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_compile = njit(nogil=True, cache=True, error_model="numpy")


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
        wires: Room for (members, as many coordinates as are to be worked on at a time), of a dtype that holds these.
        sums: Room for so many sums, of a dtype that holds every one of them.
    """
    members, size = rows.shape
    total = np.empty(size, np.int64)
    for begin in range(0, size, len(sums)):
        width = min(len(sums), size - begin)
        _load(wires, rows, shifts, begin, width)
        apply_network(wires, width, network)
        _add(wires, width, trim, members - trim, sums)
        part = total[begin : begin + width]
        for c in range(width):
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
    piece = wires.shape[1]
    for begin in range(0, size, piece):
        width = min(piece, size - begin)
        _load(wires, rows, shifts, begin, width)
        apply_network(wires, width, network)
        for k in range(members):
            row, wire = result[k, begin : begin + width], wires[k]
            for c in range(width):
                row[c] = wire[c]


@_compile
def apply_network(wires: NDArray[np.integer], width: int, network: NDArray[np.int32]) -> None:
    """Send the first ``width`` columns of ``wires`` through ``network``, in place."""
    for at in range(len(network)):
        low, high, reads = wires[network[at, 0]], wires[network[at, 1]], network[at, 2]
        if reads == 0:
            for c in range(width):
                a, b = low[c], high[c]
                low[c] = b if b < a else a
                high[c] = a if b < a else b
        elif reads == 1:
            for c in range(width):
                a, b = low[c], high[c]
                low[c] = b if b < a else a
        else:
            for c in range(width):
                a, b = low[c], high[c]
                high[c] = a if b < a else b


@_compile
def _load(
    wires: NDArray[np.integer], rows: NDArray[np.integer], shifts: NDArray[np.int32], begin: int, width: int
) -> None:
    for k in range(len(rows)):
        row, wire, shift = rows[k, begin : begin + width], wires[k], shifts[k]
        if shift:
            for c in range(width):
                wire[c] = np.int32(row[c]) << shift
        else:
            for c in range(width):
                wire[c] = row[c]


@_compile
def _add(wires: NDArray[np.integer], width: int, first: int, last: int, sums: NDArray[np.signedinteger]) -> None:
    """Set ``sums`` to the sum of wires ``first`` to before ``last``."""
    row = wires[first]
    for c in range(width):
        sums[c] = row[c]
    k = first + 1
    while k + 4 <= last:  # four at a time: the sums are loaded and stored a quarter as often
        row0, row1, row2, row3 = wires[k], wires[k + 1], wires[k + 2], wires[k + 3]
        for c in range(width):
            sums[c] += np.int64(row0[c]) + np.int64(row1[c]) + np.int64(row2[c]) + np.int64(row3[c])
        k += 4
    while k < last:
        row = wires[k]
        for c in range(width):
            sums[c] += np.int64(row[c])
        k += 1
