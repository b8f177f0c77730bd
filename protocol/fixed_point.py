"""Exact integer arithmetic on arrays: no floats anywhere, the rounding direction in every name.

Everything that an auditor recomputes passes through here. Only exact integer operations are used (add, multiply,
floor-divide, compare), each within its stated bounds, so no CPU feature, thread count or library version can change a bit.
"""

from __future__ import annotations

from fractions import Fraction
from typing import overload

import numpy as np
from numpy.typing import NDArray

from protocol.errors import ArithmeticRefused

INT64_MAX = (1 << 63) - 1
UINT32_MAX = (1 << 32) - 1


@overload
def round_half_even_div(numerator: int, denominator: int) -> int: ...
@overload
def round_half_even_div(numerator: NDArray[np.int64], denominator: int | NDArray[np.int64]) -> NDArray[np.int64]: ...
def round_half_even_div(
    numerator: int | NDArray[np.int64], denominator: int | NDArray[np.int64]
) -> int | NDArray[np.int64]:
    """Return numerator / denominator, rounded to the nearest integer, ties to the even one (IEEE 754, roundTiesToEven).

    Args:
        numerator: A Python int of any size, or an int64 array of any shape with any values, -2^63 included.
        denominator: Positive; at most 2^63 - 1 for arrays, where it may be an int64 array of the same shape.

    Returns:
        The same kind and shape. Exact, and it cannot overflow: |result| <= |numerator|.

    Raises:
        ArithmeticRefused: The denominator is out of bounds, or the array is not int64.
    """
    if isinstance(numerator, int):
        if not isinstance(denominator, int):
            raise ArithmeticRefused("Cannot divide an integer by an array.", "Only arrays are divided by arrays.")
        _require_denominator(denominator, None)
        quotient, remainder = divmod(numerator, denominator)
        return quotient + _rounds_up(quotient, remainder, denominator)
    if numerator.dtype != np.int64:
        raise ArithmeticRefused(f"Cannot divide an array of {numerator.dtype}.", "Numerators are int64.")
    by = _int64_denominator(denominator)
    quotients = np.floor_divide(numerator, by)
    remainders = numerator - quotients * by  # 0 <= r < denominator, and the product lies between numerator and 0
    rest = by - remainders  # r against d - r decides as 2r against d does, without the overflow
    ties_to_odd = (remainders == rest) & ((quotients & 1) == 1)
    # A step up needs d >= 2, where |quotient| <= 2^62.
    return np.asarray(quotients + ((remainders > rest) | ties_to_odd), dtype=np.int64)


def _int64_denominator(denominator: int | NDArray[np.int64]) -> np.int64 | NDArray[np.int64]:
    if isinstance(denominator, int):
        _require_denominator(denominator, INT64_MAX)
        return np.int64(denominator)
    if denominator.dtype != np.int64:
        raise ArithmeticRefused(f"Cannot divide by an array of {denominator.dtype}.", "Denominators are int64.")
    _require_denominator(int(denominator.min(initial=1)), None)
    return denominator


def _rounds_up(quotient: int, remainder: int, denominator: int) -> bool:
    return 2 * remainder > denominator or (2 * remainder == denominator and quotient % 2 == 1)


def _require_denominator(denominator: int, most: int | None) -> None:
    if denominator < 1 or (most is not None and denominator > most):
        raise ArithmeticRefused(
            f"Cannot divide by {denominator}.",
            "A denominator is positive" + ("." if most is None else f" and at most {most}."),
            "A total weight of zero means that there is nothing to merge: keep the base instead.",
        )


def saturate(values: NDArray[np.int64], limit: int) -> tuple[NDArray[np.int64], int]:
    """Return ``values`` clipped to [-limit, limit], and how many of them were outside.

    Args:
        values: int64, any shape.
        limit: 0 <= limit < 2^63.
    """
    clipped = np.clip(values, np.int64(-limit), np.int64(limit))
    return clipped, int(np.count_nonzero(clipped != values))


def add_saturating(left: NDArray[np.unsignedinteger], right: NDArray[np.unsignedinteger]) -> NDArray[np.uint32]:
    """Return min(left + right, 2^32 - 1) of two unsigned arrays of one shape, for all values of uint64 as well."""
    a = np.minimum(left, np.uint64(UINT32_MAX)).astype(np.uint64)  # clipping first changes nothing of the result
    b = np.minimum(right, np.uint64(UINT32_MAX)).astype(np.uint64)
    return np.asarray(np.minimum(a + b, np.uint64(UINT32_MAX)), dtype=np.uint32)


def floor_mul(values: NDArray[np.uint32], factor: Fraction) -> NDArray[np.uint64]:
    """Return floor(values * factor), exactly.

    Args:
        values: uint32, any shape.
        factor: 0 <= factor < 2^32, so that every product is below 2^64. Where its numerator is below 2^32 and its
            denominator below 2^64 (every decimal of up to nine digits) the product is one uint64 multiplication; any
            other factor is as exact but goes through Python integers, about fifty times slower.

    Returns:
        uint64, the same shape.

    Raises:
        ArithmeticRefused: The factor is out of bounds, or the array is not uint32.
    """
    if values.dtype != np.uint32:
        raise ArithmeticRefused(f"Cannot scale an array of {values.dtype}.", "Importance is uint32.")
    if not 0 <= factor < 1 << 32:
        raise ArithmeticRefused(f"Cannot scale by {factor}.", "A factor is at least 0 and below 2^32.")
    if factor.numerator < 1 << 32 and factor.denominator < 1 << 64:
        product = values.astype(np.uint64) * np.uint64(factor.numerator)
        return np.asarray(product // np.uint64(factor.denominator), dtype=np.uint64)
    scaled = [value * factor.numerator // factor.denominator for value in values.reshape(-1).tolist()]
    return np.array(scaled, dtype=np.uint64).reshape(values.shape)


def mul_half_even(values: NDArray[np.int64], factor: Fraction) -> NDArray[np.int64]:
    """Return values * factor, rounded to the nearest integer, ties to the even one: exact, one rounding.

    Proof that nothing overflows: with factor a / b and values = h b + l, 0 <= l < b, the result is h a + l a / b rounded.
    |h a| <= |values| + b because a <= b, and l a < b^2 < 2^62. The step up happens only where b >= 2.

    Args:
        values: int64 of any shape, each below 2^62 in magnitude.
        factor: From 0 to 1, with a denominator below 2^31.

    Returns:
        int64, the same shape; never larger in magnitude than ``values``.

    Raises:
        ArithmeticRefused: The factor is out of bounds, or the array is not int64.
    """
    if values.dtype != np.int64:
        raise ArithmeticRefused(f"Cannot scale an array of {values.dtype}.", "Moments are int64.")
    if not 0 <= factor <= 1 or factor.denominator >= 1 << 31:
        raise ArithmeticRefused(f"Cannot scale by {factor}.", "It is from 0 to 1, with a denominator below 2^31.")
    a, b = np.int64(factor.numerator), np.int64(factor.denominator)
    high = np.floor_divide(values, b)
    rest = (values - high * b) * a
    low = np.floor_divide(rest, b)
    left = rest - low * b  # 0 <= left < b, so that 2 left < 2^32
    floor = high * a + low
    return np.asarray(floor + ((2 * left > b) | ((2 * left == b) & ((floor & 1) == 1))), dtype=np.int64)
