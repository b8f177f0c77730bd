"""The hot loops of `processor.kernels`, compiled. The same integers as there, some ten times as fast; nothing else here.

Numba compiles each for the dtypes it meets, the first time on a machine, and keeps the code beside this file or in the
user's cache. All loops run without the interpreter lock.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

PIECE = 1 << 12  # coordinates at a time: 32 KiB of int64 sums stay in the nearest cache while all rows pass by

_compile = njit(nogil=True, cache=True, error_model="numpy")


@_compile
def weighted_sum(rows: NDArray[np.signedinteger], factors: NDArray[np.int64]) -> NDArray[np.int64]:
    """As `processor.kernels.weighted_sum`; ``factors`` int64 of shape (members,)."""
    members, size = rows.shape
    total = np.zeros(size, np.int64)
    for begin in range(0, size, PIECE):
        end = min(begin + PIECE, size)
        part = total[begin:end]
        k = 0
        while k + 4 <= members:  # four at a time: the sums are loaded and stored a quarter as often
            row0, row1, row2, row3 = (
                rows[k, begin:end],
                rows[k + 1, begin:end],
                rows[k + 2, begin:end],
                rows[k + 3, begin:end],
            )
            factor0, factor1, factor2, factor3 = factors[k], factors[k + 1], factors[k + 2], factors[k + 3]
            for i in range(end - begin):
                part[i] += (
                    np.int64(row0[i]) * factor0
                    + np.int64(row1[i]) * factor1
                    + np.int64(row2[i]) * factor2
                    + np.int64(row3[i]) * factor3
                )
            k += 4
        while k < members:
            row, factor = rows[k, begin:end], factors[k]
            for i in range(end - begin):
                part[i] += np.int64(row[i]) * factor
            k += 1
    return total


@_compile
def move(
    before: NDArray[np.int32], numerators: NDArray[np.int64], denominator: np.int64, limit: np.int64
) -> tuple[NDArray[np.int32], np.int64]:
    """Return min(max(before + round_half_even(numerators / denominator), -limit), limit), int32, and how many were outside.

    Args:
        before: int32 of shape (coordinates,). numerators: int64 of the same shape, |n| <= 2^52 and |n / denominator| <= 2^31.
        denominator: Positive, at most 2^52. limit: Below 2^31.
    """
    after = np.empty(before.size, np.int32)
    outside = np.int64(0)
    inverse = 1.0 / np.float64(denominator)
    for i in range(before.size):
        numerator = numerators[i]
        # The product's relative error is below 2^-51 and the quotient below 2^31, so its floor is off by one at most:
        # the remainder, exact in integers, says which way.
        quotient = np.int64(np.floor(np.float64(numerator) * inverse))
        remainder = numerator - quotient * denominator
        low, high = np.int64(remainder < 0), np.int64(remainder >= denominator)
        quotient += high - low
        remainder += (low - high) * denominator
        twice = 2 * remainder
        quotient += np.int64(twice > denominator) | (np.int64(twice == denominator) & (quotient & 1))
        value = before[i] + quotient
        clipped = min(max(value, -limit), limit)
        outside += np.int64(clipped != value)
        after[i] = clipped
    return after, outside


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
