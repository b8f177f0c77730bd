"""The hot loops of `processor.kernels`, compiled. The same integers as there, some ten times as fast; nothing else here.

Numba compiles each for the dtypes it meets, the first time on a machine, and keeps the code beside this file or in the
user's cache. All loops run without the interpreter lock.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Added to a float64 below 2^51 and taken away again it leaves the nearest integer, ties to even; of one up to 2^52 an integer
# that is off by one at most, which is far beyond every limit.
ROUNDING = 1.5 * 2.0**52

_compile = njit(nogil=True, cache=True, error_model="numpy")


@_compile
def weighted_sum(
    rows: NDArray[np.signedinteger],
    used: NDArray[np.int64],
    factors: NDArray[np.signedinteger],
    common: int,
    sums: NDArray[np.signedinteger],
) -> NDArray[np.int64]:
    """Return common * sum_k factors[k] * rows[used[k]], int64 of shape (coordinates,).

    Args:
        used: Which rows count.
        factors: One each.
        sums: Room for the sums of a piece, as many coordinates as are to be worked on at a time, of int32 or int64: a dtype
            that holds every sum of any of the products, in any order.
    """
    size = rows.shape[1]
    total = np.empty(size, np.int64)
    for begin in range(0, size, len(sums)):
        end = min(begin + len(sums), size)
        width = end - begin
        for i in range(width):
            sums[i] = 0
        k = 0
        while k + 8 <= len(used):  # eight at a time: the sums are loaded and stored an eighth as often
            row0, row1 = rows[used[k], begin:end], rows[used[k + 1], begin:end]
            row2, row3 = rows[used[k + 2], begin:end], rows[used[k + 3], begin:end]
            row4, row5 = rows[used[k + 4], begin:end], rows[used[k + 5], begin:end]
            row6, row7 = rows[used[k + 6], begin:end], rows[used[k + 7], begin:end]
            factor0, factor1 = np.int64(factors[k]), np.int64(factors[k + 1])
            factor2, factor3 = np.int64(factors[k + 2]), np.int64(factors[k + 3])
            factor4, factor5 = np.int64(factors[k + 4]), np.int64(factors[k + 5])
            factor6, factor7 = np.int64(factors[k + 6]), np.int64(factors[k + 7])
            for i in range(width):
                sums[i] += (
                    row0[i] * factor0
                    + row1[i] * factor1
                    + row2[i] * factor2
                    + row3[i] * factor3
                    + row4[i] * factor4
                    + row5[i] * factor5
                    + row6[i] * factor6
                    + row7[i] * factor7
                )
            k += 8
        while k < len(used):
            row, factor = rows[used[k], begin:end], np.int64(factors[k])
            for i in range(width):
                sums[i] += row[i] * factor
            k += 1
        part = total[begin:end]
        for i in range(width):
            part[i] = np.int64(sums[i]) * common
    return total


@_compile
def move(
    before: NDArray[np.int32],
    numerators: NDArray[np.int64],
    inverse: float,
    snap: float,
    limit: int,
    after: NDArray[np.int32],
) -> tuple[np.int64, np.int64]:
    """Set ``after`` to min(max(before + round_half_even(numerators / denominator), -limit), limit). Return how many were
    outside, and the bits of all numerators together, by which the caller sees whether they were within the bounds that it proves.

    Args:
        before: int32 of shape (coordinates,), below 2^30 in magnitude. numerators: int64 of the same shape.
        inverse, snap: As of `processor.kernels.inverse_of`, where the bounds are proved.
        limit: Below 2^30.
    """
    outside, bits = np.int64(0), np.int64(0)
    top, bottom = np.float64(limit), -np.float64(limit)
    for i in range(before.size):
        numerator = numerators[i]
        bits |= numerator ^ (numerator >> 63)  # of -n - 1 where n is negative
        quotient = np.float64(numerator) * inverse
        quotient = (quotient + snap) - snap
        quotient = (quotient + ROUNDING) - ROUNDING
        value = np.float64(before[i]) + quotient
        clipped = top if value > top else value
        clipped = bottom if clipped < bottom else clipped
        outside += np.int64(clipped != value)
        after[i] = np.int32(clipped)
    return outside, bits


@_compile
def change_products(
    rows: NDArray[np.signedinteger], change: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """As `processor.kernels.change_products`."""
    dots = np.zeros(rows.shape[0], np.int64)
    squares = np.zeros(rows.shape[0], np.int64)
    for k in range(rows.shape[0]):
        dot, square = np.int64(0), np.int64(0)
        for i in range(change.size):
            value = np.int64(rows[k, i])
            dot += value * np.int64(change[i])
            square += value * value
        dots[k], squares[k] = dot, square
    return dots, squares


@_compile
def looked_up(values: NDArray[np.uint8], tables: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """As `processor.kernels.looked_up`."""
    rows = np.empty(values.shape, np.uint32)
    for k in range(values.shape[0]):
        for i in range(values.shape[1]):
            rows[k, i] = tables[k, values[k, i]]
    return rows
