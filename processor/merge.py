"""What every merge rule returns, how it becomes a model's mantissas, and its digest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocol.fixed_point import round_half_even_div, saturate
from protocol.model import MANTISSA_LIMIT, Model
from protocol.types import Hash

BLOCK = 1 << 17  # coordinates in one step: 1 MiB of int64, so that temporaries stay in the cache


@dataclass(frozen=True)
class Merged:
    """The change of every trainable and statistic tensor as an exact fraction, before the one rounding.

    Args:
        numerators: int64, the tensor's shape, in grid steps (2^E) times the denominator.
        denominators: Positive, below 2^63, one a tensor.
    """

    numerators: Mapping[str, NDArray[np.int64]]
    denominators: Mapping[str, int]


def merge_digest(merged: Merged | None) -> Hash:
    """Return the sha-256 that an attestation's witness is made of; ``None``, nothing merged, is sha-256 of nothing.

    Over the tensors in name order: name (ASCII), denominator (uint64, little-endian), numerators (int64,
    little-endian, C order).
    """
    hasher = hashlib.sha256()
    if merged is not None:
        for name, numerators in sorted(merged.numerators.items()):
            hasher.update(name.encode("ascii"))
            hasher.update(merged.denominators[name].to_bytes(8, "little"))
            hasher.update(np.ascontiguousarray(numerators, dtype="<i8").data)
    return Hash(hasher.digest())


def apply(base: Model, merged: Merged) -> tuple[dict[str, NDArray[np.int32]], int]:
    """Return the merged model's mantissas and how many coordinates had to be saturated.

    q' = q + round_half_even(numerator / denominator), clipped to |q'| < 2^24: one rounding a coordinate.

    Args:
        base: What the round started from.
        merged: The change of each of its trainable and statistic tensors.

    Returns:
        int32 mantissas by tensor, the base's shapes and order; and the count.
    """
    result: dict[str, NDArray[np.int32]] = {}
    saturated = 0
    for name, mantissas in base.mantissas.items():
        out = np.empty(mantissas.shape, dtype=np.int32)
        flat, before, numerators = out.reshape(-1), mantissas.reshape(-1), merged.numerators[name].reshape(-1)
        for start in range(0, flat.size, BLOCK):
            part = slice(start, start + BLOCK)
            # Clipping the change first keeps the sum far inside int64 and cannot change a clipped result.
            change, _ = saturate(round_half_even_div(numerators[part], merged.denominators[name]), 2 * MANTISSA_LIMIT)
            flat[part], outside = saturate(before[part] + change, MANTISSA_LIMIT - 1)
            saturated += outside
        result[name] = out
    return result, saturated
