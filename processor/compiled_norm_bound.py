"""The loops of `processor.norm_bound`, compiled: the same integers as there. See `processor.compiled`."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_compile = njit(nogil=True, cache=True, error_model="numpy")


@_compile
def squares(rows: NDArray[np.signedinteger]) -> NDArray[np.int64]:
    """Return the sum of squares of each row, int64."""
    total = np.zeros(len(rows), np.int64)
    for k in range(len(rows)):
        row, square = rows[k], np.int64(0)
        for c in range(row.size):
            square += np.int64(row[c]) * np.int64(row[c])
        total[k] = square
    return total


@_compile
def scale(rows: NDArray[np.signedinteger], scales: NDArray[np.float64], result: NDArray[np.int32]) -> None:
    """Set ``result`` to rows * scales, rounded half to even; exact as in `processor.norm_bound.bounded`."""
    for k in range(len(rows)):
        row, out, factor = rows[k], result[k], scales[k]
        for c in range(row.size):
            out[c] = np.int32(np.rint(np.float64(row[c]) * factor))
