"""Norm bounding: the bound holds, the factor is the largest that keeps it, rounding is half to even, before every rule."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor import norm_bound
from processor.blocks import Block, Span
from processor.norm_bound import WHOLE, Norms, bounded, factors
from processor.rule import Measured
from protocol.fixed_point import round_half_even_div
from protocol.grid import MAX_EXPONENT, MIN_EXPONENT
from protocol.merge_terms import MergeRule
from protocol.specs import TensorClass, trainable_specs
from tests.processor import reference, reference_robust
from tests.processor.factory import MEAN, TinyRound
from tests.processor.robust_rounds import clients, merge, moved, real_change, ring_of, taken, trainable

MEDIAN = MergeRule(bound="median")


def fixed(norm: Fraction | int) -> MergeRule:
    return MergeRule(bound="fixed", bound_norm=Fraction(norm))


def factors_of(terms: MergeRule, norms: list[int], finest: int) -> tuple[int, ...]:
    """The factors for updates of these squared norms, in steps of the finest grid."""
    return factors(terms, Measured.of(np.array(norms, dtype=object), finest), finest)


def block(rows: list[list[int]], shifts: tuple[int, ...], dtype: str = "int16", grid: int = -20) -> Block:
    values = np.array(rows, dtype)
    return Block(Span("00000.dense/kernel", TensorClass.TRAINABLE, grid, 0, values.shape[1]), values, shifts)


# --- factors ---


def test_zero_updates_and_short_ones_stay() -> None:
    assert factors_of(MEDIAN, [0, 0, 0, 7], -20) == (WHOLE, WHOLE, WHOLE, 0)
    assert factors_of(fixed(5), [0, 1, 25, 24], 0) == (WHOLE,) * 4


def test_the_factor_is_rounded_down() -> None:
    assert factors_of(fixed(1), [9], 0) == (WHOLE // 3,)  # 21845.33
    assert factors_of(fixed(1), [2], 0) == (46340,)  # 46340.95
    assert factors_of(fixed(1), [1 << 32, (1 << 32) + 1], 0) == (1, 0)


def test_the_bound_is_in_the_weights_units() -> None:
    """A bound of 1/1024 is 2^10 steps of 2^-20; 2^11 steps are twice that."""
    assert factors_of(fixed(Fraction(1, 1024)), [1 << 22], -20) == (WHOLE // 2,)
    assert factors_of(fixed(1024), [1 << 22], 0) == (WHOLE // 2,)
    assert factors_of(fixed(1024), [1 << 22], 9) == (WHOLE // 1024,)


@pytest.mark.parametrize(("count", "middle"), [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2)])
def test_the_median_is_the_lower_middle_norm(count: int, middle: int) -> None:
    norms = [4**k for k in range(count)]
    for order in list(permutations(norms))[::7]:
        found = factors_of(MEDIAN, [*order], -20)
        assert [m for _, m in sorted(zip(order, found, strict=True))] == [
            WHOLE >> max(0, k - middle) for k in range(count)
        ]


def test_grids_as_far_apart_as_they_can_be() -> None:
    steps = [1, 4 ** (MAX_EXPONENT - MIN_EXPONENT)]
    assert factors_of(MEDIAN, steps, MIN_EXPONENT) == (WHOLE, 0)
    assert factors_of(fixed(Fraction(2) ** (MAX_EXPONENT - 3)), steps, MIN_EXPONENT) == (WHOLE, WHOLE >> 3)


@given(st.integers(1, 2**300), st.fractions(min_value=Fraction(1, 10**9), max_value=10**6), st.integers(-126, 104))
def test_no_factor_could_be_larger(square: int, bound: Fraction, finest: int) -> None:
    (m,) = factors_of(fixed(bound), [square], finest)
    limit = (bound / Fraction(2) ** finest) ** 2

    assert Fraction(m, WHOLE) ** 2 * square <= limit
    assert m == WHOLE or Fraction(m + 1, WHOLE) ** 2 * square > limit


# --- norms ---


def test_norms_count_shifts_and_grids() -> None:
    measured = Norms().measure(block([[3, -4], [1, 0]], (0, 7)))

    assert measured.total(-22).tolist() == [25 * 16, 4**7 * 16]


# --- bounded rows ---


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([("int8", 127, 15), ("int16", 32_767, 7), ("int32", (1 << 22) - 1, 0)]),
    st.lists(st.integers(0, WHOLE), min_size=1, max_size=4),
    st.integers(0, 2**32),
)
def test_rows_are_rounded_half_to_even(window: tuple[str, int, int], multiples: list[int], seed: int) -> None:
    dtype, largest, widest = window
    random = np.random.default_rng(seed)
    rows = random.integers(-largest, largest, (len(multiples), 40), dtype=dtype, endpoint=True)
    shifts = tuple(int(s) for s in random.integers(0, widest, len(multiples), endpoint=True))

    for compiled_from in (0, 1 << 62):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(norm_bound, "COMPILED_FROM", compiled_from)
            found = bounded(block(rows.tolist(), shifts, dtype), tuple(multiples))
            norms = Norms().measure(block(rows.tolist(), shifts, dtype)).total(-20).tolist()

        assert (found.rows.dtype, found.shifts) == (np.int32, (0,) * len(multiples))
        for row, out, shift, m, norm in zip(rows, found.rows, shifts, multiples, norms, strict=True):
            change = row.astype(np.int64) << shift
            assert np.array_equal(out, round_half_even_div(change * m, WHOLE))
            assert norm == (change**2).sum()


def test_ties_go_to_the_even_step() -> None:
    for compiled_from in (0, 1 << 62):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(norm_bound, "COMPILED_FROM", compiled_from)
            found = bounded(block([[1, 3, 5, -1, -3, 2]], (0,)), (WHOLE // 2,))

        assert found.rows.tolist() == [[0, 2, 2, 0, -2, 1]]


def test_the_largest_stay_within_what_sums_are_proved_for() -> None:
    found = bounded(block([[32_767, -32_767]] * 2, (7, 7)), (WHOLE, WHOLE - 1))

    assert np.abs(found.rows).max() == 32_767 << 7 < 1 << 22


# --- before every rule ---


RULES = [("fedavg", {}), ("median", {}), ("trimmed-mean", {"trim": 1}), ("krum", {"byzantine": 1})]


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(RULES),
    st.sampled_from(["int8", "int16"]),
    st.sampled_from([None, Fraction(1, 64), Fraction(3, 10**5), Fraction(7)]),
    st.integers(1, 13),
    st.integers(0, 2**32),
)
def test_merges_are_exact(
    rule: tuple[str, dict[str, int]], delta_type: str, bound: Fraction | None, width: int, seed: int
) -> None:
    terms = {"bound": "median"} if bound is None else {"bound": "fixed", "bound_norm": bound}
    ring = ring_of(rule[0], delta_type, seed, **terms, **rule[1])
    updates = [ring.update(name, seed + k, examples=5) for k, name in enumerate(clients(5))]
    changes = [bounded_change(ring, real_change(update, ring.base), updates, bound) for update in updates]
    if rule[0] == "krum":
        (chosen,) = reference_robust.multi_krum(changes, 1, 1)
        expected = list(changes[chosen])
    else:
        trim = {"fedavg": 0, "median": 2, "trimmed-mean": 1}[rule[0]]
        expected = [reference_robust.trimmed_mean(column, trim) for column in zip(*changes, strict=True)]

    merged = merge(ring, updates, width)

    assert trainable(merged, ring.base) == moved(ring.base, expected)
    if rule[0] != "krum":
        assert len(taken(merged)) == 5
        assert merged.mantissas[MEAN].reshape(-1).tolist() == reference.fedavg(ring.base, updates)[0][MEAN]


def bounded_change(
    ring: TinyRound, change: list[Fraction], updates: list[Any], bound: Fraction | None
) -> list[Fraction]:
    """The change times its factor, on the grid again."""
    norms = sorted(sum(value**2 for value in real_change(update, ring.base)) for update in updates)
    limit = Fraction(norms[(len(norms) - 1) // 2]) if bound is None else bound**2
    factor, at, result = reference_robust.norm_factor(change, limit), 0, list[Fraction]()
    for spec in trainable_specs(ring.base.specs):
        step = Fraction(2) ** spec.grid
        size = ring.base.mantissas[spec.name].size
        result += [round(value * factor / step) * step for value in change[at : at + size]]
        at += size
    return result
