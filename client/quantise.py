"""From trained float32 weights to the integers of an update, and the rounding residual that stays behind.

Everything after `snap` is integer arithmetic on the model's grid: new mantissas minus base mantissas, plus what earlier
rounds left over, divided by the smallest power of two that fits the update's dtype.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocol.errors import NotFinite
from protocol.fixed_point import round_half_even_div, saturate
from protocol.grid import MANTISSA_LIMIT
from protocol.model import Model, TensorClass, TensorSpec
from protocol.task import DeltaType
from protocol.update import WINDOW

_DTYPES: Mapping[str, type[np.signedinteger]] = {"int8": np.int8, "int16": np.int16, "int32": np.int32}
U8_MAX = 255
_SMALLEST_IMPORTANCE_EXPONENT = -126  # below it a value is no normal float32


@dataclass(frozen=True)
class Quantised:
    """The integers of an update.

    Args:
        exponents: e of each trainable and statistic tensor.
        deltas: int8, int16 or int32 of each of them; change = delta * 2^e.
        residual: int64 for each trainable tensor, in steps 2^E of the model's grid: what should have been sent and was not.
        clipped: Coordinates that even the coarsest exponent of the window could not hold, or that left the model's grid.
    """

    exponents: Mapping[str, int]
    deltas: Mapping[str, NDArray[np.signedinteger]]
    residual: Mapping[str, NDArray[np.int64]]
    clipped: int


def quantise(
    base: Model,
    weights: Mapping[str, NDArray[np.float32]],
    delta_type: DeltaType,
    residual: Mapping[str, NDArray[np.int64]] | None = None,
) -> Quantised:
    """Quantise the change from ``base`` to ``weights``.

    Args:
        base: The round's base model.
        weights: float32 for each trainable and statistic tensor, after training.
        delta_type: The task's dtype of deltas.
        residual: In grid steps, what earlier rounds left over (error feedback: Seide et al. 2014, Karimireddy et al. 2019).

    Raises:
        NotFinite: A weight is NaN or infinite: training diverged.
    """
    exponents, deltas, left, clipped = {}, {}, {}, 0
    for spec in base.specs:
        if spec.kind is TensorClass.CONSTANT or spec.exponent is None:
            continue
        old = base.mantissas[spec.name].astype(np.int64)
        new, outside = _snap(weights[spec.name], spec)
        wanted = new - old
        if residual is not None and spec.name in residual:
            wanted = wanted + residual[spec.name]
        shift, sent, over = _fit(wanted, delta_type)
        if spec.non_negative:
            # Rounding may step below zero; -floor(old / 2^shift) is the lowest change that does not.
            sent = np.maximum(sent, -(old >> shift))
        exponents[spec.name] = spec.exponent + shift
        deltas[spec.name] = sent.astype(_DTYPES[delta_type])
        if spec.kind is TensorClass.TRAINABLE:  # a statistic is a mean of its own: its rounding is not owed to anyone
            left[spec.name] = wanted - (sent << shift)
        clipped += outside + over
    return Quantised(exponents, deltas, left, clipped)


def _snap(values: NDArray[np.float32], spec: TensorSpec) -> tuple[NDArray[np.int64], int]:
    """Nearest grid points, ties to even, saturated at the grid's range; and how many left it."""
    if not np.isfinite(values).all():
        raise NotFinite(
            f"Tensor {spec.name} holds NaN or infinity after training.",
            "Training diverged on this client's data.",
            "Check the data's scale; if it is as the task says, the task's learning rate is too high.",
        )
    assert spec.exponent is not None  # noqa: S101 - constants were passed over
    scaled = np.rint(values.astype(np.float64) * 2.0**-spec.exponent)
    # Clip as floats: a float64 beyond int64 has no defined conversion.
    inside = np.clip(scaled, -(MANTISSA_LIMIT - 1), MANTISSA_LIMIT - 1)
    return inside.astype(np.int64), int(np.count_nonzero(inside != scaled))


def _fit(wanted: NDArray[np.int64], delta_type: DeltaType) -> tuple[int, NDArray[np.int64], int]:
    """Return the smallest shift of the window that holds ``wanted``, the shifted values, and how many were clipped."""
    widest, limit = WINDOW[delta_type]
    largest = int(np.abs(wanted).max(initial=0))
    shift = next((s for s in range(widest + 1) if round_half_even_div(largest, 1 << s) <= limit), widest)
    sent, clipped = saturate(round_half_even_div(wanted, 1 << shift), limit)
    return shift, sent, clipped


def quantise_importance(values: NDArray[np.float32]) -> tuple[NDArray[np.uint8], int]:
    """Return (u8, exponent) with value = u8 * 2^exponent to the nearest, on the smallest exponent that holds the largest.

    Args:
        values: float32, finite and not negative, any shape. A tensor of zeros has exponent 0.

    Raises:
        NotFinite: A value is NaN or infinite.
    """
    if not np.isfinite(values).all():
        raise NotFinite(
            "A measured importance is NaN or infinite.",
            "The base model's gradients overflow on this client's data.",
            "Check the data's scale.",
        )
    largest = float(values.max(initial=0.0))
    if largest == 0.0:
        return np.zeros(values.shape, np.uint8), 0
    # largest = fraction * 2^power with 1/2 <= fraction < 1, so largest / 2^(power - 8) lies in [128, 256).
    exponent = max(int(np.frexp(largest)[1]) - 8, _SMALLEST_IMPORTANCE_EXPONENT)
    if np.rint(largest * 2.0**-exponent) > U8_MAX:
        exponent += 1
    return np.rint(values.astype(np.float64) * 2.0**-exponent).astype(np.uint8), exponent
