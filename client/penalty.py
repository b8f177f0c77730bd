"""The EWC penalty as a proximal step, which is stable for any strength.

The penalty is lambda/2 * sum F_i (theta_i - theta*_i)^2 (Kirkpatrick et al. 2017, eq. 3). Adding its gradient to the loss
diverges once eta * lambda * F > 2; minimising it exactly after each optimizer step does not (Parikh and Boyd 2014, 1.1):

    theta <- argmin_t  lambda/2 F (t - theta*)^2 + 1/(2 eta) (t - theta)^2  =  (theta + c theta*) / (1 + c),  c = eta lambda F
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocol.grid import to_float32
from protocol.model import Model
from protocol.task import Task

IMPORTANCE_ONE = 1 << 16  # importance is uint32 with 16 fraction bits


def pull_strengths(model: Model, task: Task) -> dict[str, NDArray[np.float32]] | None:
    """Return c = eta * lambda * F of each trainable tensor (float32), or None where there is no penalty."""
    if model.importance is None or task.consolidation.strength == 0:
        return None
    scale = float(task.training.learning_rate * task.consolidation.strength / IMPORTANCE_ONE)
    return {name: (value.astype(np.float64) * scale).astype(np.float32) for name, value in model.importance.items()}


def anchor_weights(model: Model, mantissas: Mapping[str, NDArray[np.int32]]) -> dict[str, NDArray[np.float32]]:
    """Return theta* of each trainable tensor as float32, from the anchor's mantissas on the model's own grid."""
    return {
        spec.name: to_float32(mantissas[spec.name], spec.exponent)
        for spec in model.specs
        if spec.exponent is not None and model.importance is not None and spec.name in model.importance
    }


class ProximalStep:
    """The step above for the variables of one training.

    Args:
        variables: Tensor name -> Keras variable.
        strengths: c of each tensor that is pulled. anchor: theta* of each of them.
    """

    def __init__(
        self,
        variables: Mapping[str, Any],
        strengths: Mapping[str, NDArray[np.float32]],
        anchor: Mapping[str, NDArray[np.float32]],
    ) -> None:
        import tensorflow as tf

        # theta + k (theta* - theta) with k = c / (1 + c) is the same and needs no infinity for a huge c.
        self._pulled = [
            (variables[name], tf.constant(c.astype(np.float64) / (1.0 + c), tf.float32), tf.constant(anchor[name]))
            for name, c in strengths.items()
        ]

    def apply(self) -> None:
        """Move every variable once; call it after the optimizer's step, also inside a ``tf.function``."""
        for variable, k, target in self._pulled:
            variable.assign(variable + k * (target - variable))
