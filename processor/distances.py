"""Exact distances between updates: the Gram matrix of their changes over all trainable coordinates, in integers.

G_ij = <delta_i, delta_j>, and ||delta_i - delta_j||^2 = G_ii + G_jj - 2 G_ij. Computed so in float32 the formula cancels
catastrophically where updates lie close together; here nothing is rounded, so nothing can cancel.

Sums over tensors on different grids are put together in squared steps of the finest grid there is, 4^MIN_EXPONENT, as Python
integers of any size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from processor.blocks import Block
from processor.kernels import COMPILED_FROM, compiled
from processor.rule import Measured
from protocol.errors import ArithmeticRefused
from protocol.grid import MIN_EXPONENT

MOST_COORDINATES = 1 << 18  # of a block: products below 2^44 then have sums below 2^62
Squares = list[list[int]]  # squared distances: of update i to update j


def gram(block: Block) -> Measured:
    """Return the Gram matrix of the changes in ``block``: (members, members).

    Args:
        block: Of at most `MOST_COORDINATES` coordinates.

    Raises:
        ArithmeticRefused: It is wider, so a sum could leave int64.
    """
    require_narrow(block)
    shifts = np.array(block.shifts, np.int64)
    steps = products(block.rows) << (shifts[:, None] + shifts[None, :])
    return Measured.of(steps, block.span.grid)


def squared_distances(grams: Measured) -> Squares:
    """Return ||delta_i - delta_j||^2 for all i and j, in units of 4^MIN_EXPONENT, from the sum of all blocks' `gram`."""
    inner = grams.total(MIN_EXPONENT)
    own = inner.diagonal()
    distances: Squares = (own[:, None] + own[None, :] - 2 * inner).tolist()
    return distances


def products(rows: NDArray[np.signedinteger]) -> NDArray[np.int64]:
    """Return rows @ rows.T exactly: int64 of shape (members, members).

    Args:
        rows: (members, coordinates) of int8, int16, or int32 below 2^22 in magnitude; at most `MOST_COORDINATES` wide.
    """
    fast = compiled("compiled_distances") if rows.size >= COMPILED_FROM else None
    if fast is not None:
        return np.asarray(fast.products(rows))
    width = exact_width(rows)
    total = np.zeros((len(rows), len(rows)), np.int64)
    for start in range(0, rows.shape[1], width):
        piece = rows[:, start : start + width].astype(np.float64)
        total += (piece @ piece.T).astype(np.int64)
    return total


def exact_width(rows: NDArray[np.signedinteger]) -> int:
    """Return over how many coordinates float64 may add up products of ``rows`` without rounding.

    Proof: a product of two int16 is at most 2^30 in magnitude, of two int32 below 2^22 less than 2^44. Over 2^12 and 2^9
    coordinates no sum of any of them, in any order and grouping, with or without fused multiplication, exceeds
    2^42 and 2^53, so every intermediate is an integer that float64 holds.
    """
    return 1 << 9 if rows.itemsize > 2 else 1 << 12


def require_narrow(block: Block) -> None:
    """Refuse a block over which squares could leave int64.

    In grid steps every |change| is below 2^22 (Block), so 2^18 products have sums below 2^18 * 2^44 = 2^62.

    Raises:
        ArithmeticRefused: It has more than `MOST_COORDINATES` coordinates.
    """
    if block.rows.shape[1] > MOST_COORDINATES:
        raise ArithmeticRefused(
            f"Squares of a block of {block.rows.shape[1]} coordinates are refused.",
            f"Their sums stay below 2^63 for up to {MOST_COORDINATES} coordinates.",
            "Cut the span into narrower blocks.",
        )
