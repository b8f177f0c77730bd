"""The loops in which a merge spends its time, each with one exact result whatever runs it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def weighted_sum(rows: NDArray[np.signedinteger], factors: Sequence[int]) -> NDArray[np.int64]:
    """Return sum_k factors[k] * rows[k], int64 of shape (coordinates,).

    Args:
        rows: (members, coordinates) of int8, int16 or int32.
        factors: One a member, not negative, such that sum_k factors[k] * |rows[k]| stays below 2^63: then every partial
            sum in every order does.
    """
    total = np.zeros(rows.shape[1], dtype=np.int64)
    for row, factor in zip(rows, factors, strict=True):
        if factor:
            total += np.multiply(row, np.int64(factor), dtype=np.int64)
    return total
