"""Importances on one scale: what is refused, the rescaling to mean 1, and that no cut, run or store changes a number."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from processor import compiled_importance, importance
from processor.blocks import Member, spans
from processor.importance import EXPONENT_SPAN, rescale_tables, rescaled_rows, rescaling, scales
from processor.runs import Run, Threads, serial
from protocol.errors import EmptyImportance
from protocol.fixed_point import UINT32_MAX
from protocol.specs import TensorClass, TensorSpec, trainable_specs
from tests.processor import reference
from tests.processor.contents import stored
from tests.processor.factory import BIAS, KERNEL, TinyRound, member, tiny_terms

ONE = 1 << 16
RING = TinyRound(terms=tiny_terms(consolidate=True))
TRAINABLE = trainable_specs(RING.base.specs)


def flat(members: list[Member], width: int, run: Run = serial) -> list[list[int]]:
    """Each member's rescaled importance over all trainable coordinates, read in spans of ``width``."""
    pieces = spans(TRAINABLE, width)
    tables = rescaling(members, pieces, run)
    return [[int(v) for v in row] for row in np.concatenate([rescaled_rows(s, members, tables) for s in pieces], 1)]


def test_a_member_without_any_importance_is_refused() -> None:
    zeros = {KERNEL: np.zeros((4, 3), np.uint8), BIAS: np.zeros(3, np.uint8)}
    silent = member(RING.update("mallory", importance=zeros))

    with pytest.raises(EmptyImportance):
        rescaling([member(RING.update("alice")), silent], spans(TRAINABLE), serial)


def test_importance_that_is_zero_everywhere_is_refused() -> None:
    with pytest.raises(EmptyImportance):
        rescale_tables({KERNEL: 0, BIAS: 0}, {KERNEL: 5, BIAS: 9}, 15)


def test_the_mean_becomes_one() -> None:
    tables = rescale_tables({KERNEL: 12 * 40}, {KERNEL: -3}, 12)

    assert tables[KERNEL][40] == ONE
    assert tables[KERNEL][80] == 2 * ONE
    assert tables[KERNEL][0] == 0


@pytest.mark.parametrize("louder_by", [-900, -64, -1, 1, 64, 900])
def test_loudness_does_not_count(louder_by: int) -> None:
    sums, exponents = {KERNEL: 300, BIAS: 7}, {KERNEL: -30, BIAS: -22}
    louder = {name: exponent + louder_by for name, exponent in exponents.items()}

    quiet_tables = rescale_tables(sums, exponents, 15)
    loud_tables = rescale_tables(sums, louder, 15)

    assert all(np.array_equal(quiet_tables[name], loud_tables[name]) for name in sums)


def test_one_hot_importance_saturates() -> None:
    tables = rescale_tables({KERNEL: 1}, {KERNEL: 0}, 1 << 20)

    assert tables[KERNEL][1] == UINT32_MAX


@pytest.mark.parametrize(("below", "counts"), [(1, True), (64, True), (65, False), (2000, False)])
def test_exponents_far_below_the_largest_count_as_zero(below: int, counts: bool) -> None:
    """Within the span a whisper still takes its share of the whole, so the loud coordinate loses at least one unit."""
    tables = rescale_tables({KERNEL: 1, BIAS: 1}, {KERNEL: 0, BIAS: -below}, 15)

    assert tables[KERNEL][1] == math.floor(Fraction(15 * ONE) / (1 + (Fraction(1, 1 << below) if counts else 0)))
    assert (tables[KERNEL][1] == 15 * ONE) is not counts


def test_what_lies_beyond_the_span_would_round_to_zero_anyway() -> None:
    most = 255 * (Fraction(1 << 40) * ONE) / (1 << EXPONENT_SPAN + 1)  # u * N * 2^16 * 2^-65, T >= 1

    assert most < 1


def test_all_zero_tensors_do_not_set_the_scale() -> None:
    silent = rescale_tables({KERNEL: 9, BIAS: 0}, {KERNEL: -40, BIAS: 1000}, 15)

    assert np.array_equal(silent[KERNEL], rescale_tables({KERNEL: 9}, {KERNEL: 0}, 15)[KERNEL])
    assert not silent[BIAS].any()


# --- compiled ---


@given(st.lists(st.tuples(st.integers(1, 1 << 40), st.integers(0, 1 << 66)), min_size=1, max_size=5))
@example([(1, 1 << 16), (255, 1 << 32), (255, (1 << 32) - 1), (255, (1 << 32) + 1), (1, UINT32_MAX), (254, 255)])
def test_one_product_a_value_gives_what_its_table_says(fractions: list[tuple[int, int]]) -> None:
    """Of any fraction: floors next to it, values that saturate, and tables of zeros alone."""
    expected = [[min(u * top // bottom, UINT32_MAX) for u in range(256)] for bottom, top in fractions]
    values = np.tile(np.arange(256, dtype=np.uint8), (len(fractions), 1))

    found = compiled_importance.rescaled(values, scales(np.array(expected, np.uint32)))

    assert found.tolist() == expected


def test_sums_of_rows_are_whole() -> None:
    rows = np.full((2, 1 << 17), 255, np.uint8)
    rows[1] = np.arange(1 << 17) % 251
    assert compiled_importance.sums(rows).tolist() == [255 << 17, int(rows[1].astype(np.int64).sum())]


@pytest.mark.parametrize("compiled_from", [0, 1 << 60])
def test_rescaled_rows_and_sums_are_the_same_when_compiled(compiled_from: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "COMPILED_FROM", compiled_from)
    updates = [RING.update("alice", seed) for seed in range(3)]

    assert flat([member(update) for update in updates], 7) == [reference.rescaled(update) for update in updates]


# --- of members ---


@settings(max_examples=40)
@given(st.integers(1, 4), st.integers(1, 16), st.integers(0, 2**32), st.sampled_from([1, 4]))
def test_rescaled_rows_equal_exact_fractions(clients: int, width: int, seed: int, threads: int) -> None:
    updates = [RING.update("alice", seed + k) for k in range(clients)]

    assert flat([member(update) for update in updates], width, Threads(threads)) == [
        reference.rescaled(update) for update in updates
    ]


def test_importances_on_disk_give_the_same(tmp_path: Path) -> None:
    alice = RING.update("alice")

    assert flat([member(stored(alice, tmp_path))], 5) == flat([member(alice)], 15) == [reference.rescaled(alice)]


def test_sums_beyond_32_bits_do_not_wrap() -> None:
    """2^24 + 2^16 coordinates of 255 sum to more than 2^32: all of one value, each is the mean, 1.0."""
    specs = (TensorSpec(KERNEL, ((1 << 24) + (1 << 16),), TensorClass.TRAINABLE, -20),)
    loud = np.broadcast_to(np.uint8(255), specs[0].shape)
    alice = member(replace(RING.update("alice"), importance={KERNEL: loud}, importance_exponents={KERNEL: 3}))

    assert int(rescaling([alice], [*spans(specs, 1 << 25)], serial)[0][KERNEL][255]) == ONE
    assert int(rescaling([alice], [*spans(specs)], serial)[0][KERNEL][255]) == ONE
