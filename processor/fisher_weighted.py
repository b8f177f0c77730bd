"""Fisher-weighted merging: every coordinate is the mean of the updates, each weighted by how much it matters to its
client (Matena and Raffel, *Merging Models with Fisher-Weighted Averaging*, NeurIPS 2022, Fisher merging's closed form).

    change_i = sum_k n_k f_ki delta_ki / sum_k n_k f_ki,    f_ki = floor + min(F_ki, cap)

F_k is the client's importance rescaled to mean 1 (processor.importance), n_k its weight as in FedAvg. The floor keeps the
denominator from 0, and with the cap no client outweighs another of the same n by more than 1 + cap / floor: a tiny
bound against division by 0 alone would let one of many strangers seize a coordinate that the others call unimportant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from processor.blocks import Block
from processor.merge import Part
from processor.rule import Measured
from processor.updates import Accepted
from protocol.fisher_terms import fisher_shift, fisher_units
from protocol.merge_terms import MergeRule


@dataclass(frozen=True, slots=True)
class FisherMean:
    """A plan (processor.rule). With s = ``shift`` low bits cut off, f = (floor + min(F, cap)) >> s.

    Proof that nothing leaves int64: floor + min(F, cap) < 2^37. The sum over all members of n_k f_ki is below 2^41
    (protocol.fisher_terms), so every partial sum of n_k f_ki |delta_ki| in every order is below 2^41 2^22 = 2^63, since
    |delta| < 2^22 (SPECIFICATION A6).

    Args:
        weights: n_k, one a member. floor, cap: With 16 fraction bits.
    """

    weights: tuple[int, ...]
    floor: int
    cap: int
    shift: int

    def merge(self, block: Block) -> Part:
        """Return the change in ``block``, whose importance is there; the denominator is an array."""
        assert block.importance is not None  # noqa: S101 - the rule reads it; tells the type checker
        numerators = np.zeros(block.rows.shape[1], dtype=np.int64)
        denominators = np.zeros(block.rows.shape[1], dtype=np.int64)
        for row, importance, shift, weight in zip(
            block.rows, block.importance, block.shifts, self.weights, strict=True
        ):
            if not weight:
                continue
            factor = np.minimum(importance, np.uint32(self.cap)).astype(np.int64)
            factor += np.int64(self.floor)
            factor >>= np.int64(self.shift)
            factor *= np.int64(weight)
            denominators += factor
            factor *= row.astype(np.int64) << np.int64(shift)
            numerators += factor
        return Part(numerators, denominators)


@dataclass(frozen=True, slots=True)
class FisherWeighted:
    """The rule "fisher-weighted" (processor.rule)."""

    terms: MergeRule
    reads_importance = True
    measure = None

    def plan(self, accepted: Sequence[Accepted], measured: Measured | None) -> FisherMean:
        """Return the mean by weight and importance; raises ArithmeticRefused as `fisher_shift`."""
        weights = tuple(one.weight for one in accepted)
        return FisherMean(weights, *fisher_units(self.terms), fisher_shift(self.terms, sum(weights)))
