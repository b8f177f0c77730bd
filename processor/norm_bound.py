"""Norm bounding: before any rule, an update whose change is longer than a bound is shortened to it (Sun et al., *Can You
Really Backdoor Federated Learning?*, 2019, §4: delta / max(1, ||delta|| / M)), in integers.
"""

from __future__ import annotations

from dataclasses import dataclass

from processor.blocks import Block
from processor.rule import Measured
from protocol.merge_terms import MergeRule

FACTOR_BITS = 16  # a factor is m / 2^16, 0 <= m <= 2^16


@dataclass(frozen=True, slots=True)
class Norms:
    """Measures every member's squared norm over all trainable coordinates, in steps of the finest grid.

    Args:
        finest: The smallest E of all trainable tensors.
    """

    finest: int

    def measure(self, block: Block) -> Measured:
        """Return each member's sum of squares, times 4^(E - finest)."""
        raise NotImplementedError


def factors(terms: MergeRule, norms: Measured, finest: int) -> tuple[int, ...]:
    """Return what each member's change is multiplied by, in 2^-16: min(2^16, floor(2^16 bound / norm))."""
    raise NotImplementedError


def bounded(block: Block, factors: tuple[int, ...]) -> Block:
    """Return ``block`` with each row multiplied by its factor and rounded half to even, int32, shifts 0."""
    raise NotImplementedError
