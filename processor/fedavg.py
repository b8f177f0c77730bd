"""FedAvg: the weighted mean of the updates (McMahan et al., *Communication-Efficient Learning*, AISTATS 2017, alg. 1).

    change = sum_k n_k * delta_k / sum_k n_k,    delta_k = q_k * 2^(e_k - E) in steps of the base's grid

as one integer numerator a coordinate and one denominator, so it depends on the *set* of updates only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from processor.merge import BLOCK, Merged
from processor.updates import Accepted, Load
from protocol.errors import ArithmeticRefused
from protocol.model import Model
from protocol.specs import TensorClass, merged_specs
from protocol.task import Task

LARGEST_CHANGE = 1 << 22  # |q| * 2^(e - E) is below it in every window an update may use (SPECIFICATION A6)


def merge(task: Task, base: Model, accepted: Sequence[Accepted], load: Load) -> Merged:
    """Return the weighted mean change: trainable tensors by the task's weighting, statistics by examples.

    Memory is one int64 a coordinate and one update, however many updates there are.

    Args:
        task: Not read: the weights are in ``accepted``.
        base: The round's base model.
        accepted: At least one; every update has passed the screening against ``base``.
        load: Gives an update by its digest; called once each.

    Raises:
        ArithmeticRefused: No updates, or total weight * 2^22 reaches 2^63: a sum could overflow. Nothing was summed.
    """
    denominators = _denominators(base, accepted)
    specs = merged_specs(base.specs)
    sums = {name: np.zeros(base.mantissas[name].size, dtype=np.int64) for name in denominators}
    for one in accepted:
        update = load(one.digest)
        for spec in specs:
            shift = update.exponents[spec.name] - spec.grid
            _accumulate(sums[spec.name], update.deltas[spec.name], _weight(one, spec.kind) << shift)
    shaped = {name: total.reshape(base.mantissas[name].shape) for name, total in sums.items()}
    return Merged(shaped, denominators)


def _weight(one: Accepted, kind: TensorClass) -> int:
    return one.weight if kind is TensorClass.TRAINABLE else one.examples


def _denominators(base: Model, accepted: Sequence[Accepted]) -> dict[str, int]:
    """The total weight of each tensor, after checking that no sum of that weight can overflow."""
    totals = {kind: sum(_weight(one, kind) for one in accepted) for kind in TensorClass}
    for total in totals.values():
        if not 0 < total * LARGEST_CHANGE < 1 << 63:
            raise ArithmeticRefused(
                f"A merge of {len(accepted)} updates with total weight {total} is refused.",
                "An exact sum needs at least one update, and total weight x 2^22 below 2^63.",
                "Lower the task's examples cap or the round's most updates.",
            )
    return {spec.name: totals[spec.kind] for spec in merged_specs(base.specs)}


def _accumulate(total: NDArray[np.int64], delta: NDArray[np.signedinteger], factor: int) -> None:
    """Add delta * factor to ``total`` in place, block by block so that no second int64 tensor is held."""
    flat = delta.reshape(-1)
    for start in range(0, total.size, BLOCK):
        part = slice(start, start + BLOCK)
        total[part] += np.multiply(flat[part], np.int64(factor), dtype=np.int64)
