"""The loops of `processor.importance`, compiled: the same integers as there. See `processor.compiled`."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

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
        row, scale, out = values[k], scales[k], rows[k]
        for c in range(row.size):
            value = np.float64(row[c]) * scale
            out[c] = np.uint32(np.int64(MOST if value > MOST else value))  # straight to uint32 takes twice the time
    return rows
