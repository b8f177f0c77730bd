"""The coordinate-wise median (Yin et al., *Byzantine-Robust Distributed Learning*, ICML 2018, definition 1, algorithm 1
option I).

change = med_k delta_k, coordinate by coordinate: the middle value of an odd count, half the sum of the two middle ones of an
even count. While fewer than half of the updates are hostile, every coordinate stays between two honest values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from processor.rule import Measured, require_updates
from processor.trimmed_mean import Trimmed
from processor.updates import Accepted


@dataclass(frozen=True, slots=True)
class CoordinateMedian:
    """The rule "median" (processor.rule). Every update counts once: weights do not reach it."""

    reads_importance = False
    measure = None

    def plan(self, accepted: Sequence[Accepted], measured: Measured | None) -> Trimmed:
        """Return what trims all but the middle value, or the two middle ones; raises TooFewUpdates without any update."""
        require_updates("The median", accepted, 1)
        return Trimmed(len(accepted), (len(accepted) - 1) // 2)
