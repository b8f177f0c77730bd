"""Consolidation: refusals, the two combinations, and equality with exact fractions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import permutations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor import compiled_networks, ewc, kernels, networks
from processor.blocks import Member
from processor.importance import scales
from processor.runs import Run, Threads, serial
from protocol.fixed_point import UINT32_MAX
from protocol.task import Consolidation
from protocol.update import Update
from tests.processor import reference
from tests.processor.contents import stored
from tests.processor.factory import BIAS, KERNEL, TinyRound, account, member, tiny_model, tiny_terms


def consolidating(**changes: Any) -> TinyRound:
    return TinyRound(terms=tiny_terms(consolidate=True), **changes)


def members(updates: Sequence[Update]) -> list[Member]:
    """The updates as those of a round, each by another client."""
    named = [replace(update, author=account(f"client {at}")) for at, update in enumerate(updates)]
    return [member(update) for update in named]


def combine(columns: list[list[int]], **rule: Any) -> list[int]:
    """Combine coordinates given as lists over the clients."""
    rows = np.array(columns, dtype=np.uint32).T.copy()
    return [int(value) for value in ewc.combine(rows, Consolidation(**rule))]


# --- refusals ---


@pytest.mark.parametrize(
    ("combine_by", "trim", "needed"), [("median", 3, 1), ("trimmed_mean", 0, 1), ("trimmed_mean", 2, 5)]
)
def test_updates_needed(combine_by: Literal["median", "trimmed_mean"], trim: int, needed: int) -> None:
    rule = Consolidation(combine=combine_by, trim=trim)
    ring = consolidating()
    posted = members([ring.update("alice", seed) for seed in range(needed)])

    assert ewc.updates_needed(rule) == needed
    assert ewc.consolidate(rule, ring.base, posted[:-1]) is None
    assert ewc.consolidate(rule, ring.base, posted) is not None


# --- combination ---


def test_median_of_an_odd_and_of_an_even_count() -> None:
    assert combine([[9, 1, 5], [0, 0, 7]], combine="median") == [5, 0]
    assert combine([[9, 1, 5, 4], [UINT32_MAX, UINT32_MAX - 1, UINT32_MAX, 0]], combine="median") == [
        4,  # floor of (4 + 5) / 2
        UINT32_MAX - 1,
    ]


def test_trimmed_mean_floors() -> None:
    assert combine([[100, 1, 2, 2, 0]], combine="trimmed_mean", trim=1) == [1]  # floor of 5 / 3
    assert combine([[UINT32_MAX] * 5], combine="trimmed_mean", trim=0) == [UINT32_MAX]


@given(st.lists(st.integers(0, UINT32_MAX), min_size=5, max_size=9), st.sampled_from(["median", "trimmed_mean"]))
def test_a_minority_stays_within_what_others_say(values: list[int], combine_by: str) -> None:
    honest = values[:-2]

    (combined,) = combine([values], combine=combine_by, trim=2)

    assert min(honest) <= combined <= max(honest)


# --- compiled ---


def by(compiled: bool, *arguments: Any) -> list[int]:
    """`ewc.renewed` with compiled code or without, whatever the size."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (ewc, networks, kernels):
            patch.setattr(module, "COMPILED_FROM", 0 if compiled else 1 << 60)
        found = ewc.renewed(*arguments)
    assert found.dtype == np.uint32
    return [int(value) for value in found]


