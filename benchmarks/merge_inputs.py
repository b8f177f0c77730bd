"""The models and updates that merging is measured with: a function of their seeds alone, made with numpy alone.

Values are like those of honest clients: normal weights; changes that share a direction, of a few hundred steps of the grid;
importances with many small values and few large ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

LAYERS = 10
ROWS = 1_000  # of a layer: 999 of its kernel, and its bias
EXPONENT = -24  # of the grid: weights are mantissas times 2^-24
WEIGHT_STEPS = 1 << 20  # standard deviation of weights, in steps
SHARED_STEPS, OWN_STEPS = 200, 300  # of changes: what all clients want, and each one's noise
IMPORTANCE_EXPONENT = -30
EXAMPLES = 600

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Size:
    """So many updates of a model of so many parameters."""

    updates: int
    parameters: int

    @property
    def name(self) -> str:
        """Such as 16x10M."""
        return (
            f"{self.updates}x{self.parameters // 1_000_000}M"
            if self.parameters >= 1_000_000
            else (f"{self.updates}x{self.parameters // 1_000}k")
        )

    @property
    def work(self) -> int:
        """Parameters times updates."""
        return self.updates * self.parameters


def shapes(parameters: int) -> dict[str, tuple[int, ...]]:
    """Return the model's tensors by name: ten dense layers that have ``parameters``, a multiple of 10,000, in all."""
    columns, rest = divmod(parameters, LAYERS * ROWS)
    if rest or not columns:
        raise ValueError(f"{parameters} parameters are not a multiple of {LAYERS * ROWS}")
    kernels = {f"{2 * layer:05d}.dense_{layer}/kernel": (ROWS - 1, columns) for layer in range(LAYERS)}
    biases = {f"{2 * layer + 1:05d}.dense_{layer}/bias": (columns,) for layer in range(LAYERS)}
    return dict(sorted({**kernels, **biases}.items()))


def base_mantissas(parameters: int) -> Arrays:
    """Return the base model's int32 mantissas by tensor."""
    return {
        name: np.clip(values * WEIGHT_STEPS, -(1 << 23), 1 << 23).astype(np.int32)
        for name, values in _normal(parameters, 0).items()
    }


def change(parameters: int, client: int) -> Arrays:
    """Return the int16 change of client 1, 2, 3 …, in steps of the grid, by tensor."""
    shared, own = _shared(parameters), _normal(parameters, client)
    return {
        name: np.rint(np.clip(shared[name] + own[name] * OWN_STEPS, -32_767, 32_767)).astype(np.int16) for name in own
    }


def importance(parameters: int, client: int) -> Arrays:
    """Return the uint8 importance of client 1, 2, 3 … by tensor: squares, as a Fisher information's diagonal is."""
    return {
        name: np.minimum(values * values * 24, 255).astype(np.uint8)
        for name, values in _normal(parameters, 1_000_000 + client).items()
    }


@cache
def _shared(parameters: int) -> Arrays:
    return {name: values * np.float32(SHARED_STEPS) for name, values in _normal(parameters, 2_000_000).items()}


def _normal(parameters: int, stream: int) -> dict[str, NDArray[np.float32]]:
    random = np.random.Generator(np.random.SFC64([7, stream]))
    return {name: random.standard_normal(shape, np.float32) for name, shape in shapes(parameters).items()}
