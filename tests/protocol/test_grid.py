"""The grid: exact both ways, and a refusal wherever it would not be."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from protocol.errors import InvalidInput, NotCanonical, NotFinite, OutsideWindow
from protocol.grid import MANTISSA_LIMIT, MAX_EXPONENT, MIN_EXPONENT, grid_exponent, snap, to_float32, unsnap

exponents = st.sampled_from([MIN_EXPONENT, -24, -20, 0, MAX_EXPONENT]) | st.integers(MIN_EXPONENT, MAX_EXPONENT)
mantissas = hnp.arrays(
    np.int32,
    hnp.array_shapes(min_dims=0, max_dims=2, max_side=4),
    elements=st.sampled_from([1 - MANTISSA_LIMIT, -1, 0, 1, MANTISSA_LIMIT - 1])
    | st.integers(1 - MANTISSA_LIMIT, MANTISSA_LIMIT - 1),
)
weights = hnp.arrays(
    np.float32,
    st.integers(1, 5),
    elements=st.floats(-(2.0**100), 2.0**100, width=32) | st.floats(-4, 4, width=32),
)


def floats(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_refuses_what_is_not_finite(value: float) -> None:
    for refuse in (
        lambda: grid_exponent(floats(0, value), 1),
        lambda: snap(floats(value), 0),
        lambda: unsnap(floats(value), 0),
    ):
        with pytest.raises(NotFinite):
            refuse()


@pytest.mark.parametrize("exponent", [MIN_EXPONENT - 1, MAX_EXPONENT + 1, 10**9, -(10**9)])
def test_refuses_exponents_that_are_no_grid(exponent: int) -> None:
    for refuse in (
        lambda: snap(floats(0), exponent),
        lambda: unsnap(floats(0), exponent),
        lambda: to_float32(np.zeros(1, np.int32), exponent),
    ):
        with pytest.raises(OutsideWindow):
            refuse()


@pytest.mark.parametrize("bits", [0, -1, 17])
def test_refuses_other_headroom(bits: int) -> None:
    with pytest.raises(InvalidInput):
        grid_exponent(floats(1), bits)


def test_refuses_weights_too_large_for_any_grid() -> None:
    with pytest.raises(OutsideWindow):
        grid_exponent(floats(3e38), 1)


@pytest.mark.parametrize("value", [MANTISSA_LIMIT, -MANTISSA_LIMIT, MANTISSA_LIMIT - 0.5, 3e38])
def test_snap_refuses_values_outside(value: float) -> None:
    with pytest.raises(OutsideWindow):
        snap(floats(1, value), 0)


@pytest.mark.parametrize("value", [0.5, 2**-149, 1.5, MANTISSA_LIMIT, -MANTISSA_LIMIT, 3e38, 2**23 - 0.5])
def test_unsnap_refuses_values_off_the_grid(value: float) -> None:
    with pytest.raises(OutsideWindow):
        unsnap(floats(1, value), 0)


def test_unsnap_refuses_minus_zero() -> None:
    with pytest.raises(NotCanonical):
        unsnap(floats(1, -0.0), 0)


@pytest.mark.parametrize(
    ("largest", "headroom", "exponent"),
    [
        (0.0, 1, -25),  # a bias of zeros has the range of 1/4
        (0.25, 1, -25),
        (np.nextafter(np.float32(0.25), np.float32(1)), 1, -24),
        (-0.5, 1, -24),
        (1.0, 1, -23),
        (np.nextafter(np.float32(1), np.float32(0)), 1, -23),
        (np.nextafter(np.float32(1), np.float32(2)), 1, -22),
        (-3.0, 4, -18),
        (2.0**100, 1, 77),
        (2.0**127, 1, 104),
    ],
)
def test_grid_exponent(largest: float, headroom: int, exponent: int) -> None:
    assert grid_exponent(floats(0.1, largest, -0.125), headroom) == exponent


def test_snap_rounds_half_to_even() -> None:
    assert snap(floats(0.5, 1.5, 2.5, -0.5, -1.5, 0.75, -0.0), 0).tolist() == [0, 2, 2, 0, -2, 1, 0]


@given(weights, st.integers(1, 16))
def test_grid_exponent_is_the_formula_and_leaves_the_headroom(values: NDArray[np.float32], bits: int) -> None:
    largest = max([abs(Fraction(float(value))) for value in values] + [Fraction(1, 4)])
    ceil_log2 = next(power for power in range(-2, 129) if largest <= Fraction(2) ** power)
    exponent = grid_exponent(values, bits) if ceil_log2 + bits - 24 <= MAX_EXPONENT else None
    if exponent is not None:
        assert exponent == ceil_log2 + bits - 24
        assert np.abs(snap(values, exponent)).max() <= MANTISSA_LIMIT >> bits


@given(mantissas, exponents)
@example(np.array(MANTISSA_LIMIT - 1, np.int32), MAX_EXPONENT)
@example(np.array(1, np.int32), MIN_EXPONENT)
def test_float32_is_exact_both_ways(found: NDArray[np.int32], exponent: int) -> None:
    values = to_float32(found, exponent)
    assert values.dtype == np.float32
    assert values.shape == found.shape
    for value, mantissa in zip(values.flat, found.flat, strict=True):
        assert Fraction(float(value)) == int(mantissa) * Fraction(2) ** exponent
    assert not np.signbit(values[values == 0]).any()
    np.testing.assert_array_equal(unsnap(values, exponent), found)
    np.testing.assert_array_equal(snap(values, exponent), found)


@given(weights, st.integers(-30, 20))
def test_snap_is_the_nearest_grid_point(values: NDArray[np.float32], exponent: int) -> None:
    exact = [Fraction(float(value)) / Fraction(2) ** exponent for value in values]
    if max(abs(round(value)) for value in exact) >= MANTISSA_LIMIT:
        with pytest.raises(OutsideWindow):
            snap(values, exponent)
    else:
        assert snap(values, exponent).tolist() == [round(value) for value in exact]  # Python rounds half to even


@given(hnp.arrays(np.uint32, 3), exponents)
def test_unsnap_takes_exactly_what_to_float32_makes(bits: NDArray[np.uint32], exponent: int) -> None:
    values = bits.view(np.float32)
    try:
        found = unsnap(values, exponent)
    except (NotFinite, NotCanonical, OutsideWindow):
        return
    assert to_float32(found, exponent).tobytes() == values.tobytes()
