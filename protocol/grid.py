"""The integer grid of a tensor: float32 = q * 2^E, exact both ways because |q| < 2^24 fits float32's significand."""

from __future__ import annotations

import math
import sys
from functools import cache
from importlib import import_module
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from protocol.errors import InvalidInput, NotCanonical, NotFinite, OutsideWindow

MANTISSA_LIMIT = 1 << 24  # |q| < 2^24: every mantissa is exact in float32

# Every q * 2^E with |q| < 2^24 is 0 or a *normal* float32 here, so machines that flush denormals agree too.
MIN_EXPONENT, MAX_EXPONENT = -126, 104
MAX_HEADROOM_BITS = 16
COMPILED_FROM = 1 << 27  # values from which on loading Numba takes less time than it saves
_IN_CACHE = 1 << 15  # values at a time, else what is made of them on the way goes to memory and back
_MINUS_ZERO = np.uint32(1 << 31)
_SMALLEST_RANGE = 0.25  # a tensor of zeros (a bias at creation) still gets room to grow


def check_exponent(exponent: int, subject: str = "A grid") -> None:
    """Refuse an exponent E on which some mantissa is not a normal float32.

    Raises:
        OutsideWindow: It is not from -126 to 104.
    """
    if not MIN_EXPONENT <= exponent <= MAX_EXPONENT:
        raise OutsideWindow(
            f"{subject} has exponent {exponent}.", f"It lies from {MIN_EXPONENT} to {MAX_EXPONENT}.", "Rescale it."
        )


def grid_exponent(values: NDArray[np.float32], headroom_bits: int) -> int:
    """Return E = ceil(log2(max(|w|max, 1/4))) + headroom_bits - 24, computed exactly.

    Args:
        values: float32, any shape; the tensor at creation.
        headroom_bits: 1 to 16; the largest weight may grow at least 2^headroom_bits / 2 times before it saturates.

    Raises:
        InvalidInput: ``headroom_bits`` is out of range. NotFinite: A value is NaN or infinite.
        OutsideWindow: The values are too large for any grid.
    """
    if not 1 <= headroom_bits <= MAX_HEADROOM_BITS:
        raise InvalidInput(
            f"headroom_bits is {headroom_bits}.", f"It lies from 1 to {MAX_HEADROOM_BITS}.", "Give another."
        )
    check_finite(values)
    largest = max(_largest(values.astype(np.float64)), _SMALLEST_RANGE)
    fraction, power = math.frexp(largest)  # largest = fraction * 2^power, 1/2 <= fraction < 1: no logarithm to round
    exponent = (power - 1 if fraction == 0.5 else power) + headroom_bits - 24
    check_exponent(exponent)
    return exponent


def snap(values: NDArray[np.float32], exponent: int) -> NDArray[np.int32]:
    """Return the mantissas of the grid points nearest to ``values``, ties to even: int32 of the same shape.

    Raises:
        NotFinite: A value is NaN or infinite. OutsideWindow: A mantissa would be 2^24 or more, or E is no grid's.
    """
    check_exponent(exponent)
    check_finite(values)
    # A float32 times a power of two is exact in float64, so rint is the only rounding.
    mantissas = np.rint(values.astype(np.float64) * 2.0**-exponent)
    if _largest(mantissas) >= MANTISSA_LIMIT:
        raise OutsideWindow(
            f"A value lies outside the grid of exponent {exponent}.", "|q| must stay below 2^24.", "Use a coarser grid."
        )
    return np.asarray(mantissas.astype(np.int32))


def unsnap(values: NDArray[np.float32], exponent: int, subject: str = "A tensor") -> NDArray[np.int32]:
    """Return the mantissas of values that lie *on* the grid: the exact inverse of ``to_float32``, nothing rounded.

    Raises:
        NotFinite: A value is NaN or infinite. NotCanonical: A value is -0.0.
        OutsideWindow: A value lies between grid points, a mantissa would be 2^24 or more, or E is no grid's.
    """
    check_exponent(exponent, subject)
    mantissas = _round_trip(values, exponent)
    if mantissas is not None:
        return mantissas
    check_finite(values, subject)
    if (values.view(np.uint32) == _MINUS_ZERO).any():
        raise NotCanonical(f"{subject} holds -0.0.", "The mantissa 0 has one float32, +0.0.", "Write +0.0.")
    exact = np.asarray(values.astype(np.float64) * 2.0**-exponent)  # arithmetic on a 0-d array gives a scalar
    outside = _largest(exact) >= MANTISSA_LIMIT
    mantissas = np.zeros(exact.shape, np.int32) if outside else exact.astype(np.int32)
    if outside or not np.array_equal(mantissas, exact):
        raise OutsideWindow(
            f"{subject} holds a value that is not on its grid of exponent {exponent}.",
            "Every float32 is q * 2^E with |q| < 2^24.",
            "Snap it first.",
        )
    return mantissas


