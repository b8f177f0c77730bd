"""Bulyan: refusals by name, the window of the closest values, then equality with exact fractions."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.bulyan import Bulyan, nearest_sum, repeated_krum
from processor.distances import squared_distances
from processor.rule import Measured
from processor.rules import rule_of
from protocol.errors import TooFewUpdates
from protocol.grid import MIN_EXPONENT
from tests.processor import reference_robust
from tests.processor.factory import account
from tests.processor.robust_rounds import accepted, clients, merge, moved, real_change, ring_of, taken, trainable


def line(*positions: int) -> Measured:
    """The Gram matrix of updates at these places of a line."""
    return Measured.of(np.array([[a * b for b in positions] for a in positions]), MIN_EXPONENT)


def apart(*positions: int) -> list[list[int]]:
    """Their squared distances."""
    return squared_distances(line(*positions))


def test_too_few_are_refused_by_name() -> None:
    with pytest.raises(TooFewUpdates, match="at least 7"):
        Bulyan(1).plan(accepted(6), line(*range(6)))
    with pytest.raises(TooFewUpdates, match="at least 3"):
        Bulyan(0).plan(accepted(2), line(1, 2))


def test_krum_again_and_again_leaves_the_far_ones() -> None:
    assert repeated_krum(apart(1, 2, 3, 4, 5, 900, -900), 1, 5) == {0, 1, 2, 3, 4}
    assert repeated_krum(apart(0, 0, 0, 0), 0, 3) == {0, 1, 2}


def test_the_last_few_are_chosen_by_their_nearest() -> None:
    """Among three with f = 1 Krum would sum no distance at all; by the nearest one the pair wins, not the lowest index."""
    assert repeated_krum(apart(100, 0, 1), 1, 1) == {1}


@pytest.mark.parametrize(
    ("column", "keep", "expected"),
    [
        ([1, 2, 3, 4, 90], 3, 9),  # median 3: 2, 3, 4
        ([0, 10, 11, 12, 13], 3, 33),  # median 11: 10, 11, 12
        ([0, 2, 4], 2, 2),  # 0 and 4 are equally close to 2: the smaller
        ([0, 1, 1, 2], 3, 2),  # median 1: 0 before 2
        ([0, 1, 2, 4], 3, 3),  # median 3/2: 4 is farther than 0
        ([-9, 0, 2, 3], 3, 5),  # median 1: -9 is farther than 3
        ([5, 5, 5], 3, 15),
    ],
)
def test_the_closest_to_the_median(column: list[int], keep: int, expected: int) -> None:
    assert nearest_sum(np.array(column, np.int16)[:, None], keep).tolist() == [expected]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(-9, 9) | st.integers(-(2**22), 2**22), min_size=1, max_size=9), st.data())
def test_the_window_is_the_closest_to_the_median(values: list[int], data: st.DataObject) -> None:
    keep = data.draw(st.integers(1, len(values)))
    found = nearest_sum(np.array(sorted(values), np.int32)[:, None], keep)

    assert Fraction(int(found[0]), keep) == reference_robust.nearest_mean([Fraction(v) for v in values], keep)


def test_int16_extremes_do_not_wrap() -> None:
    column = np.array([-32_767, 32_767, 32_767, 32_767], np.int16)[:, None]

    assert nearest_sum(column, 3).tolist() == [3 * 32_767]


def test_the_selected_count_once() -> None:
    plan = Bulyan(1).plan(accepted(7), line(*range(7)))

    assert (sorted(plan.weights), plan.keep) == ([0, 0, 1, 1, 1, 1, 1], 3)


def test_the_task_names_it() -> None:
    assert rule_of(ring_of("bulyan", byzantine=2).task) == Bulyan(2)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(["int8", "int16"]), st.integers(3, 12), st.integers(1, 13), st.integers(0, 2**32))
def test_merges_are_exact(delta_type: str, count: int, width: int, seed: int) -> None:
    byzantine = (count - 3) // 4
    ring = ring_of("bulyan", delta_type, seed, byzantine=byzantine)
    names = clients(count)
    updates = [ring.update(name, seed + k, examples=1 + 7 * k) for k, name in enumerate(names)]
    changes = [real_change(update, ring.base) for update in updates]
    chosen = reference_robust.bulyan_selected(changes, byzantine)
    columns = zip(*(changes[k] for k in chosen), strict=True)
    expected = [reference_robust.nearest_mean(column, count - 4 * byzantine) for column in columns]

    merged = merge(ring, updates, width)

    assert taken(merged) == [account(names[k]) for k in chosen]
    assert trainable(merged, ring.base) == moved(ring.base, expected)


def test_order_and_blocks_do_not_matter() -> None:
    ring = ring_of("bulyan", byzantine=1)
    updates = [ring.update(name) for name in clients(7)]

    digests = {
        merge(ring, order, width).digest for order in list(permutations(updates))[::401] for width in (1, 5, 100)
    }

    assert len(digests) == 1
