"""Roots of arrays are those of math.isqrt, for every integer that they take."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.isqrt import LARGEST, isqrt
from protocol.errors import ArithmeticRefused


@pytest.mark.parametrize("value", [-1, LARGEST, -(1 << 63)])
def test_refuses_values_out_of_its_bounds(value: int) -> None:
    with pytest.raises(ArithmeticRefused):
        isqrt(np.array([4, value]))


def test_refuses_other_dtypes() -> None:
    with pytest.raises(ArithmeticRefused, match="int32"):
        isqrt(np.ones(1, np.int32))  # type: ignore[arg-type]


@given(st.lists(st.integers(0, LARGEST - 1), max_size=20))
def test_is_math_isqrt(values: list[int]) -> None:
    found = isqrt(np.array(values, np.int64))
    assert found.tolist() == [math.isqrt(value) for value in values] and found.dtype == np.int64


@given(st.integers(1, (1 << 31) - 1), st.integers(-2, 2))
def test_is_math_isqrt_around_squares(root: int, off: int) -> None:
    value = max(0, min(root * root + off, LARGEST - 1))
    assert isqrt(np.array([value])).tolist() == [math.isqrt(value)]


def test_is_math_isqrt_around_many_squares_where_float64_rounds_up() -> None:
    """From 2^26.5 on float64 has no room for n^2 - 1: its root alone would be one too many."""
    roots = np.concatenate([np.arange(1, 3000), np.arange((1 << 31) - 3000, 1 << 31), np.arange(94906000, 94909000)])
    for off in (-1, 0, 1):
        values = roots * roots + off
        values = values[(values >= 0) & (values < LARGEST)]
        assert isqrt(values).tolist() == [math.isqrt(value) for value in values.tolist()]


def test_a_guess_that_is_one_off_either_way_is_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever last bit a machine's square root has."""
    real, values = np.sqrt, np.array([0, 1, 3, 4, 99, 100, (1 << 62) - 1])
    for off in (-0.9, 0.9):
        monkeypatch.setattr("processor.isqrt.np.sqrt", lambda x, off=off: np.maximum(real(x) + off, 0))
        assert isqrt(values).tolist() == [math.isqrt(value) for value in values.tolist()]
