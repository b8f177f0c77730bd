"""The loops of `processor.distances`, compiled: the same integers as there. See `processor.compiled`.

Floats may be reordered and fused here, and nowhere else, because every intermediate is an integer that float64 holds
(processor.distances.exact_width).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processor import compiled_products

# Coordinates at a time, within what is exact for every dtype (processor.distances.exact_width): as float64, 64 rows of them
# stay in the second cache while all pairs are formed.
PIECE = 1 << 9
TILE = 4  # rows by rows: 16 sums and 8 factors fit the vector registers

_compile = njit(nogil=True, cache=True, error_model="numpy")
_compile_exact_sums = njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract"})


def products(rows: NDArray[np.signedinteger]) -> NDArray[np.int64]:
    """Return rows @ rows.T, int64; ``rows`` as of `processor.distances.products`."""
    if rows.itemsize <= 2 and compiled_products.is_usable():
        return compiled_products.products(rows)
    return np.asarray(float_products(rows, PIECE))


@_compile
def float_products(rows: NDArray[np.signedinteger], piece: int) -> NDArray[np.int64]:
    """Return rows @ rows.T, int64, adding up ``piece`` coordinates at a time in float64."""
    members, size = rows.shape
    tiles = (members + TILE - 1) // TILE
    total = np.zeros((tiles * TILE, tiles * TILE), np.int64)
    values = np.zeros((tiles * TILE, piece), np.float64)
    for begin in range(0, size, piece):
        width = min(piece, size - begin)
        for k in range(members):
            row, value = rows[k, begin : begin + width], values[k]
            for c in range(width):
                value[c] = row[c]
        for i in range(tiles):
            for j in range(i + 1):
                _add_tile(values[TILE * i : TILE * i + TILE], values[TILE * j : TILE * j + TILE], width, total, i, j)
    for i in range(members):
        for j in range(i):
            total[j, i] = total[i, j]
    return total[:members, :members].copy()


@_compile_exact_sums
def _add_tile(
    a: NDArray[np.float64], b: NDArray[np.float64], width: int, total: NDArray[np.int64], i: int, j: int
) -> None:
    """Add the products of four rows with four rows to tile (i, j) of ``total``."""
    a0, a1, a2, a3 = a[0], a[1], a[2], a[3]
    b0, b1, b2, b3 = b[0], b[1], b[2], b[3]
    s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = 0.0
    s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = 0.0
    for c in range(width):
        p, q, r, s = a0[c], a1[c], a2[c], a3[c]
        t, u, v, w = b0[c], b1[c], b2[c], b3[c]
        s00 += p * t
        s01 += p * u
        s02 += p * v
        s03 += p * w
        s10 += q * t
        s11 += q * u
        s12 += q * v
        s13 += q * w
        s20 += r * t
        s21 += r * u
        s22 += r * v
        s23 += r * w
        s30 += s * t
        s31 += s * u
        s32 += s * v
        s33 += s * w
    sums = ((s00, s01, s02, s03), (s10, s11, s12, s13), (s20, s21, s22, s23), (s30, s31, s32, s33))
    for x in range(TILE):
        for y in range(TILE):
            total[TILE * i + x, TILE * j + y] += np.int64(sums[x][y])
