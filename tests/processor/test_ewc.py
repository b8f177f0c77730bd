"""Consolidation: refusals, the rescaling, the two combinations, and equality with exact fractions."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from itertools import permutations
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor import ewc
from processor.updates import Accepted
from protocol.errors import EmptyImportance
from protocol.fixed_point import UINT32_MAX
from protocol.task import Consolidation
from protocol.types import Digest
from protocol.update import Update
from tests.processor import reference
from tests.processor.factory import BIAS, KERNEL, TinyRound, tiny_model, tiny_terms

ONE = 1 << 16


def consolidating(**changes: Any) -> TinyRound:
    return TinyRound(terms=tiny_terms(consolidate=True), **changes)


def accept(*updates: Update) -> tuple[list[Accepted], dict[Digest, Update]]:
    keyed = {Digest(bytes([index]) * 32): update for index, update in enumerate(updates)}
    return [Accepted(u.author, d, u.examples, u.steps, u.examples) for d, u in keyed.items()], keyed


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
    accepted, updates = accept(*(ring.update("alice", seed) for seed in range(needed)))

    assert ewc.updates_needed(rule) == needed
    assert ewc.consolidate(rule, ring.base, accepted[:-1], updates.__getitem__) is None
    assert ewc.consolidate(rule, ring.base, accepted, updates.__getitem__) is not None


def test_importance_that_is_zero_everywhere_is_refused() -> None:
    with pytest.raises(EmptyImportance):
        ewc.rescale_tables({KERNEL: 0, BIAS: 0}, {KERNEL: 5, BIAS: 9}, 15)


# --- rescaling ---


def test_the_mean_becomes_one() -> None:
    tables = ewc.rescale_tables({KERNEL: 12 * 40}, {KERNEL: -3}, 12)

    assert tables[KERNEL][40] == ONE
    assert tables[KERNEL][80] == 2 * ONE
    assert tables[KERNEL][0] == 0


@pytest.mark.parametrize("louder_by", [-900, -64, -1, 1, 64, 900])
def test_loudness_does_not_count(louder_by: int) -> None:
    sums, exponents = {KERNEL: 300, BIAS: 7}, {KERNEL: -30, BIAS: -22}
    louder = {name: exponent + louder_by for name, exponent in exponents.items()}

    quiet_tables = ewc.rescale_tables(sums, exponents, 15)
    loud_tables = ewc.rescale_tables(sums, louder, 15)

    assert all(np.array_equal(quiet_tables[name], loud_tables[name]) for name in sums)


def test_one_hot_importance_saturates() -> None:
    tables = ewc.rescale_tables({KERNEL: 1}, {KERNEL: 0}, 1 << 20)

    assert tables[KERNEL][1] == UINT32_MAX


@pytest.mark.parametrize(("below", "counts"), [(1, True), (64, True), (65, False), (2000, False)])
def test_exponents_far_below_the_largest_count_as_zero(below: int, counts: bool) -> None:
    """Within the span a whisper still takes its share of the whole, so the loud coordinate loses at least one unit."""
    tables = ewc.rescale_tables({KERNEL: 1, BIAS: 1}, {KERNEL: 0, BIAS: -below}, 15)

    assert tables[KERNEL][1] == math.floor(Fraction(15 * ONE) / (1 + (Fraction(1, 1 << below) if counts else 0)))
    assert (tables[KERNEL][1] == 15 * ONE) is not counts


def test_what_lies_beyond_the_span_would_round_to_zero_anyway() -> None:
    most = 255 * (Fraction(1 << 40) * ONE) / (1 << ewc.EXPONENT_SPAN + 1)  # u * N * 2^16 * 2^-65, T >= 1

    assert most < 1


def test_all_zero_tensors_do_not_set_the_scale() -> None:
    silent = ewc.rescale_tables({KERNEL: 9, BIAS: 0}, {KERNEL: -40, BIAS: 1000}, 15)

    assert np.array_equal(silent[KERNEL], ewc.rescale_tables({KERNEL: 9}, {KERNEL: 0}, 15)[KERNEL])
    assert not silent[BIAS].any()


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


# --- the whole ---


@settings(max_examples=40, deadline=None)
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
        accepted, keyed = accept(*posted)

        importance = ewc.consolidate(rule, ring.base, accepted, keyed.__getitem__)

        assert importance is not None
        found = {name: f.reshape(-1).tolist() for name, f in importance.items()}
        assert found == reference.consolidated(rule, ring.base, posted)


@pytest.mark.parametrize("working_bytes", [1, 4 * 3 * 5, 4 * 3 * 7, 4 * 3 * 12, 1 << 20])
def test_passes_change_nothing(working_bytes: int) -> None:
    ring = consolidating(base=tiny_model(consolidated=True))
    accepted, updates = accept(*(ring.update("alice", seed) for seed in range(3)))

    whole = ewc.consolidate(Consolidation(), ring.base, accepted, updates.__getitem__)
    split = ewc.consolidate(Consolidation(), ring.base, accepted, updates.__getitem__, working_bytes)

    assert whole is not None
    assert split is not None
    assert {n: f.tolist() for n, f in whole.items()} == {n: f.tolist() for n, f in split.items()}
    assert whole[KERNEL].shape == ring.base.mantissas[KERNEL].shape


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = consolidating(base=tiny_model(consolidated=True))
    posted = [ring.update("alice", seed) for seed in range(3)]
    accepted, updates = accept(*posted)
    monkeypatch.setattr(ewc, "BLOCK", 5)

    split = ewc.consolidate(Consolidation(), ring.base, accepted, updates.__getitem__)

    assert split is not None
    found = {name: f.reshape(-1).tolist() for name, f in split.items()}
    assert found == reference.consolidated(Consolidation(), ring.base, posted)


def test_every_order_gives_the_same_importance() -> None:
    ring = consolidating()
    accepted, updates = accept(*(ring.update("alice", seed) for seed in range(4)))

    results = {
        tuple(
            f.tobytes()
            for f in (ewc.consolidate(Consolidation(), ring.base, order, updates.__getitem__) or {}).values()
        )
        for order in permutations(accepted)
    }

    assert len(results) == 1


def test_importance_saturates() -> None:
    ring = consolidating(base=tiny_model(consolidated=True))
    for tensor in (ring.base.importance or {}).values():
        tensor[...] = UINT32_MAX
    accepted, updates = accept(ring.update("alice"))

    importance = ewc.consolidate(Consolidation(decay=Fraction(1)), ring.base, accepted, updates.__getitem__)

    assert importance is not None
    assert all((tensor == UINT32_MAX).all() for tensor in importance.values())
