"""Integer division, scaling and saturation against ``fractions.Fraction``, at the extremes too."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocol.errors import ArithmeticRefused
from protocol.fixed_point import (
    INT64_MAX,
    UINT32_MAX,
    add_saturating,
    floor_mul,
    mul_half_even,
    round_half_even_div,
    saturate,
)

INT64_MIN = -INT64_MAX - 1
EDGES = [INT64_MIN, INT64_MIN + 1, -3, -2, -1, 0, 1, 2, 3, INT64_MAX - 1, INT64_MAX]

numerators = st.one_of(st.sampled_from(EDGES), st.integers(INT64_MIN, INT64_MAX), st.integers(-50, 50))
denominators = st.one_of(
    st.sampled_from([1, 2, 3, 1 << 62, INT64_MAX - 1, INT64_MAX]), st.integers(1, INT64_MAX), st.integers(1, 50)
)
uint32s = st.one_of(st.sampled_from([0, 1, UINT32_MAX - 1, UINT32_MAX]), st.integers(0, UINT32_MAX))


@pytest.mark.parametrize("denominator", [0, -1, INT64_MAX + 1])
def test_array_division_refuses_denominators_out_of_bounds(denominator: int) -> None:
    with pytest.raises(ArithmeticRefused):
        round_half_even_div(np.zeros(1, dtype=np.int64), denominator)


@pytest.mark.parametrize("denominator", [0, -5])
def test_integer_division_refuses_denominators_below_one(denominator: int) -> None:
    with pytest.raises(ArithmeticRefused):
        round_half_even_div(7, denominator)


@pytest.mark.parametrize("dtype", [np.int32, np.uint64, np.float64])
def test_division_refuses_other_dtypes(dtype: type[np.generic]) -> None:
    with pytest.raises(ArithmeticRefused):
        round_half_even_div(np.zeros(1, dtype=dtype), 3)


@pytest.mark.parametrize("factor", [Fraction(-1, 2), Fraction(1 << 32)])
def test_floor_mul_refuses_factors_out_of_bounds(factor: Fraction) -> None:
    with pytest.raises(ArithmeticRefused):
        floor_mul(np.zeros(1, dtype=np.uint32), factor)


def test_floor_mul_refuses_other_dtypes() -> None:
    with pytest.raises(ArithmeticRefused):
        floor_mul(np.zeros(1, dtype=np.int64), Fraction(1, 2))


@given(st.lists(numerators, min_size=1, max_size=20), denominators)
@example(EDGES, 1)
@example(EDGES, 2)
@example(EDGES, INT64_MAX)
@example([-5, -3, -1, 1, 3, 5], 2)  # ties both ways: -2 -2 0 0 2 2
def test_division_rounds_half_to_even(values: list[int], denominator: int) -> None:
    expected = [round(Fraction(value, denominator)) for value in values]  # Python rounds fractions half to even

    assert round_half_even_div(np.array(values, dtype=np.int64), denominator).tolist() == expected
    assert [round_half_even_div(value, denominator) for value in values] == expected


@given(st.integers(), st.integers(min_value=1))
def test_integer_division_has_no_upper_bound(numerator: int, denominator: int) -> None:
    assert round_half_even_div(numerator << 80, denominator << 70) == round(
        Fraction(numerator << 80, denominator << 70)
    )


def test_division_keeps_the_shape() -> None:
    assert round_half_even_div(np.zeros((2, 0, 3), dtype=np.int64), 5).shape == (2, 0, 3)
    assert round_half_even_div(np.array(7, dtype=np.int64), 2).shape == ()


@given(st.lists(numerators, max_size=20), st.integers(0, INT64_MAX))
@example(EDGES, INT64_MAX)
@example(EDGES, 0)
def test_saturation_clips_and_counts(values: list[int], limit: int) -> None:
    clipped, outside = saturate(np.array(values, dtype=np.int64), limit)

    assert clipped.tolist() == [max(-limit, min(limit, value)) for value in values]
    assert outside == sum(abs(value) > limit for value in values)


@given(st.lists(st.tuples(uint32s, st.one_of(uint32s, st.integers(0, (1 << 64) - 1))), max_size=20))
def test_saturating_addition(pairs: list[tuple[int, int]]) -> None:
    left = np.array([a for a, _ in pairs], dtype=np.uint32)
    right = np.array([b for _, b in pairs], dtype=np.uint64)

    total = add_saturating(left, right)

    assert total.dtype == np.uint32
    assert total.tolist() == [min(a + b, UINT32_MAX) for a, b in pairs]


@given(
    st.lists(uint32s, max_size=20),
    st.one_of(
        st.fractions(0, 1, max_denominator=10**9),
        st.fractions(0, 1),  # denominators beyond uint64 too
        st.fractions(0, (1 << 32) - 1),
        st.sampled_from([Fraction(UINT32_MAX), Fraction(UINT32_MAX, (1 << 64) - 1), Fraction(1 << 32, (1 << 32) + 1)]),
    ),
)
@example([UINT32_MAX], Fraction(9, 10))
def test_floor_mul_is_exact(values: list[int], factor: Fraction) -> None:
    scaled = floor_mul(np.array(values, dtype=np.uint32), factor)

    assert scaled.dtype == np.uint64
    assert scaled.tolist() == [math.floor(value * factor) for value in values]


# --- scaling by a factor up to 1, half to even ---

betas = st.one_of(
    st.fractions(0, 1, max_denominator=(1 << 31) - 1),
    st.sampled_from([Fraction(0), Fraction(1), Fraction(1, 2), Fraction((1 << 31) - 2, (1 << 31) - 1)]),
)
EDGE = (1 << 62) - 1


@pytest.mark.parametrize("factor", [Fraction(-1, 2), Fraction(3, 2), Fraction(1, 1 << 31)])
def test_mul_half_even_refuses_factors_out_of_bounds(factor: Fraction) -> None:
    with pytest.raises(ArithmeticRefused, match="Cannot scale by"):
        mul_half_even(np.ones(1, np.int64), factor)


def test_mul_half_even_refuses_other_dtypes() -> None:
    with pytest.raises(ArithmeticRefused, match="int32"):
        mul_half_even(np.ones(1, np.int32), Fraction(1, 2))  # type: ignore[arg-type]


@given(
    st.lists(st.one_of(st.integers(-EDGE, EDGE), st.integers(-9, 9), st.sampled_from([-EDGE, EDGE])), max_size=9), betas
)
@example([-3, -1, 1, 3, 5], Fraction(1, 2))
@example([-EDGE, EDGE], Fraction((1 << 31) - 2, (1 << 31) - 1))
def test_mul_half_even_rounds_the_exact_product_once(values: list[int], factor: Fraction) -> None:
    found = mul_half_even(np.array(values, np.int64), factor)

    assert found.dtype == np.int64
    assert found.tolist() == [round(value * factor) for value in values]
    assert all(abs(new) <= abs(old) for new, old in zip(found.tolist(), values, strict=True))
