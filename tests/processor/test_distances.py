"""Exact distances: bounds, equality with Python integers on every path, and what float32 makes of the same updates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core import config
from numpy.typing import NDArray

from processor import compiled_distances, compiled_products, distances, norm_bound
from processor.blocks import Block, Span
from processor.distances import MOST_COORDINATES, gram, products, squared_distances
from processor.krum import MultiKrum
from processor.norm_bound import Norms
from processor.rule import Measured
from protocol.errors import ArithmeticRefused
from protocol.grid import MIN_EXPONENT
from protocol.specs import TensorClass
from tests.processor.reference_robust import squared_distance
from tests.processor.robust_rounds import accepted

LARGEST = {"int8": 127, "int16": 32_767, "int32": (1 << 22) - 1}


def span(size: int, grid: int = -20) -> Span:
    return Span("00000.dense/kernel", TensorClass.TRAINABLE, grid, 0, size)


def whole_numbers(rows: NDArray[Any]) -> list[list[int]]:
    """rows @ rows.T in Python integers."""
    lists = rows.tolist()
    return [[sum(a * b for a, b in zip(one, other, strict=True)) for other in lists] for one in lists]


PATHS = ["numpy", "floats", "pairs"]


@contextmanager
def by(way: str) -> Iterator[None]:
    """Multiply in one of three ways, whatever the size: numpy's floats, compiled floats, and pairs of 16 bits."""
    if way == "pairs" and not compiled_products.is_usable():
        pytest.skip("this processor multiplies no 512 bits of pairs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distances, "COMPILED_FROM", 1 << 62 if way == "numpy" else 0)
        if way == "floats":
            patch.setattr(compiled_products, "is_usable", lambda: False)
        yield


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    with by(request.param):
        yield request.param


# --- bounds ---


def test_blocks_that_are_too_wide_are_refused() -> None:
    wide = np.zeros((2, MOST_COORDINATES + 1), np.int8)
    for measure in (gram, Norms().measure):
        with pytest.raises(ArithmeticRefused):
            measure(Block(span(wide.shape[1]), wide, (0, 0)))


@pytest.mark.parametrize("dtype", LARGEST)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_values_in_the_widest_block_are_exact(path: str, dtype: str, sign: int) -> None:
    """The odd square of an odd number: a rounded sum would miss its lowest bits."""
    top = LARGEST[dtype]
    rows = np.full((2, MOST_COORDINATES), top, dtype)
    rows[1] = sign * top
    shifts = {"int8": (15, 15), "int16": (7, 7), "int32": (0, 0)}[dtype]

    found = gram(Block(span(MOST_COORDINATES), rows, shifts)).total(-20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(norm_bound, "COMPILED_FROM", distances.COMPILED_FROM)
        norms = Norms().measure(Block(span(MOST_COORDINATES), rows, shifts)).total(-20)

    square = MOST_COORDINATES * (top << shifts[0]) ** 2
    assert found.tolist() == [[square, sign * square], [sign * square, square]], path
    assert norms.tolist() == [square, square]


def test_sums_that_float64_could_not_hold_are_not_left_to_it(path: str) -> None:
    """2^52 + odd numbers: at any width beyond `exact_width` the last bit would be lost."""
    random = np.random.default_rng(3)
    rows = (random.integers((1 << 22) - 9, 1 << 22, (3, 5000)) | 1).astype(np.int32)

    assert products(rows).tolist() == whole_numbers(rows), path


# --- equality ---


@settings(max_examples=30, deadline=None)
@given(st.data(), st.sampled_from(sorted(LARGEST)), st.integers(1, 9), st.integers(1, 700), st.integers(0, 2**32))
def test_products_are_exact(data: st.DataObject, dtype: str, members: int, size: int, seed: int) -> None:
    top = LARGEST[dtype]
    rows = np.random.default_rng(seed).integers(-top, top, (members, size), dtype=dtype, endpoint=True)
    if data.draw(st.booleans()):
        rows[members // 2] = rows[0]  # duplicates
    expected = whole_numbers(rows)
    for way in PATHS if compiled_products.is_usable() else PATHS[:2]:
        with by(way):
            assert products(rows).tolist() == expected, way


def test_grids_and_shifts_are_real_units() -> None:
    """Two tensors on different grids, members with different shifts: distances are those of the real numbers."""
    random = np.random.default_rng(0)
    blocks, reals = [], [[Fraction(0)] * 0 for _ in range(4)]
    for grid, shifts in ((-20, (0, 7, 3, 1)), (-126, (1, 0, 5, 7)), (104, (0, 0, 7, 2))):
        rows = random.integers(-32_767, 32_768, (4, 30)).astype(np.int16)
        blocks.append(Block(span(30, grid), rows, shifts))
        for real, row, shift in zip(reals, rows.tolist(), shifts, strict=True):
            real.extend(q * Fraction(2) ** (grid + shift) for q in row)

    found = squared_distances(reduce(add, map(gram, blocks)))

    unit = Fraction(4) ** MIN_EXPONENT
    assert found == [[squared_distance(a, b) / unit for b in reals] for a in reals]


def test_it_does_not_matter_how_blocks_are_cut(path: str) -> None:
    rows = np.random.default_rng(1).integers(-32_767, 32_768, (5, 3000)).astype(np.int16)
    shifts = (0, 1, 2, 7, 0)
    whole = gram(Block(span(3000), rows, shifts)).total(-20)

    for width in (1, 7, 299, 1024):
        cut = [Block(span(width), rows[:, at : at + width], shifts) for at in range(0, 3000, width)]
        assert (reduce(add, map(gram, cut)).total(-20) == whole).all(), path


def test_pairs_in_registers_of_many_pieces(path: str) -> None:
    """More coordinates than a piece of any path, and no multiple of a register; each row of one sign, so that sums grow."""
    rows = np.random.default_rng(4).integers(32_000, 32_768, (5, 9001)).astype(np.int16)
    rows[1::2] *= -1

    wide = rows.astype(np.int64)
    assert (products(rows) == wide @ wide.T).all(), path


def in_pairs() -> None:
    if not compiled_products.is_usable():
        pytest.skip("this processor multiplies no 512 bits of pairs")


@pytest.mark.parametrize("value", [4094, 4095, 4096, 5792, 5793, 8191, 8192, 11585, 11586, 32_767, -32_768])
def test_products_at_the_edges_of_32_bits_are_whole(value: int) -> None:
    """Every lane of every pair of rows as large as it gets, with pieces of small values before and after."""
    in_pairs()
    rows = np.ones((6, 3 * 2048 + 77), np.int16)
    rows[:, 2048:4096] = value
    rows[1::2, 2048:4096] = -max(value, -32_767)
    rows[2, 2048:4096:2] = 0
    wide = rows.astype(np.int64)

    assert (compiled_products.products(rows) == wide @ wide.T).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10), st.integers(1, 5000), st.floats(1, 15), st.integers(0, 2**32))
def test_products_of_all_sizes_of_values_are_whole(members: int, size: int, bits: float, seed: int) -> None:
    in_pairs()
    random = np.random.default_rng(seed)
    spread = 2**bits * random.choice([1 / 64, 1, 1], (members, (size + 999) // 1000)).repeat(1000, axis=1)[:, :size]
    rows = np.clip(np.rint(random.normal(0, 1, (members, size)) * spread), -32_768, 32_767).astype(np.int16)
    wide = rows.astype(np.int64)

    assert (compiled_products.products(rows) == wide @ wide.T).all()


@pytest.mark.parametrize(
    ("steps", "value", "whole"),
    [(64, 4000, 64), (64, 4095, 64), (64, 4096, 32), (64, 8191, 16), (64, 8192, 0), (1, 32_767, 1), (1, -32_768, 0)],
)
def test_lanes_take_as_many_pairs_as_fit_and_no_more(steps: int, value: int, whole: int) -> None:
    in_pairs()
    values = np.zeros((3, 32 * steps), np.int16)
    assert compiled_products._steps_at_once(values, steps) == steps

    values[1, 6::32], values[1, 7::32] = value, value  # one lane of one row

    assert compiled_products._steps_at_once(values, steps) == whole


@pytest.mark.parametrize("setting", ["CPU_NAME", "CPU_FEATURES"])
def test_no_instruction_is_taken_for_granted(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, setting, "generic")

    assert not compiled_products.is_usable()


def test_compiled_code_is_there_and_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert distances.compiled("compiled_distances") is compiled_distances
    rows = np.random.default_rng(2).integers(-9, 9, (6, distances.COMPILED_FROM // 6 + 1)).astype(np.int8)
    fast = products(rows)
    monkeypatch.setattr(distances, "compiled", lambda name: None)

    assert (products(rows) == fast).all()


def test_limbs_hold_what_int64_does_not() -> None:
    """Thousands of blocks of the largest measures there can be, negative ones too."""
    most = np.array([(1 << 62) - 1, -(1 << 62), -1, (1 << 32) - 1, 0])
    block = Measured.of(most, 3)

    assert reduce(add, [block] * 5000).total(1).tolist() == [5000 * 16 * value for value in most.tolist()]
    assert (block + Measured.of(most, -100)).total(-126).tolist() == [
        (value << 2 * 129) + (value << 2 * 26) for value in most.tolist()
    ]


# --- what float32 makes of it ---


def test_float32_distances_keep_an_attacker_that_exact_ones_drop() -> None:
    """Honest models lie within 1e-5 of each other, relative to the weights; mallory's lies ten times as far off.

    Gram-trick distances in float32, ||x||^2 + ||y||^2 - 2 <x, y> of whole models, lose more to rounding than they measure:
    multi-Krum that drops one of ten drops mallory hardly more often than by chance.
    """
    draws, honest, grid = 30, 9, -23
    missed = 0
    for seed in range(draws):
        random = np.random.default_rng(seed)
        base, steps = random.normal(0, 1, 20_000), random.normal(0, 1e-5 * 2.0**-grid, (honest + 1, 20_000))
        steps[honest] *= 10
        rows = np.rint(steps).astype(np.int16)

        models = (base + rows * 2.0**grid).astype(np.float32)
        squares = np.square(models).sum(axis=1)
        rounded = squares[:, None] + squares[None, :] - 2 * models @ models.T
        missed += _dropped(rounded.tolist()) != honest
        block = Block(span(rows.shape[1], grid), rows, (0,) * len(rows))
        assert _dropped(squared_distances(gram(block))) == honest
        assert MultiKrum(1, 0).plan(accepted(len(rows)), gram(block)).weights[honest] == 0

    assert missed > draws // 3


def _dropped(found: Sequence[Sequence[float]]) -> int:
    """Which of all updates multi-Krum against one hostile one leaves out, by these distances."""
    near = len(found) - 1 - 2
    return max(range(len(found)), key=lambda i: sum(sorted(d for j, d in enumerate(found[i]) if j != i)[:near]))
