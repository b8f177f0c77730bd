"""The loops over a grid: compiled and plain code do the same to the bit, and refuse the same."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from protocol import compiled_grid, grid
from protocol.errors import ArtifactRefused
from protocol.grid import (
    MANTISSA_LIMIT,
    MAX_EXPONENT,
    MIN_EXPONENT,
    all_inside,
    to_float32,
    to_float32_into,
    unsnap,
    unsnap_in_place,
)

LAST = MANTISSA_LIMIT - 1
FLOAT_EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, LAST, -LAST, LAST + 1.0, -LAST - 1.0, 2.0**31, -(2.0**31), 2.0**32, 3e38]
INTEGER_EDGES = [0, 1, -1, LAST, -LAST, LAST + 1, -LAST - 1, (1 << 31) - 1, -(1 << 31), 1 << 30, -(1 << 30)]

exponents = st.sampled_from([MIN_EXPONENT, -24, 0, MAX_EXPONENT]) | st.integers(MIN_EXPONENT, MAX_EXPONENT)
raw = st.integers(0, (1 << 32) - 1)
edges = st.sampled_from([*np.array([*FLOAT_EDGES, np.nan, np.inf], np.float32).view(np.uint32).tolist(), 1, 0x7F_FFFF])


def each_way() -> Iterator[str]:
    """Run the body of a loop with compiled code, then without."""
    for way, loops in (("compiled", compiled_grid), ("numpy", None)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(grid, "_compiled", lambda _, loops=loops: loops)
            patch.setattr(grid, "_IN_CACHE", 4)
            yield way


@settings(deadline=None)
@given(hnp.arrays(np.uint32, st.integers(0, 40), elements=raw | edges), exponents)
@example(np.array([0x8000_0000], np.uint32), 0)
@example(np.array([0x7FC0_0000], np.uint32), MIN_EXPONENT)
def test_what_unsnap_refuses_is_not_done_in_place(bits: NDArray[np.uint32], exponent: int) -> None:
    try:
        expected = unsnap(bits.view(np.float32), exponent)
    except ArtifactRefused:
        expected = None
    for way in each_way():
        found = bits.view(np.int32).copy()
        assert unsnap_in_place(found, exponent) == (expected is not None), way
        assert expected is None or np.array_equal(found, expected), way


@settings(deadline=None)
@given(hnp.arrays(np.int32, st.integers(0, 40), elements=st.integers(-LAST, LAST)), exponents, st.integers(0, 3))
@example(np.arange(-20, 20, dtype=np.int32), -3, 0)
def test_floats_are_those_of_one_product_each(found: NDArray[np.int32], exponent: int, edge: int) -> None:
    found[:edge] = [LAST, -LAST, 0][: found.size][:edge]
    found.flags.writeable = False
    for way in each_way():
        out = np.full(found.size, np.nan, np.float32)
        to_float32_into(found, exponent, out)
        assert np.array_equal(out.view(np.uint32), to_float32(found, exponent).view(np.uint32)), way
        assert [float(value) for value in out] == [value * 2.0**exponent for value in found.tolist()], way
        assert unsnap_in_place(out.view(np.int32), exponent), way
        assert np.array_equal(out.view(np.int32), found), way


@pytest.mark.parametrize("at", [0, 1, 7, 8, 31, 32, 36])
@pytest.mark.parametrize("bad", [0.5, -0.0, np.nan, np.inf, LAST + 1.0, -LAST - 1.0, 2.0**31, 3e38, 1e-45])
def test_one_bad_value_is_seen_wherever_it_stands(at: int, bad: float) -> None:
    values = np.arange(37, dtype=np.float32)
    for way in each_way():
        good, found = values.copy(), values.copy()
        found[at] = bad
        assert unsnap_in_place(good.view(np.int32), 0), way
        assert not unsnap_in_place(found.view(np.int32), 0), way


@pytest.mark.parametrize("value", INTEGER_EDGES)
@pytest.mark.parametrize("at", [0, 8, 35])
def test_a_mantissa_outside_is_seen_wherever_it_stands(value: int, at: int) -> None:
    found = np.zeros(36, np.int32)
    found[at] = value
    for way in each_way():
        assert all_inside(found.reshape(4, 9)) == (abs(value) < MANTISSA_LIMIT), way
        assert all_inside(np.asfortranarray(found.reshape(4, 9))) == (abs(value) < MANTISSA_LIMIT), way
        assert all_inside(found[at : at + 1].reshape(())) == (abs(value) < MANTISSA_LIMIT), way


def test_floats_of_another_byte_order_are_made_too() -> None:
    found = np.arange(-5, 5, dtype=np.int32)
    for way in each_way():
        out = np.zeros(10, np.dtype(np.float32).newbyteorder())
        to_float32_into(found, -1, out)
        assert out.tolist() == [value / 2 for value in range(-5, 5)], way