@settings(max_examples=60, deadline=None)
@given(
    st.data(),
    st.integers(1, 20),
    st.integers(1, 700),
    st.sampled_from(["median", "trimmed_mean"]),
    st.fractions(0, 1, max_denominator=1 << 19),
    st.integers(0, 2**32),
)
def test_compiled_code_renews_as_whole_numbers_do(
    data: st.DataObject,
    clients: int,
    size: int,
    combine_by: Literal["median", "trimmed_mean"],
    decay: Fraction,
    seed: int,
) -> None:
    random = np.random.default_rng(seed)
    trim = data.draw(st.integers(0, (clients - 1) // 2))
    rule = Consolidation(decay=decay, combine=combine_by, trim=trim)
    factors = [Fraction(int(2 ** random.uniform(0, 33)), int(random.integers(1, 300))) for _ in range(clients)]
    tables = np.array([[min(int(u * f), UINT32_MAX) for u in range(256)] for f in factors], np.uint32)
    values = random.integers(0, 256, (clients, size), dtype=np.uint8)
    before = random.integers(0, 1 << 32, size, dtype=np.uint32)
    before[random.integers(0, 4, size) == 0] = UINT32_MAX
    arguments = values, tables, scales(tables), before, rule

    cut = rule.trim if combine_by == "trimmed_mean" else (clients - 1) // 2
    expected = []
    for column, old in zip(values.T, before.tolist(), strict=True):
        kept = sorted(int(table[u]) for table, u in zip(tables, column, strict=True))[cut : clients - cut]
        expected.append(min(int(old * decay) + sum(kept) // len(kept), UINT32_MAX))
    assert by(True, *arguments) == by(False, *arguments) == expected


@pytest.mark.parametrize("clients", [1, 3, 49, 2047])
@pytest.mark.parametrize(
    "decay", [Fraction(1), Fraction((1 << 18) - 1, 1 << 18), Fraction((1 << 18) - 2, (1 << 18) - 1)]
)
def test_the_largest_quotients_are_floored_right(clients: int, decay: Fraction) -> None:
    """Sums and products next to a multiple of what they are divided by, as large as there are."""
    before = np.array([UINT32_MAX - k for k in range(40)], np.uint32) // decay.denominator * decay.denominator
    before[::2] -= 1
    top = np.array([[min(u * UINT32_MAX // 255, UINT32_MAX) for u in range(256)]] * clients, np.uint32)
    values = np.full((clients, 40), 255, np.uint8)
    values[0, ::2] = 254
    values[:, ::3] = 0
    arguments = values, top, scales(top), before, Consolidation(decay=decay, combine="trimmed_mean")

    expected = [
        min(int(old * decay) + int(top[0][column].astype(np.int64).sum()) // clients, UINT32_MAX)
        for column, old in zip(values.T, before.tolist(), strict=True)
    ]
    assert by(True, *arguments) == by(False, *arguments) == expected


@pytest.mark.parametrize("divisor", [49, 98, 103, 107])
def test_multiples_of_a_divisor_are_not_floored_to_one_less(divisor: int) -> None:
    """1 / 49 is rounded down in float64, and 49 times that is below 1."""
    steps = np.arange(256)
    same = np.tile(steps.astype(np.uint8), (divisor, 1))
    tables = np.tile(steps.astype(np.uint32), (divisor, 1))
    rule = Consolidation(decay=Fraction(1, divisor), combine="trimmed_mean")
    for before in (0 * steps, divisor * steps):
        expected = (steps + before // divisor).tolist()
        assert by(True, same, tables, scales(tables), before.astype(np.uint32), rule) == expected


def test_compiled_code_is_there_and_takes_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ewc, "COMPILED_FROM", 0)
    assert ewc.compiled("compiled_networks") is compiled_networks
    monkeypatch.setattr(compiled_networks, "consolidated", lambda *arguments: arguments[-2:])
    tables = np.zeros((1, 256), np.uint32)
    rest = np.zeros((1, 3), np.uint8), tables, scales(tables), np.zeros(3, np.uint32)

    assert ewc.renewed(*rest, Consolidation(decay=Fraction(3, 1 << 18))).tolist() == [3, 1 << 18]
    assert ewc.renewed(*rest, Consolidation(decay=Fraction(3, (1 << 18) + 1))).tolist() == [0, 0, 0]


# --- the whole ---


@settings(max_examples=40)
@given(
    st.integers(1, 6),
    st.sampled_from(["median", "trimmed_mean"]),
    st.fractions(0, 1, max_denominator=1000),
    st.booleans(),
    st.integers(0, 2**32),
    st.lists(st.integers(-1022, 1023), min_size=12, max_size=12),
)
def test_consolidation_is_exact(
    clients: int,
    combine_by: Literal["median", "trimmed_mean"],
    decay: Fraction,
    before: bool,
    seed: int,
    exponents: list[int],
) -> None:
    ring = consolidating(base=tiny_model(seed, consolidated=before))
    rule = Consolidation(decay=decay, combine=combine_by, trim=(clients - 1) // 2)
    updates = [ring.update("alice", seed + k) for k in range(clients)]
    wild = [
        replace(update, importance_exponents={KERNEL: exponents[2 * k], BIAS: exponents[2 * k + 1]})
        for k, update in enumerate(updates)
    ]
    for posted in (updates, wild):
        importance = ewc.consolidate(rule, ring.base, members(posted))

        assert importance is not None
        found = {name: f.reshape(-1).tolist() for name, f in importance.items()}
        assert found == reference.consolidated(rule, ring.base, posted)


@pytest.mark.parametrize("width", [1, 5, 7, 12, 1 << 20])
@pytest.mark.parametrize("run", [serial, Threads(3)])
def test_blocks_and_threads_change_nothing(width: int, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = consolidating(base=tiny_model(consolidated=True))
    posted = [ring.update("alice", seed) for seed in range(3)]
    monkeypatch.setattr(ewc, "block_width", lambda members, item_bytes: width)

    split = ewc.consolidate(Consolidation(), ring.base, members(posted), run)

    assert split is not None
    found = {name: f.reshape(-1).tolist() for name, f in split.items()}
    assert found == reference.consolidated(Consolidation(), ring.base, posted)
    assert split[KERNEL].shape == ring.base.mantissas[KERNEL].shape


def test_every_order_gives_the_same_importance() -> None:
    ring = consolidating()
    posted = members([ring.update("alice", seed) for seed in range(4)])

    results = {
        tuple(f.tobytes() for f in (ewc.consolidate(Consolidation(), ring.base, order) or {}).values())
        for order in permutations(posted)
    }

    assert len(results) == 1


def test_importance_saturates() -> None:
    ring = consolidating(base=tiny_model(consolidated=True))
    for tensor in (ring.base.importance or {}).values():
        tensor[...] = UINT32_MAX

    importance = ewc.consolidate(Consolidation(decay=Fraction(1)), ring.base, members([ring.update("alice")]))

    assert importance is not None
    assert all((tensor == UINT32_MAX).all() for tensor in importance.values())


def test_importances_on_disk_give_the_same(tmp_path: Path) -> None:
    ring = consolidating(base=tiny_model(consolidated=True))
    posted = [ring.update("alice", seed) for seed in range(5)]
    rule = Consolidation(combine="trimmed_mean", trim=1)

    found = ewc.consolidate(
        rule, ring.base, members([stored(one, tmp_path / str(at)) for at, one in enumerate(posted)])
    )

    assert found is not None
    assert {name: f.reshape(-1).tolist() for name, f in found.items()} == reference.consolidated(
        rule, ring.base, posted
    )
