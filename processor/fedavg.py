"""FedAvg: the weighted mean of the updates (McMahan et al., *Communication-Efficient Learning*, AISTATS 2017, alg. 1).

change = sum_k n_k * delta_k / sum_k n_k
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from processor.rule import Measured
from processor.updates import Accepted
from processor.weighted_mean import WeightedMean


@dataclass(frozen=True, slots=True)
class FedAvg:
    """The rule "fedavg" (processor.rule): the mean by each update's weight, its capped examples or 1."""

    reads_importance = False
    measure = None

    def plan(self, accepted: Sequence[Accepted], measured: Measured | None) -> WeightedMean:
        """Return the mean by weight; raises ArithmeticRefused as `WeightedMean`."""
        return WeightedMean(tuple(one.weight for one in accepted))
