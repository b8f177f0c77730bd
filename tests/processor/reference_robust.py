"""The robust rules once more, slow and plain, in exact fractions of real numbers; nothing here knows of blocks or grids.

An update is the list of its changes over all trainable coordinates; updates are in order of their clients' addresses.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations
from math import isqrt

Change = Sequence[Fraction]


def median(values: Sequence[Fraction]) -> Fraction:
    """The middle value, or the mean of the two middle ones."""
    ordered = sorted(values)
    return (ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2


def trimmed_mean(values: Sequence[Fraction], trim: int) -> Fraction:
    """The mean without the ``trim`` smallest and largest."""
    kept = sorted(values)[trim : len(values) - trim]
    return sum(kept, Fraction(0)) / len(kept)


def squared_distance(one: Change, other: Change) -> Fraction:
    """Sum of squared differences."""
    return sum(((a - b) ** 2 for a, b in zip(one, other, strict=True)), Fraction(0))


def krum_scores(changes: Sequence[Change], byzantine: int, among: Sequence[int] | None = None) -> dict[int, Fraction]:
    """Each update's sum of squared distances to its n - f - 2 nearest others (at least one, where there is one)."""
    left = range(len(changes)) if among is None else among
    near = max(1, len(left) - byzantine - 2)
    return {
        i: sum(sorted(squared_distance(changes[i], changes[j]) for j in left if j != i)[:near], Fraction(0))
        for i in left
    }


def multi_krum(changes: Sequence[Change], byzantine: int, keep: int) -> list[int]:
    """The ``keep`` lowest scores, the first of equal ones, in ascending order of index."""
    scores = krum_scores(changes, byzantine)
    return sorted(sorted(scores, key=lambda i: (scores[i], i))[:keep])


def bulyan_selected(changes: Sequence[Change], byzantine: int) -> list[int]:
    """n - 2f winners of Krum, one after another among those that are left."""
    left, chosen = list(range(len(changes))), []
    while len(chosen) < len(changes) - 2 * byzantine:
        scores = krum_scores(changes, byzantine, left)
        chosen.append(min(left, key=lambda i: (scores[i], i)))
        left.remove(chosen[-1])
    return sorted(chosen)


def nearest_mean(values: Sequence[Fraction], keep: int) -> Fraction:
    """The mean of the ``keep`` values closest to the median; of two equally close ones the smaller counts first."""
    middle = median(values)
    nearest = sorted(values, key=lambda value: (abs(value - middle), value))[:keep]
    return sum(nearest, Fraction(0)) / keep


def norm_factor(change: Change, squared_bound: Fraction) -> Fraction:
    """The largest multiple of 2^-16, at most 1, by which the change is no longer than the bound."""
    square = sum((value**2 for value in change), Fraction(0))
    if not square:
        return Fraction(1)
    ratio = squared_bound / square * 2**32
    return Fraction(min(1 << 16, isqrt(ratio.numerator // ratio.denominator)), 1 << 16)


def sorts_everything(wires: int, comparators: Sequence[tuple[int, int]]) -> bool:
    """Whether a network sorts: by the zero-one principle (Knuth, TAOCP 3, 5.3.4, theorem Z), zeros and ones suffice."""
    for ones in range(wires + 1):
        for chosen in combinations(range(wires), ones):
            values = [int(wire in chosen) for wire in range(wires)]
            for i, j in comparators:
                values[i], values[j] = min(values[i], values[j]), max(values[i], values[j])
            if values != sorted(values):
                return False
    return True
