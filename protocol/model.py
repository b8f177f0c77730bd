"""A model on an integer grid: per tensor int32 mantissas |q| < 2^24 on a power-of-two exponent, so float32 = q * 2^E is exact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from protocol.types import Digest

MANTISSA_LIMIT = 1 << 24  # |q| < 2^24: every mantissa is exact in float32


class TensorClass(StrEnum):
    """What merging does with a tensor."""

    TRAINABLE = "trainable"  # merged by the task's rule; has importance
    STATISTIC = "statistic"  # weighted mean whatever the rule; no importance
    CONSTANT = "constant"  # own dtype, copied


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor of a model. ``name`` is ``%05d.<path>``, given once at creation."""

    name: str
    shape: tuple[int, ...]
    kind: TensorClass
    exponent: int | None  # E of the grid; None for constants
    dtype: str = "float32"  # safetensors' own dtype for constants, "float32" otherwise
    non_negative: bool = False  # a statistic that must not become negative (a variance)


@dataclass(frozen=True)
class Model:
    """A model artifact in memory.

    Args:
        architecture: The bytes of ``architecture.json``, opaque, copied unchanged for ever.
        round: Index of the round that made it; 0 at creation.
        parents: Digest of the base model; empty at creation.
        specs: All tensors in name order.
        mantissas: int32, C order, |q| < 2^24, for every trainable and statistic tensor.
        constants: The constant tensors, own dtype.
        importance: uint32 fixed-point (16 fraction bits) for every trainable tensor, or None before the first consolidation.
        anchor: CID of the ``weights.safetensors`` *file* that the importance is anchored at, or None.
    """

    architecture: bytes
    round: int
    parents: tuple[Digest, ...]
    specs: tuple[TensorSpec, ...]
    mantissas: Mapping[str, NDArray[np.int32]]
    constants: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    importance: Mapping[str, NDArray[np.uint32]] | None = None
    anchor: str | None = None
