"""Bulyan (El Mhamdi, Guerraoui and Rouault, *The Hidden Vulnerability of Distributed Learning in Byzantium*, ICML 2018).

1. Select theta = n - 2f updates: Krum's choice among those that are left, again and again. Krum among r updates sums the
   r - f - 2 smallest distances; among the last few, where that would be none, the smallest one.
2. change, coordinate by coordinate = the mean of the beta = theta - 2f selected values that are closest to their median.
   Of two values equally close on either side the smaller one is taken; the median of an even count is the mean of the two
   middle ones.

Needs n >= 4f + 3, so that beta >= 3. A hostile update that Krum lets through can no longer hide a large change in one
coordinate. Everything is exact, and ties are broken by address.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processor.blocks import Block
from processor.distances import Squares, gram, squared_distances
from processor.merge import Part
from processor.networks import sorted_rows
from processor.rule import Measured, require_updates
from processor.updates import Accepted


@dataclass(frozen=True, slots=True)
class NearestMean:
    """A plan (processor.rule): over the selected members, the mean of the ``keep`` values closest to the median.

    Args:
        weights: 1 for each selected member, 0 for the others.
    """

    weights: tuple[int, ...]
    keep: int

    def merge(self, block: Block) -> Part:
        """Return the sum of the closest values, and how many they are. |sum| < keep * 2^22 < 2^63."""
        taken = [k for k, weight in enumerate(self.weights) if weight]
        ordered = sorted_rows(block.rows[taken], tuple(block.shifts[k] for k in taken))
        return Part(nearest_sum(ordered, self.keep), self.keep)


@dataclass(frozen=True, slots=True)
class Bulyan:
    """The rule "bulyan" (processor.rule). Every selected update counts once: weights do not reach it.

    Args:
        byzantine: f, the most updates that may be hostile.
    """

    byzantine: int
    reads_importance = False
    measure = staticmethod(gram)

    def plan(self, accepted: Sequence[Accepted], measured: Measured | None) -> NearestMean:
        """Return the selection; raises TooFewUpdates with fewer than 4f + 3."""
        members, hostile = len(accepted), self.byzantine
        require_updates(f"Bulyan against {hostile} hostile updates", accepted, 4 * hostile + 3)
        assert measured is not None  # noqa: S101 - the rule measures
        chosen = repeated_krum(squared_distances(measured), hostile, members - 2 * hostile)
        return NearestMean(tuple(int(k in chosen) for k in range(members)), members - 4 * hostile)


def repeated_krum(distances: Squares, byzantine: int, count: int) -> frozenset[int]:
    """Return Krum's choice, ``count`` times, each time among those not chosen before; of equal scores the lowest index."""
    left = set(range(len(distances)))
    nearest = {i: sorted(left - {i}, key=distances[i].__getitem__) for i in left}
    for _ in range(count):
        near = max(1, len(left) - byzantine - 2)
        chosen = min(left, key=lambda i: (sum(distances[i][j] for j in nearest[i][:near]), i))
        left.remove(chosen)
        for i in left:
            nearest[i].remove(chosen)
    return frozenset(range(len(distances))) - left


def nearest_sum(ordered: NDArray[np.integer], keep: int) -> NDArray[np.int64]:
    """Return, for every coordinate, the sum of the ``keep`` values closest to the median; of equally close ones the smaller.

    The closest are neighbours in sorted order: x_s ... x_(s + keep - 1). The window moves up by one as long as the value it
    would gain is closer than the one it would lose: med - x_s > x_(s + keep) - med, that is x_s + x_(s + keep) < 2 med.
    The left side grows with s, so s is the number of all s for which it holds, in integers.

    Args:
        ordered: (members, coordinates), ascending in every column, below 2^29 in magnitude. keep: 1 to members.
    """
    members = len(ordered)
    twice_median = ordered[(members - 1) // 2].astype(np.int32) + ordered[members // 2]
    total: NDArray[np.int64] = ordered[:keep].sum(axis=0, dtype=np.int64)
    for start in range(members - keep):
        lost, gained = ordered[start].astype(np.int32), ordered[start + keep].astype(np.int32)
        total += np.where(lost + gained < twice_median, gained - lost, 0)
    return total
