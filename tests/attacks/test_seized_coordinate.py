"""Attack: under "fisher-weighted" mallory puts all of her importance on one coordinate that the others call unimportant.

Verdict: accepted, and bounded: the task's floor and cap say how much she outweighs each of the others there, whatever she
sends; with a cap of 0 she is one among equals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from processor.engine import merge_updates
from protocol.task import MergeRule
from protocol.update import Update
from tests.processor.factory import KERNEL, TinyRound, member, tiny_model, tiny_specs, tiny_task

HONEST = ("alice", "bob", "carol", "dan")
PULL = 30_000  # grid steps, in which mallory wants the coordinate to go; the others leave it where it is


def attacked(floor: Fraction, cap: Fraction, share: int) -> float:
    """How far mallory gets, as a part of what she asked for; ``share`` is the importance that the others give it, 0 to 255."""
    terms = MergeRule("fisher-weighted", examples_cap=1000, fisher_floor=floor, fisher_cap=cap)
    ring = TinyRound(task=tiny_task(merge=terms), base=tiny_model(specs=tiny_specs((40, 25)), span=1 << 16))
    updates: Sequence[Update] = [
        *(crafted(ring, name, 0, share) for name in HONEST),
        crafted(ring, "mallory", PULL, 255),
    ]
    found = merge_updates(ring.task, ring.base, list(map(member, updates)))
    moved = found.mantissas[KERNEL].reshape(-1)[0] - ring.base.mantissas[KERNEL].reshape(-1)[0]
    return float(moved) / PULL


def crafted(ring: TinyRound, name: str, change: int, importance: int) -> Update:
    """An update that changes the first coordinate alone; mallory's importance is there alone as well."""
    update = ring.update(name, examples=100)
    deltas = {key: np.zeros_like(tensor) for key, tensor in update.deltas.items()}
    deltas[KERNEL].reshape(-1)[0] = change
    mine = {
        key: np.full(tensor.shape, 0 if name == "mallory" else 100, np.uint8)
        for key, tensor in (update.importance or {}).items()
    }
    mine[KERNEL].reshape(-1)[0] = importance
    grids = {spec.name: spec.grid for spec in ring.base.specs if spec.exponent is not None}
    return replace(update, deltas=deltas, exponents=grids, importance=mine, importance_exponents=dict.fromkeys(mine, 0))


@pytest.mark.parametrize("cap", [Fraction(0), Fraction(1), Fraction(9), Fraction(100)])
@pytest.mark.parametrize("floor", [Fraction(1, 4), Fraction(1)])
def test_she_outweighs_each_of_the_others_by_no_more_than_the_stated_factor(floor: Fraction, cap: Fraction) -> None:
    factor = 1 + cap / floor
    expected = factor / (factor + len(HONEST))  # the others call the coordinate unimportant
    assert attacked(floor, cap, share=0) == pytest.approx(float(expected), rel=1e-3)


def test_where_it_matters_to_the_others_too_she_gets_less() -> None:
    reached = [attacked(Fraction(1), Fraction(9), share) for share in (0, 100, 255)]
    assert reached[0] > reached[1] > reached[2]


def test_without_importance_she_is_one_of_five() -> None:
    assert attacked(Fraction(1), Fraction(0), share=0) == pytest.approx(1 / 5, rel=1e-3)
