"""Coordinate median and trimmed mean: refusals by name, ties and extremes, then equality with exact fractions."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.blocks import Block, Span
from processor.median import CoordinateMedian
from processor.rules import rule_of
from processor.trimmed_mean import TrimmedMean
from protocol.errors import TooFewUpdates
from protocol.specs import TensorClass
from tests.processor import reference, reference_robust
from tests.processor.factory import MEAN, VARIANCE
from tests.processor.robust_rounds import accepted, merge, moved, real_change, ring_of, trainable

SPAN = Span("00000.dense/kernel", TensorClass.TRAINABLE, -20, 0, 1)


def block(rows: list[list[int]], shifts: tuple[int, ...] | None = None) -> Block:
    return Block(SPAN, np.array(rows, np.int16), shifts or (0,) * len(rows))


def test_too_few_are_refused_by_name() -> None:
    with pytest.raises(TooFewUpdates):
        CoordinateMedian().plan([], None)
    with pytest.raises(TooFewUpdates, match="at least 5"):
        TrimmedMean(2).plan(accepted(4), None)


def test_the_fewest_do() -> None:
    assert CoordinateMedian().plan(accepted(1), None).merge(block([[-7]])).numerators.tolist() == [-7]

    part = TrimmedMean(2).plan(accepted(5), None).merge(block([[1], [2], [3], [9], [8]]))
    assert (part.numerators.tolist(), part.denominator) == ([3], 1)


def test_an_even_count_halves_nothing_early() -> None:
    part = CoordinateMedian().plan(accepted(4), None).merge(block([[9, 0], [1, 0], [5, 7], [4, -3]]))

    assert (part.numerators.tolist(), part.denominator) == ([9, 0], 2)


def test_shifts_move_values_past_each_other() -> None:
    part = CoordinateMedian().plan(accepted(3), None).merge(block([[3], [1], [-1]], (0, 7, 6)))

    assert (part.numerators.tolist(), part.denominator) == ([3], 1)


def test_everybody_counts_once() -> None:
    assert CoordinateMedian().plan(accepted(3), None).weights == (1, 1, 1)
    assert TrimmedMean(1).plan(accepted(4), None).weights == (1, 1, 1, 1)


def test_the_task_names_them() -> None:
    assert rule_of(ring_of("median").task) == CoordinateMedian()
    assert rule_of(ring_of("trimmed-mean", trim=2).task) == TrimmedMean(2)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["int8", "int16", "int32"]),
    st.lists(st.integers(1, 1000), min_size=1, max_size=7),
    st.integers(0, 3),
    st.integers(1, 13),
    st.integers(0, 2**32),
)
def test_merges_are_exact(delta_type: str, examples: list[int], trim: int, width: int, seed: int) -> None:
    trim = min(trim, (len(examples) - 1) // 2)
    for ring in (
        ring_of("median", delta_type, seed, 1 << 24),
        ring_of("trimmed-mean", delta_type, seed, 1 << 24, trim=trim),
    ):
        updates = [ring.update(f"client {k}", seed + k, examples=n) for k, n in enumerate(examples)]
        columns = zip(*(real_change(update, ring.base) for update in updates), strict=True)
        rule = ring.task.merge.rule
        expected = [
            reference_robust.median(column) if rule == "median" else reference_robust.trimmed_mean(column, trim)
            for column in columns
        ]

        merged = merge(ring, updates, width)

        assert trainable(merged, ring.base) == moved(ring.base, expected)


@pytest.mark.parametrize("rule", ["median", "trimmed-mean"])
def test_order_blocks_and_duplicates_of_values_do_not_matter(rule: str) -> None:
    ring = ring_of(rule, trim=1 if rule == "trimmed-mean" else 0)
    updates = [ring.update(name, examples=n) for name, n in [("alice", 1), ("bob", 999), ("carol", 7)]]
    updates.append(ring.update("dave", deltas=updates[0].deltas, exponents=updates[0].exponents))

    digests = {merge(ring, order, width).digest for order in permutations(updates) for width in (1, 5, 100)}

    assert len(digests) == 1


@pytest.mark.parametrize("rule", ["median", "trimmed-mean"])
def test_statistics_still_take_the_mean_by_examples(rule: str) -> None:
    ring = ring_of(rule)
    updates = [ring.update("alice", examples=10), ring.update("bob", examples=1000), ring.update("carol", examples=3)]

    merged = merge(ring, updates)

    expected, _ = reference.fedavg(ring.base, updates)
    for name in (MEAN, VARIANCE):
        assert merged.mantissas[name].reshape(-1).tolist() == expected[name]
