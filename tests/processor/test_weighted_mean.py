"""The weighted mean: what is refused, by name, and equality with exact fractions up to the bounds."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from processor import kernels
from processor.blocks import Block, Span
from processor.merge import moved
from processor.weighted_mean import LARGEST_CHANGE, WeightedMean
from protocol.errors import ArithmeticRefused
from protocol.specs import TensorClass
from protocol.update import WINDOW

MOST = (1 << 41) - 1  # the largest total weight


def block(rows: list[list[int]], shifts: list[int], dtype: str = "int16") -> Block:
    array = np.array(rows, dtype)
    return Block(Span("00000.w", TensorClass.TRAINABLE, 0, 0, array.shape[1]), array, tuple(shifts))


@pytest.mark.parametrize(
    "weights",
    [(), (0,), (0, 0), (-1,), (5, -1), (-1, 2), (MOST + 1,), (MOST, 1), (1,) * 3 + (MOST - 2,), (1 << 80,)],
)
def test_no_weight_a_negative_one_and_too_much_of_it_are_refused(weights: tuple[int, ...]) -> None:
    with pytest.raises(ArithmeticRefused, match=f"{len(weights)} updates"):
        WeightedMean(weights)


@pytest.mark.parametrize("weights", [(1,), (0, 1), (MOST,), (MOST - 1, 1), (0, MOST, 0)])
def test_the_bounds_include_their_ends(weights: tuple[int, ...]) -> None:
    assert WeightedMean(weights).weights == weights


def test_the_bound_is_that_of_every_window() -> None:
    assert all(most << shift < LARGEST_CHANGE for shift, most in WINDOW.values())
    assert MOST * LARGEST_CHANGE < 1 << 63 <= (MOST + 1) * LARGEST_CHANGE


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("dtype", sorted(WINDOW))
def test_the_largest_sum_fits(dtype: str, compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As much weight as there can be, on the largest change there can be, both ways, in every split among members."""
    monkeypatch.setattr(kernels, "COMPILED_FROM", 0 if compiled else 1 << 60)
    shift, most = WINDOW[dtype]
    for weights in [(MOST,), (MOST - 1, 1), (1, MOST - 1), (MOST // 3, MOST // 3, MOST - 2 * (MOST // 3)), (0, MOST)]:
        members = len(weights)
        part = WeightedMean(weights).merge(block([[most, -most]] * members, [shift] * members, dtype))

        assert [int(n) for n in part.numerators] == [MOST * (most << shift), -MOST * (most << shift)]
        assert part.denominator == MOST
        assert moved(np.zeros(part.numerators.size, np.int32), part)[0].tolist() == [most << shift, -(most << shift)]


members = st.tuples(
    st.integers(0, 1 << 38), st.integers(0, 7), st.lists(st.integers(-32_767, 32_767), min_size=3, max_size=3)
)


@given(st.lists(members, min_size=1, max_size=6), st.booleans())
@example([(1, 0, [1, 3, -1]), (1, 0, [0, 0, 0])], False)  # ties
@example([(0, 7, [9, 9, 9]), (2, 0, [1, 1, 1])], True)  # one that is left out
def test_the_mean_equals_exact_fractions(rows: list[tuple[int, int, list[int]]], compiled: bool) -> None:
    weights, shifts, deltas = (list(column) for column in zip(*rows, strict=True))
    if not any(weights):
        weights[0] = 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "COMPILED_FROM", 0 if compiled else 1 << 60)
        part = WeightedMean(tuple(weights)).merge(block(deltas, shifts))

    exact = [
        sum((w * Fraction(q) * 2**s for w, s, q in zip(weights, shifts, column, strict=True)), Fraction(0))
        / sum(weights)
        for column in zip(*deltas, strict=True)
    ]
    assert [Fraction(int(n), int(part.denominator)) for n in part.numerators] == exact  # type: ignore[arg-type]
    assert moved(np.zeros(part.numerators.size, np.int32), part)[0].tolist() == [round(mean) for mean in exact]
