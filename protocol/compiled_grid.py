"""The hot loops of `protocol.grid`, compiled. The same bits as there, some ten times as fast; nothing else here.

Numba compiles each the first time on a machine, and keeps the code beside this file or in the user's cache. All loops run
without the interpreter lock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

_LIMIT = np.float32(1 << 24)  # protocol.grid.MANTISSA_LIMIT

_BITS, _FLOATS = "i4[::1]", "f4[::1]"
_READ_ONLY = "Array(i4, 1, 'C', readonly=True)"  # takes those that may be written to as well
Loop = TypeVar("Loop", bound=Callable[..., Any])


def _compile(signature: str) -> Callable[[Loop], Loop]:
    return cast("Callable[[Loop], Loop]", njit(signature, nogil=True, cache=True, error_model="numpy"))


@_compile(f"b1({_BITS}, f4, f4)")
def unsnap_in_place(bits: NDArray[np.int32], down: np.float32, up: np.float32) -> bool:
    """As `protocol.grid.unsnap_in_place`; ``down`` is 2^-E and ``up`` 2^E."""
    differing = np.int32(0)
    for i in range(bits.size):
        before = np.int32(bits[i])
        scaled = before.view(np.float32) * down
        # NaN and what is too large become 0, which is not what they were
        mantissa = np.int32(scaled if np.abs(scaled) < _LIMIT else np.float32(0))
        again = np.float32(np.float32(mantissa) * up)
        differing = np.int32(differing | (again.view(np.int32) ^ before))
        bits[i] = mantissa
    return bool(differing == 0)


@_compile(f"void({_READ_ONLY}, f4, {_FLOATS})")
def to_float32(mantissas: NDArray[np.int32], up: np.float32, out: NDArray[np.float32]) -> None:
    """As `protocol.grid.to_float32_into`; ``up`` is 2^E."""
    for i in range(mantissas.size):
        out[i] = np.float32(mantissas[i]) * up


@_compile(f"b1({_READ_ONLY})")
def all_inside(mantissas: NDArray[np.int32]) -> bool:
    """As `protocol.grid.all_inside`."""
    # |q| < 2^24 where q + 2^24 - 1 is from 0 to 2^25 - 2 as an unsigned number, to which it wraps
    largest = np.uint32(0)
    for i in range(mantissas.size):
        largest = max(largest, np.uint32(mantissas[i] + np.int32((1 << 24) - 1)))
    return bool(largest <= np.uint32((1 << 25) - 2))
