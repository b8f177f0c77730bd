"""Merging and holding by importance once more, slow and plain: one coordinate at a time, in exact fractions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from protocol.merge_terms import MergeRule
from protocol.model import Model
from protocol.specs import trainable_specs
from protocol.update import Update
from tests.processor.reference import MANTISSA_MOST, UINT32_MOST, Flat, rescaled

LARGEST_SUM = 1 << 41


def changes(base: Model, update: Update) -> list[int]:
    """An update's change of all trainable coordinates, in tensor order, in grid steps."""
    return [
        int(q) << (update.exponents[spec.name] - spec.grid)
        for spec in trainable_specs(base.specs)
        for q in update.deltas[spec.name].reshape(-1).tolist()  # type: ignore[union-attr]
    ]


def moved(base: Model, columns: Sequence[Fraction]) -> Flat:
    """The trainables of ``base`` after a change of each of their coordinates."""
    result, at = {}, 0
    for spec in trainable_specs(base.specs):
        before = base.mantissas[spec.name].reshape(-1).tolist()
        after = [q + round(change) for q, change in zip(before, columns[at : at + len(before)], strict=True)]
        result[spec.name] = [max(-MANTISSA_MOST, min(MANTISSA_MOST, q)) for q in after]
        at += len(before)
    return result


def fisher_weighted(terms: MergeRule, base: Model, updates: Sequence[Update], weights: Sequence[int]) -> Flat:
    """Trainables after the mean weighted by importance."""
    floor = round(terms.fisher_floor * 65536)
    cap = min(round(terms.fisher_cap * 65536), UINT32_MOST)
    lost = next(bits for bits in range(64) if sum(weights) * ((floor + cap) >> bits) < LARGEST_SUM)
    factors = [[(floor + min(value, cap)) >> lost for value in rescaled(update)] for update in updates]
    return moved(base, means(base, updates, [[n * f for f in own] for n, own in zip(weights, factors, strict=True)]))


def fedcurv(base: Model, updates: Sequence[Update], largest_sum: int = LARGEST_SUM) -> tuple[list[int], Flat]:
    """The mean importance over all trainable coordinates, and the trainables of the anchor."""
    importances = [rescaled(update) for update in updates]
    mean = [math.floor(Fraction(sum(column), len(updates))) for column in zip(*importances, strict=True)]
    lost = next(bits for bits in range(64) if len(updates) * (UINT32_MOST >> bits) < largest_sum)
    return mean, moved(base, means(base, updates, [[value >> lost for value in own] for own in importances]))


def means(base: Model, updates: Sequence[Update], factors: Sequence[Sequence[int]]) -> list[Fraction]:
    """Each coordinate's mean change; 0 where nobody weighs anything."""
    all_changes = [changes(base, update) for update in updates]
    found = []
    for at in range(len(all_changes[0])):
        total = sum(own[at] for own in factors)
        top = sum(own[at] * change[at] for own, change in zip(factors, all_changes, strict=True))
        found.append(Fraction(top, total) if total else Fraction(0))
    return found