def _round_trip(values: NDArray[np.float32], exponent: int) -> NDArray[np.int32] | None:
    """Return the mantissas of which `to_float32` makes exactly the bytes of ``values``; None where there are none.

    Nothing is believed of the first step, which may overflow, underflow or meet NaN: the bytes decide.
    """
    with np.errstate(all="ignore"):
        mantissas = np.asarray(np.multiply(values, np.float32(2.0**-exponent)).astype(np.int32))
    if mantissas.max(initial=0) >= MANTISSA_LIMIT or mantissas.min(initial=0) <= -MANTISSA_LIMIT:
        return None
    again = to_float32(mantissas, exponent)
    return mantissas if np.array_equal(again.view(np.uint32), values.view(np.uint32)) else None


def to_float32(mantissas: NDArray[np.int32], exponent: int) -> NDArray[np.float32]:
    """Return q * 2^E as float32 of the same shape; exact, and never -0.0.

    Raises:
        OutsideWindow: E is no grid's.
    """
    check_exponent(exponent)
    # float32 holds every |q| < 2^24 and, as -126 <= E <= 104, every product is a normal number or zero: both steps are exact.
    return np.asarray(np.multiply(mantissas, np.float32(2.0**exponent), dtype=np.float32, casting="unsafe"))


def unsnap_in_place(bits: NDArray[np.int32], exponent: int) -> bool:
    """Turn float32 values into their mantissas where they lie; return False, and leave anything, where `unsnap` refuses one.

    Args:
        bits: 1-D, contiguous, the bytes of float32 values in this machine's order. exponent: E of a grid.
    """
    fast = _compiled(bits.size)
    if fast is not None:
        return bool(fast.unsnap_in_place(bits, np.float32(2.0**-exponent), np.float32(2.0**exponent)))
    for start in range(0, bits.size, _IN_CACHE):
        part = bits[start : start + _IN_CACHE]
        mantissas = _round_trip(part.view(np.float32), exponent)
        if mantissas is None:
            return False
        part[:] = mantissas
    return True


def to_float32_into(mantissas: NDArray[np.int32], exponent: int, out: NDArray[np.float32]) -> None:
    """Fill ``out`` with `to_float32` of ``mantissas``, both 1-D and contiguous, of one size; E is that of a grid."""
    fast = _compiled(out.size) if out.dtype.isnative else None
    if fast is not None:
        fast.to_float32(mantissas, np.float32(2.0**exponent), out)
    else:
        np.multiply(mantissas, np.float32(2.0**exponent), out=out, dtype=np.float32, casting="unsafe")


def all_inside(mantissas: NDArray[np.int32]) -> bool:
    """Return whether |q| < 2^24 for all of ``mantissas``, of any shape."""
    flat = mantissas.reshape(-1)
    fast = _compiled(flat.size) if flat.flags.c_contiguous and flat.dtype.isnative else None
    if fast is not None:
        return bool(fast.all_inside(flat))
    return bool(flat.max(initial=0) < MANTISSA_LIMIT and flat.min(initial=0) > -MANTISSA_LIMIT)


def _compiled(values: int) -> ModuleType | None:
    """Return compiled loops where they pay for so many values: they do where a merge has loaded the compiler already."""
    return _loops() if values >= COMPILED_FROM or "numba" in sys.modules else None


@cache
def _loops() -> ModuleType | None:
    """Return `protocol.compiled_grid`, or None where Numba is missing or does not work: all goes on without."""
    try:
        return import_module("protocol.compiled_grid")
    except Exception:  # a compiler can fail to load in many ways, none of which changes a result
        return None


def check_finite(values: NDArray[np.floating], subject: str = "A tensor") -> None:
    """Refuse NaN and infinities.

    Raises:
        NotFinite: There is one.
    """
    if not np.isfinite(values).all():
        raise NotFinite(
            f"{subject} holds NaN or infinity.",
            "Training diverged, or the file is damaged.",
            "Lower the learning rate, or write the file again.",
        )


def _largest(values: NDArray[np.float64]) -> float:
    return max(float(values.max(initial=0)), -float(values.min(initial=0)))
