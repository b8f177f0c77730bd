"""Krum and multi-Krum (Blanchard et al., *Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent*, NeurIPS
2017): take the updates that lie closest to their neighbours.

score(i) = sum of ||delta_i - delta_j||^2 over the n - f - 2 other updates j that are nearest to i

Krum takes the update of the lowest score, multi-Krum the mean of the ``keep`` lowest. Distances are exact, and of equal
scores the lowest address wins, so the choice is a function of the set of updates. Needs n >= 2f + 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from processor.distances import gram, squared_distances
from processor.rule import Measured, require_updates
from processor.updates import Accepted
from processor.weighted_mean import WeightedMean


@dataclass(frozen=True, slots=True)
class Krum:
    """The rule "krum" (processor.rule): the change of the one update with the lowest score.

    Args:
        byzantine: f, the most updates that may be hostile.
    """

    byzantine: int
    reads_importance = False
    measure = staticmethod(gram)

    def plan(self, accepted: Sequence[Accepted], measured: Measured | None) -> WeightedMean:
        """Return the choice, weight 1; raises TooFewUpdates with fewer than 2f + 3."""
        chosen = selected("Krum", accepted, measured, self.byzantine, 1)
        return WeightedMean(tuple(int(k in chosen) for k in range(len(accepted))))


@dataclass(frozen=True, slots=True)
class MultiKrum:
    """The rule "multi-krum" (processor.rule): the mean of the updates with the lowest scores, by the task's weights.

    Args:
        byzantine: f, the most updates that may be hostile. keep: How many are taken; 0 is n - f.
    """

    byzantine: int
    keep: int
    reads_importance = False
    measure = staticmethod(gram)

    def plan(self, accepted: Sequence[Accepted], measured: Measured | None) -> WeightedMean:
        """Return the mean of the chosen; raises TooFewUpdates with fewer than 2f + 3 or f + keep."""
        require_updates("Multi-Krum", accepted, self.byzantine + self.keep)
        keep = self.keep or len(accepted) - self.byzantine
        chosen = selected("Multi-Krum", accepted, measured, self.byzantine, keep)
        return WeightedMean(tuple(one.weight if k in chosen else 0 for k, one in enumerate(accepted)))


def selected(
    who: str, accepted: Sequence[Accepted], measured: Measured | None, byzantine: int, keep: int
) -> frozenset[int]:
    """Return which updates have the ``keep`` lowest scores; raises TooFewUpdates with fewer than 2f + 3."""
    require_updates(f"{who} against {byzantine} hostile updates", accepted, 2 * byzantine + 3)
    assert measured is not None  # noqa: S101 - the rule measures
    distances = squared_distances(measured)
    by_score = sorted(range(len(accepted)), key=lambda i: (score(distances[i], i, len(accepted) - byzantine - 2), i))
    return frozenset(by_score[:keep])


def score(distances: Sequence[int], own: int, near: int) -> int:
    """Return the sum of the ``near`` smallest of ``distances`` but the one to itself, at index ``own``."""
    return sum(sorted(distance for j, distance in enumerate(distances) if j != own)[:near])
