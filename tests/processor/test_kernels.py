"""The hot loops: compiled and plain code give the same integers, which are those of plain Python."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor import compiled, kernels

LIMIT = (1 << 24) - 1


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 40), st.sampled_from(["int8", "int16", "int32"]))
def test_weighted_sum_is_that_of_plain_integers(seed: int, members: int, size: int, dtype: str) -> None:
    random = np.random.default_rng(seed)
    most = min(np.iinfo(dtype).max, (1 << 22) - 1)
    rows = random.integers(-most, most + 1, (members, size)).astype(dtype)
    factors = [int(factor) for factor in random.integers(0, (1 << 62) // (members * most), members)]

    expected = [sum(f * int(q) for f, q in zip(factors, column, strict=True)) for column in rows.T]

    assert kernels.weighted_sum(rows, factors).tolist() == expected
    assert compiled.weighted_sum(rows, np.array(factors)).tolist() == expected


def numerators_for(denominator: int) -> st.SearchStrategy[int]:
    most = min(1 << 52, denominator << 31)
    near = st.integers(-(1 << 31), 1 << 31).flatmap(
        lambda quotient: st.sampled_from([-1, 0, 1]).map(
            lambda offset: max(-most, min(most, quotient * denominator + denominator // 2 + offset))
        )
    )
    return st.one_of(st.integers(-most, most), near, st.just(most), st.just(-most))


@st.composite
def divisions(draw: st.DrawFn) -> tuple[int, list[int]]:
    denominator = draw(st.one_of(st.integers(1, 100), st.integers(1, 1 << 52), st.just(1 << 52)))
    return denominator, draw(st.lists(numerators_for(denominator), min_size=1, max_size=20))


@settings(max_examples=500)
@given(divisions(), st.integers(-LIMIT, LIMIT))
def test_move_rounds_once_half_to_even_and_counts_what_leaves_the_range(case: tuple[int, list[int]], q: int) -> None:
    denominator, numerators = case
    before = np.full(len(numerators), q, np.int32)
    exact = [q + round(Fraction(n, denominator)) for n in numerators]
    clipped = [max(-LIMIT, min(LIMIT, value)) for value in exact]
    outside = sum(value != short for value, short in zip(exact, clipped, strict=True))

    for move in (kernels.move, compiled.move):
        after, count = move(before, np.array(numerators, np.int64), denominator, LIMIT)

        assert (after.tolist(), count) == (clipped, outside)


@pytest.mark.parametrize("sign", [1, -1])
def test_numerators_beyond_what_floats_hold_are_divided_exactly(sign: int) -> None:
    size = kernels.COMPILED_FROM
    numerators = np.full(size, sign * ((1 << 62) + 1), np.int64)
    before = np.zeros(size, np.int32)

    after, outside = kernels.move(before, numerators, 1 << 40, LIMIT)

    assert set(after.tolist()) == {sign * (1 << 22)}
    assert outside == 0


def test_large_blocks_give_what_small_ones_give(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    size = kernels.COMPILED_FROM
    rows = random.integers(-32767, 32768, (3, size), dtype=np.int16)
    before = random.integers(-LIMIT, LIMIT + 1, size, dtype=np.int32)
    fast_sum = kernels.weighted_sum(rows, [5, 0, 1 << 20])
    fast, fast_outside = kernels.move(before, fast_sum, 12_345, LIMIT)

    monkeypatch.setattr(kernels, "compiled", lambda: None)
    plain_sum = kernels.weighted_sum(rows, [5, 0, 1 << 20])
    plain, plain_outside = kernels.move(before, plain_sum, 12_345, LIMIT)

    assert np.array_equal(fast_sum, plain_sum)
    assert np.array_equal(fast, plain)
    assert fast_outside == plain_outside > 0


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 40), st.sampled_from(["int8", "int16", "int32"]))
def test_products_with_the_change_are_those_of_plain_integers(seed: int, members: int, size: int, dtype: str) -> None:
    random = np.random.default_rng(seed)
    most = min(np.iinfo(dtype).max, (1 << 22) - 1)
    rows = random.integers(-most, most + 1, (members, size)).astype(dtype)
    change = random.integers(-(1 << 25) + 1, 1 << 25, size, dtype=np.int32)
    dots = [sum(int(q) * int(c) for q, c in zip(row, change, strict=True)) for row in rows]
    squares = [sum(int(q) ** 2 for q in row) for row in rows]

    for products in (kernels.change_products, compiled.change_products):
        found = products(rows, change)

        assert [values.tolist() for values in found] == [dots, squares]


def test_the_largest_products_of_the_widest_piece_do_not_overflow() -> None:
    size = 1 << 16
    rows = np.full((1, size), (1 << 22) - 1, np.int32)
    change = np.full(size, 1 - (1 << 25), np.int32)

    for products in (kernels.change_products, compiled.change_products):
        dots, squares = products(rows, change)

        assert int(dots[0]) == size * ((1 << 22) - 1) * (1 - (1 << 25))
        assert int(squares[0]) == size * ((1 << 22) - 1) ** 2
