"""The coordinate-wise trimmed mean (Yin et al., *Byzantine-Robust Distributed Learning*, ICML 2018, definition 2,
algorithm 1 option II).

change = mean of delta_k, coordinate by coordinate, without the ``trim`` largest and the ``trim`` smallest values. While at
most ``trim`` updates are hostile, every coordinate stays between two honest values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from processor.blocks import Block
from processor.merge import Part
from processor.networks import trimmed_sum
from processor.rule import Measured, require_updates
from processor.updates import Accepted


@dataclass(frozen=True, slots=True)
class Trimmed:
    """A plan (processor.rule): the mean of every coordinate's values but the ``trim`` smallest and the ``trim`` largest.

    The sum is exact, and divided only by the one rounding that every rule ends with: |sum| < count * 2^22 < 2^63.
    """

    count: int
    trim: int

    @property
    def weights(self) -> tuple[int, ...]:
        """1 for each member: nobody is left out as a whole."""
        return (1,) * self.count

    def merge(self, block: Block) -> Part:
        """Return the sum of what is left, and how many are left."""
        return Part(trimmed_sum(block.rows, self.trim, block.shifts), self.count - 2 * self.trim)


@dataclass(frozen=True, slots=True)
class TrimmedMean:
    """The rule "trimmed-mean" (processor.rule). Every update counts once: weights do not reach it.

    Args:
        trim: Values dropped at each end of a coordinate.
    """

    trim: int
    reads_importance = False
    measure = None

    def plan(self, accepted: Sequence[Accepted], measured: Measured | None) -> Trimmed:
        """Return the trimmed mean; raises TooFewUpdates with 2 * trim updates or fewer."""
        require_updates(f"A trimmed mean that drops {self.trim} at each end", accepted, 2 * self.trim + 1)
        return Trimmed(len(accepted), self.trim)
