"""The loops of `processor.importance` and `processor.ewc`, compiled: the same integers as there. See `processor.compiled`."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processor.compiled_networks import add_wires, apply_network, groups_in

MOST = float((1 << 32) - 1)

_compile = njit(nogil=True, cache=True, error_model="numpy")


@_compile
def sums(rows: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the sum of each row, of less than 2^24 coordinates: then it is below 2^32."""
    total = np.empty(len(rows), np.int64)
    for k in range(len(rows)):
        row, found = rows[k], np.uint32(0)
        for c in range(row.size):
            found += np.uint32(row[c])
        total[k] = found
    return total


@_compile
def rescaled(values: NDArray[np.uint8], scales: NDArray[np.float64]) -> NDArray[np.uint32]:
    """Return min(floor(values[k] * scales[k]), 2^32 - 1): with `processor.importance.scales` what the tables have."""
    rows = np.empty(values.shape, np.uint32)
    for k in range(len(values)):
        _rescale(values[k], scales[k], rows[k])
    return rows


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
        scales: As of `rescaled`. network: `processor.networks.trimming`, for ``trim``.
        wires: `processor.compiled_networks.room`. totals: Room for the sums of a group of it, (lanes,).
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
                _rescale(values[k, start : min(start + lanes, end)], scales[k], wires[at, k])
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
def _rescale(values: NDArray[np.uint8], scale: float, result: NDArray[np.uint32]) -> None:
    """Set the beginning of ``result``."""
    for c in range(values.size):
        value = np.float64(values[c]) * scale
        result[c] = np.uint32(
            np.int64(MOST if value > MOST else value)
        )  # of a float right to uint32 takes twice the time
