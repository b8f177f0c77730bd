"""What a merge makes of one span: an exact fraction a coordinate, its digest, and after one rounding the new mantissas."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processor.kernels import move
from protocol.grid import MANTISSA_LIMIT
from protocol.types import Hash


@dataclass(frozen=True, slots=True)
class Part:
    """The change in one span as an exact fraction, before the one rounding, in grid steps (2^E).

    Args:
        numerators: int64 of shape (coordinates,).
        denominator: Positive and below 2^63: one for all, or an int64 array of the numerators' shape.
    """

    numerators: NDArray[np.int64]
    denominator: int | NDArray[np.int64]

    def digest(self) -> bytes:
        """Return the sha-256 of denominators (uint64) and numerators (int64), little-endian."""
        hasher = hashlib.sha256(np.asarray(self.denominator, dtype="<u8").tobytes())
        hasher.update(np.ascontiguousarray(self.numerators, dtype="<i8").data)
        return hasher.digest()


def join(parts: list[Part]) -> Part:
    """Return the parts of consecutive blocks as one."""
    if len(parts) == 1:
        return parts[0]
    numerators = np.concatenate([part.numerators for part in parts])
    first = parts[0].denominator
    if isinstance(first, int) and all(isinstance(p.denominator, int) and p.denominator == first for p in parts):
        return Part(numerators, first)
    wide = [np.broadcast_to(np.asarray(part.denominator, np.int64), part.numerators.shape) for part in parts]
    return Part(numerators, np.concatenate(wide))


def merge_digest(digests: Mapping[str, Iterable[bytes]] | None) -> Hash:
    """Return the sha-256 that an attestation's witness is made of; ``None``, nothing merged, is sha-256 of nothing.

    Over the merged tensors in name order: name (ASCII), then the digest of each of its spans (processor.blocks.CHUNK
    coordinates, the last may be shorter), so that machines that share the work send 32 bytes a span.

    Args:
        digests: Those of each tensor's parts, in order.
    """
    hasher = hashlib.sha256()
    for name, parts in sorted((digests or {}).items()):
        hasher.update(name.encode("ascii"))
        for digest in parts:
            hasher.update(digest)
    return Hash(hasher.digest())


def moved(before: NDArray[np.int32], part: Part, out: NDArray[np.int32] | None = None) -> tuple[NDArray[np.int32], int]:
    """Return ``before`` after the change, and how many coordinates had to be saturated.

    q' = q + round_half_even(numerator / denominator), clipped to |q'| < 2^24: one rounding a coordinate.

    Args:
        before: int32 mantissas of the span, |q| < 2^24.
        out: Where to put the new ones, not overlapping; else they are a new array.
    """
    return move(before, part.numerators, part.denominator, MANTISSA_LIMIT - 1, out)
