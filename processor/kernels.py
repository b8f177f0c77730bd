"""The loops in which a merge spends its time, each with one exact result whatever runs it.

Large blocks go to `processor.compiled`; for small ones loading the compiler would take longer than the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from math import gcd
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from protocol.fixed_point import round_half_even_div, saturate

COMPILED_FROM = 1 << 17  # values of a block from which on compiled code is used
PIECE = 1 << 12  # coordinates of a weighted sum at a time: their sums stay in the nearest cache while all rows pass by
_EXACT_FLOAT = 1 << 52


@cache
def compiled(name: str = "compiled") -> ModuleType | None:
    """Return the module ``name`` of compiled loops, or None where Numba is missing or does not work: all goes on without."""
    try:
        return import_module(f"processor.{name}")
    except Exception:  # a compiler can fail to load in many ways, none of which changes a result
        return None


def weighted_sum(rows: NDArray[np.signedinteger], factors: Sequence[int]) -> NDArray[np.int64]:
    """Return sum_k factors[k] * rows[k], int64 of shape (coordinates,).

    Args:
        rows: (members, coordinates) of int8, int16 or int32.
        factors: One a member, not negative, such that sum_k factors[k] * |rows[k]| stays below 2^63: then every partial
            sum in every order does.
    """
    fast = compiled() if rows.size >= COMPILED_FROM else None
    if fast is not None:
        used = [k for k, factor in enumerate(factors) if factor]
        common = gcd(*factors) or 1  # all of it where all count alike
        own = [int(factors[k]) // common for k in used]
        # A value of b bits is at most 2^(b - 1) in magnitude, and no factor is negative: every sum of some of the products is
        # at most sum(own) * 2^(b - 1).
        narrow = sum(own) << 8 * rows.itemsize - 1 < 1 << 31
        short = max(own, default=0) < 1 << 31  # 64-bit products of 32-bit factors take one instruction
        sums = np.empty(PIECE, np.int32 if narrow else np.int64)
        own_factors = np.array(own, np.int32 if short else np.int64)
        return np.asarray(fast.weighted_sum(rows, np.array(used, np.int64), own_factors, common, sums))
    total = np.zeros(rows.shape[1], dtype=np.int64)
    for row, factor in zip(rows, factors, strict=True):
        if factor:
            total += np.multiply(row, np.int64(factor), dtype=np.int64)
    return total


def move(
    before: NDArray[np.int32],
    numerators: NDArray[np.int64],
    denominator: int | NDArray[np.int64],
    limit: int,
    out: NDArray[np.int32] | None = None,
) -> tuple[NDArray[np.int32], int]:
    """Return before + round_half_even(numerators / denominator), clipped to ±limit, and how many had to be clipped.

    Args:
        before: int32 of shape (coordinates,), |q| <= limit.
        numerators: int64 of the same shape, any values.
        denominator: Positive, below 2^63; one, or an int64 array of the same shape.
        limit: Below 2^30.
        out: Where to put the result, int32 of the same shape, not overlapping; else it is a new array.
    """
    after = np.empty(before.shape, np.int32) if out is None else out
    if isinstance(denominator, int) and 0 < denominator <= _EXACT_FLOAT and before.size >= COMPILED_FROM >> 3:
        fast = compiled()
        if fast is not None:
            inverse, snap, most = inverse_of(denominator)
            outside, bits = fast.move(before, numerators, inverse, snap, limit, after)
            if bits < most:  # nothing beyond: the bits are those of |n|, or of |n| - 1
                return after, int(outside)
    # Clipping the change first keeps the sum far inside int64 and cannot change a clipped result.
    change = saturate(round_half_even_div(numerators, denominator), 2 * limit + 1)[0]
    after[...], outside = saturate(before + change, limit)
    return after, outside


def inverse_of(denominator: int) -> tuple[float, float, int]:
    """Return (inverse, snap, most): in float64 n / denominator is rounded half to even, for all |n| <= most, by

        x = n * inverse,    z = (x + snap) - snap,    the integer next to z, ties to even.

    A power of two: 1 / d is exact, and with |n| <= 2^52 so is x; nothing is to be snapped.

    Any other d, |n| <= 2^48. Let u be the power of two between 1 / (4 d) and 1 / (2 d), and snap = 1.5 * 2^52 * u. As
    |x| < 2^51 u, x + snap lies where floats are u apart, so z is x rounded to a multiple of u. x is off by less than
    |n / d| * 2^-51 <= 1 / (8 d) < u / 2. Every half-integer is a multiple of u, as u <= 1/4. If n / d is one, x lies within
    u / 2 of it, so z is it: a tie. If not, n / d is at least 1 / (2 d) > u away from all of them, and x more than u / 2 and
    on the same side, so z is none of them and on that side too. Either way z and n / d have the same integer next to them.

    Args:
        denominator: From 1 to 2^52.
    """
    if denominator & (denominator - 1) == 0:
        return 1.0 / denominator, 0.0, 1 << 52
    return 1.0 / denominator, 1.5 * 2.0 ** (51 - denominator.bit_length()), 1 << 48


def change_products(
    rows: NDArray[np.signedinteger], change: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return sum_i rows[k, i] * change[i] and sum_i rows[k, i]^2, each int64 of shape (members,).

    Args:
        rows: (members, coordinates) of int8, int16 or int32, below 2^22 in magnitude; at most 2^16 coordinates.
        change: int32 of shape (coordinates,), below 2^25: so no sum reaches 2^63, in whatever order.
    """
    fast = compiled() if rows.size >= COMPILED_FROM else None
    if fast is not None:
        dots, squares = fast.change_products(rows, change)
        return dots, squares
    wide, other = rows.astype(np.int64), change.astype(np.int64)
    return (wide * other).sum(axis=1), np.square(wide).sum(axis=1)


def looked_up(values: NDArray[np.uint8], tables: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return tables[k, values[k, i]], uint32 of the shape of ``values``, (members, coordinates).

    Args:
        tables: (members, 256): what each value of a row becomes.
    """
    fast = compiled() if values.size >= COMPILED_FROM else None
    if fast is not None:
        return np.asarray(fast.looked_up(values, tables))
    rows = np.empty(values.shape, dtype=np.uint32)
    for row, value, table in zip(rows, values, tables, strict=True):
        # A uint8 is always inside its table; "clip" only saves numpy a buffer for raising halfway.
        np.take(table, value, out=row, mode="clip")
    return rows
