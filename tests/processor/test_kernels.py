"""The hot loops: compiled and plain code give the same integers, which are those of plain Python."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor import compiled, kernels

LIMIT = (1 << 24) - 1


def each_way() -> Iterator[str]:
    """Run the body of a loop with compiled code whatever the size, then without."""
    for way, size in (("compiled", 0), ("numpy", 1 << 60)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kernels, "COMPILED_FROM", size)
            patch.setattr(kernels, "PIECE", 16)  # several pieces, the last one shorter
            yield way


# Sums of factors about those from which on int32 no longer holds the sums, and of such as need 64 bits themselves.
TOTALS = {"int8": (1 << 24, 1 << 54), "int16": (1 << 16, 1 << 46), "int32": (1 << 9, 1 << 39)}


@settings(deadline=None)
@given(st.data(), st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 40), st.sampled_from(sorted(TOTALS)))
def test_weighted_sum_is_that_of_plain_integers(
    data: st.DataObject, seed: int, members: int, size: int, dtype: str
) -> None:
    random, most = np.random.default_rng(seed), min(np.iinfo(dtype).max, (1 << 22) - 1)
    rows = random.integers(-most - 1, most + 1, (members, size)).astype(dtype)
    total = data.draw(st.sampled_from([1, 3, *TOTALS[dtype]]).flatmap(lambda top: st.integers(top // 2, 2 * top)))
    factors = [int(factor) for factor in random.multinomial(total, random.dirichlet([0.3] * members))]

    expected = [sum(f * int(q) for f, q in zip(factors, column, strict=True)) for column in rows.T]

    for way in each_way():
        assert kernels.weighted_sum(rows, factors).tolist() == expected, way


@pytest.mark.parametrize("total", [(1 << 16) - 1, (1 << 16) + 1, (1 << 31) - 1, (1 << 31) + 16])
@pytest.mark.parametrize("members", [1, 3, 8, 17])
def test_sums_at_the_edges_of_32_bits_are_whole(members: int, total: int) -> None:
    """Beside -2^15 times 2^16, beyond which 32 bits do not hold sums of int16, and beside 2^31, the first factor of 64 bits."""
    rows = np.full((members, 33), -(1 << 15), np.int16)
    factors = [1] * (members - 1) + [total - members + 1]  # 1 is all that several have in common

    for way in each_way():
        assert kernels.weighted_sum(rows, factors).tolist() == [-total << 15] * 33, way


def test_what_all_factors_have_in_common_counts() -> None:
    rows = np.full((9, 33), -(1 << 15), np.int16)
    for common in (1, 6, (1 << 40) + 1):
        for way in each_way():
            assert (
                kernels.weighted_sum(rows, [2 * common, 0] + [3 * common] * 7).tolist() == [-(23 * common) << 15] * 33
            ), way


def test_rows_that_do_not_count_are_not_read() -> None:
    rows = np.ones((20, 40), np.int16)
    for way in each_way():
        assert kernels.weighted_sum(rows, [0] * 20).tolist() == [0] * 40, way
        assert kernels.weighted_sum(rows, [0, 5] * 10).tolist() == [50] * 40, way


def numerators_for(denominator: int) -> st.SearchStrategy[int]:
    most = kernels.inverse_of(denominator)[2]
    quotients = st.one_of(st.integers(-(1 << 31), 1 << 31), st.integers(-most // denominator, most // denominator))
    near = quotients.flatmap(
        lambda quotient: st.sampled_from([-1, 0, 1]).map(
            lambda offset: max(-most, min(most, quotient * denominator + denominator // 2 + offset))
        )
    )
    return st.one_of(near, st.integers(-most, most), st.sampled_from([-most - 1, -most, most, most + 1]))


@st.composite
def divisions(draw: st.DrawFn) -> tuple[int, list[int]]:
    powers = st.integers(0, 52).map(lambda bits: 1 << bits)
    beside = powers.map(lambda power: max(1, power - 1))
    denominator = draw(st.one_of(st.integers(1, 100), st.integers(1, 1 << 52), powers, beside))
    return denominator, draw(st.lists(numerators_for(denominator), min_size=1, max_size=20))


@settings(max_examples=500, deadline=None)
@given(divisions(), st.integers(-LIMIT, LIMIT))
def test_move_rounds_once_half_to_even_and_counts_what_leaves_the_range(case: tuple[int, list[int]], q: int) -> None:
    denominator, numerators = case
    before = np.full(len(numerators), q, np.int32)
    exact = [q + round(Fraction(n, denominator)) for n in numerators]
    clipped = [max(-LIMIT, min(LIMIT, value)) for value in exact]
    outside = sum(value != short for value, short in zip(exact, clipped, strict=True))

    for way in each_way():
        room = np.empty(len(numerators), np.int32)
        for out in (None, room):
            after, count = kernels.move(before, np.array(numerators, np.int64), denominator, LIMIT, out)

            assert (after.tolist(), count) == (clipped, outside), way
        assert after is room


@pytest.mark.parametrize("denominator", [3, 98, 48, 49 << 21, (1 << 26) - 2, 10**14 - 2])
def test_every_tie_goes_to_the_even_side_and_nothing_beside_it(denominator: int) -> None:
    """Where the inverse is inexact, ties are told from their neighbours as far out as the bound on numerators allows."""
    most = kernels.inverse_of(denominator)[2] // denominator - 1
    quotients = np.unique(np.linspace(-most, most, 5000).astype(np.int64))
    half = denominator // 2
    for offset in (-1, 0, 1) if denominator % 2 == 0 else (0, 1):
        numerators = quotients * denominator + half + offset
        expected = [
            max(-(1 << 30) + 1, min((1 << 30) - 1, round(Fraction(n, denominator)))) for n in numerators.tolist()
        ]
        for way in each_way():
            after, _ = kernels.move(np.zeros(len(numerators), np.int32), numerators, denominator, (1 << 30) - 1)
            assert after.tolist() == expected, way


def test_bounds_of_numerators_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A numerator beyond what is proved goes to whole numbers; one that is not stays with floats."""
    exact: list[int] = []
    divide = kernels.round_half_even_div
    monkeypatch.setattr(kernels, "COMPILED_FROM", 0)
    monkeypatch.setattr(kernels, "round_half_even_div", lambda n, d: (exact.append(int(n[0])), divide(n, d))[1])
    for denominator, most in ((3, 1 << 48), (4, 1 << 52)):
        for numerator in (most - 1, -most, most, -most - 1):
            kernels.move(np.zeros(1, np.int32), np.array([numerator]), denominator, LIMIT)

    assert exact == [1 << 48, -(1 << 48) - 1, 1 << 52, -(1 << 52) - 1]


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
