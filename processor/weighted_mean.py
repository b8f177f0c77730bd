"""The weighted mean of changes, exactly: what FedAvg merges by, what selection rules take of the selected, and what
statistics are merged by under every rule.

    change = sum_k n_k * q_k * 2^(e_k - E) / sum_k n_k

as one integer numerator a coordinate and one denominator, so it depends on the *set* of updates only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processor.blocks import Block
from processor.kernels import weighted_sum
from processor.merge import Part
from protocol.errors import ArithmeticRefused

LARGEST_CHANGE = 1 << 22  # |q| * 2^(e - E) is below it in every window an update may use (SPECIFICATION A6)


@dataclass(frozen=True, slots=True)
class WeightedMean:
    """A plan (processor.rules) that takes the mean by ``weights``, one a member; 0 leaves a member out.

    Raises:
        ArithmeticRefused: All weights are 0, one is negative, or total * 2^22 reaches 2^63. For smaller totals no partial
            sum can leave int64, in whatever order: |sum of n_k * q_k * 2^(e_k - E)| < total * 2^22 < 2^63.
    """

    weights: tuple[int, ...]

    def __post_init__(self) -> None:
        total = sum(self.weights)
        if min(self.weights, default=0) < 0 or not 0 < total * LARGEST_CHANGE < 1 << 63:
            raise ArithmeticRefused(
                f"A merge of {len(self.weights)} updates with total weight {total} is refused.",
                "An exact sum needs at least one update, and total weight x 2^22 below 2^63.",
                "Lower the task's examples cap or the round's most updates.",
            )

    def merge(self, block: Block) -> Part:
        """Return the mean change in ``block``: int64 numerators below 2^63, and the total weight."""
        return self.part(weighted_sum(block.rows, self.factors(block.shifts)))

    def factors(self, shifts: Sequence[int]) -> list[int]:
        """Return what each member's row, whose change is rows[k] * 2^shifts[k], counts times."""
        return [weight << shift for weight, shift in zip(self.weights, shifts, strict=True)]

    def part(self, sums: NDArray[np.int64]) -> Part:
        """Return the mean whose numerators are ``sums``."""
        return Part(sums, sum(self.weights))
