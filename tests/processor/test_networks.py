"""Comparator networks: what pruning may not lose, then equality with sorting, for every dtype and on every path."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from processor import compiled_networks, networks
from processor.networks import BOTH, sorted_rows, sorting, trimmed_sum, trimming
from tests.processor.reference_robust import sorts_everything

EXTREMES = {"int8": (-127, 127), "int16": (-32_767, 32_767), "int32": (-(2**31), 2**31 - 1), "uint32": (0, 2**32 - 1)}
PATHS = ["numpy", "compiled", "selected"]


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which of the three ways does the work, whatever the size; small pieces, so that there are several."""
    monkeypatch.setattr(networks, "COMPILED_FROM", 0 if request.param == "compiled" else 1 << 62)
    monkeypatch.setattr(networks, "COMPILED_BYTES", 1)
    monkeypatch.setattr(networks, "NUMPY_BYTES", 1)
    if request.param == "selected":
        monkeypatch.setattr(networks, "MOST_WIRES", {True: 0, False: 0})
    return str(request.param)


def draw_rows(seed: int, members: int, size: int, dtype: str, ties: bool) -> NDArray[np.integer]:
    random, (low, high) = np.random.default_rng(seed), EXTREMES[dtype]
    rows = random.integers(low, high, (members, size), dtype=dtype, endpoint=True)
    few = random.choice(np.array([low, low + 1, 0, high - 1, high], dtype), (members, size))
    return few if ties else rows


# --- the networks ---


@pytest.mark.parametrize("wires", range(1, 13))
def test_the_sorting_network_sorts(wires: int) -> None:
    assert sorts_everything(wires, [(int(i), int(j)) for i, j, _ in sorting(wires)])


@pytest.mark.parametrize(
    ("wires", "trim", "most"), [(16, 7, 52), (16, 3, 51), (64, 31, 444), (16, 1, 22), (16, 0, 0), (3, 1, 3), (1, 0, 0)]
)
def test_pruning_leaves_what_is_needed_and_no_more(wires: int, trim: int, most: int) -> None:
    network = trimming(wires, trim)

    assert len(network) <= most
    assert len(network) < len(sorting(wires)) or wires in {1, 3}


def test_halves_of_comparators_are_pruned() -> None:
    assert sum(reads != BOTH for _, _, reads in trimming(16, 7).tolist()) >= 10


def test_networks_are_shared_and_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        trimming(5, 2)[0, 0] = 3


@pytest.mark.parametrize("wires", range(1, 11))
def test_trimming_keeps_the_right_zeros_and_ones(wires: int) -> None:
    """The zero-one principle holds for selection too: a threshold at every value turns it into zeros and ones."""
    columns = (np.arange(1 << wires)[None, :] >> np.arange(wires)[:, None] & 1).astype(np.int8)
    for trim in range((wires + 1) // 2):
        kept = np.sort(columns, axis=0)[trim : wires - trim]
        assert np.array_equal(trimmed_sum(columns, trim), kept.sum(axis=0, dtype=np.int64))


# --- what they are for ---


@settings(max_examples=25, deadline=None)
@given(
    data=st.data(),
    members=st.integers(1, 20),
    size=st.integers(1, 200),
    dtype=st.sampled_from(sorted(EXTREMES)),
    ties=st.booleans(),
)
def test_sums_and_sorted_rows_are_those_of_sorting(
    data: st.DataObject, members: int, size: int, dtype: str, ties: bool
) -> None:
    trim = data.draw(st.integers(0, (members - 1) // 2))
    rows = draw_rows(data.draw(st.integers(0, 2**32)), members, size, dtype, ties)
    before, ordered = rows.copy(), np.sort(rows, axis=0)
    for way in PATHS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(networks, "COMPILED_FROM", 0 if way == "compiled" else 1 << 62)
            patch.setattr(networks, "COMPILED_BYTES", 1)
            patch.setattr(networks, "NUMPY_BYTES", 1)
            if way == "selected":
                patch.setattr(networks, "MOST_WIRES", {True: 0, False: 0})

            total, columns = trimmed_sum(rows, trim), sorted_rows(rows)

        assert total.dtype == np.int64
        assert np.array_equal(total, ordered[trim : members - trim].sum(axis=0, dtype=np.int64)), way
        assert np.array_equal(columns, ordered), way
        assert columns.dtype == rows.dtype
    assert np.array_equal(rows, before)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("shifts", [(0, 0, 0, 0), (5, 5, 5, 5), (7, 0, 3, 1), (0, 0, 0, 7)])
def test_shifts_count(path: str, dtype: str, shifts: tuple[int, ...]) -> None:
    rows = draw_rows(5, 4, 150, dtype, ties=False)
    real = np.array(rows, dtype=np.int64) << np.array(shifts)[:, None]

    assert np.array_equal(trimmed_sum(rows, 1, shifts), np.sort(real, axis=0)[1:3].sum(axis=0)), path
    assert np.array_equal(sorted_rows(rows, shifts), np.sort(real, axis=0)), path


def test_the_largest_sums_fit(path: str) -> None:
    top = np.full((300, 70), 2**32 - 1, np.uint32)
    assert trimmed_sum(top, 0).tolist() == [300 * (2**32 - 1)] * 70, path
    deep = np.full((300, 70), -32_767, np.int16)
    assert trimmed_sum(deep, 1, (7,) * 300).tolist() == [298 * (-32_767 << 7)] * 70, path


def test_sums_of_many_int16_rows_fit_in_the_compiled_accumulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "COMPILED_FROM", 0)
    rows = np.full((networks.MOST_WIRES[True], 3), -32_768, np.int16)

    assert trimmed_sum(rows, 1).tolist() == [(len(rows) - 2) * -32_768] * 3


def test_small_merges_do_not_load_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(networks, "compiled", fail)

    assert trimmed_sum(np.zeros((16, 1000), np.int16), 7).shape == (1000,)


def test_without_a_compiler_everything_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "compiled", lambda name: None)
    rows = draw_rows(1, 5, networks.COMPILED_FROM // 4, "int16", ties=False)

    assert np.array_equal(trimmed_sum(rows, 2), np.sort(rows, axis=0)[2])


def test_the_compiled_code_is_there() -> None:
    assert networks.compiled("compiled_networks") is compiled_networks
