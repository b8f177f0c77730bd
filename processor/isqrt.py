"""The integer square root of arrays: what ``math.isqrt`` gives, coordinate by coordinate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocol.errors import ArithmeticRefused

LARGEST = 1 << 62  # values are below it


def isqrt(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return floor(sqrt(values)), exactly.

    The float64 root is only a guess, and integers decide. Proof that one step down or one up is all it may need: let
    r = sqrt(n) < 2^31. Converting n changes it by at most n 2^-53, so the root by at most r 2^-53, and rounding the root
    by at most r 2^-52 even where the last bit is wrong; together less than 2^-19. So the guess's floor g is within 1 of
    floor(r): from |x - r| < 1 follows |floor(x) - floor(r)| <= 1. If g^2 > n it is one too many, if (g + 1)^2 <= n one
    too few, and (g + 1)^2 <= (2^31 + 1)^2 < 2^63. No rounding mode, CPU or library can change the result.

    Args:
        values: int64 of any shape, from 0 to 2^62 - 1.

    Raises:
        ArithmeticRefused: A value is out of these bounds, or the array is not int64.
    """
    if values.dtype != np.int64:
        raise ArithmeticRefused(f"Cannot take roots of an array of {values.dtype}.", "Roots are of int64.")
    if values.size and not (values.min() >= 0 and values.max() < LARGEST):
        raise ArithmeticRefused("Cannot take this root.", "Values lie from 0 to 2^62 - 1.")
    guess = np.sqrt(values.astype(np.float64)).astype(np.int64)
    guess -= guess * guess > values
    guess += (guess + 1) * (guess + 1) <= values
    return np.asarray(guess)
