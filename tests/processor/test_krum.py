"""Krum and multi-Krum: refusals by name, ties, then equality with exact fractions, and who is dropped."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.krum import Krum, MultiKrum, score
from processor.rule import Measured
from processor.rules import rule_of
from protocol.bounds import check_bounds
from protocol.errors import ArithmeticRefused, TooFewUpdates
from protocol.update import Update
from tests.processor import reference, reference_robust
from tests.processor.factory import MEAN, TinyRound, account
from tests.processor.robust_rounds import (
    accepted,
    clients,
    merge,
    moved,
    real_change,
    ring_of,
    taken,
    trainable,
)


def apart(*positions: int) -> Measured:
    """The Gram matrix of updates at these places of a line, however large."""
    return Measured.of(np.array([[a * b for b in positions] for a in positions], dtype=object), 0)


# --- refusals ---


def test_too_few_are_refused_by_name() -> None:
    with pytest.raises(TooFewUpdates, match="at least 5"):
        Krum(1).plan(accepted(4), apart(1, 2, 3, 4))
    with pytest.raises(TooFewUpdates, match="at least 7"):
        MultiKrum(2, 0).plan(accepted(6), apart(1, 2, 3, 4, 5, 6))
    with pytest.raises(TooFewUpdates, match="at least 6"):
        MultiKrum(1, 5).plan(accepted(5), apart(1, 2, 3, 4, 5))
    assert Krum(1).plan(accepted(5), apart(1, 2, 3, 4, 50)).weights == (0, 1, 0, 0, 0)


def test_a_round_that_could_never_have_enough_is_refused_before_launch() -> None:
    task = ring_of("krum", byzantine=2).task
    with pytest.raises(ArithmeticRefused, match="7 accepted"):
        check_bounds(task, 6)
    check_bounds(task, 7)


# --- scores ---


def test_the_score_counts_the_nearest_others_only() -> None:
    assert score([0, 9, 4, 100], 0, 2) == 13
    assert score([9, 0, 0, 100], 1, 1) == 0  # a twin is another update
    assert score([5, 5], 1, 0) == 0


def test_of_equal_scores_the_lowest_address_wins() -> None:
    assert Krum(0).plan(accepted(3), apart(0, 0, 0)).weights == (1, 0, 0)
    assert Krum(1).plan(accepted(5), apart(4, 3, 2, 1, 0)).weights == (0, 1, 0, 0, 0)
    assert MultiKrum(1, 2).plan(accepted(6), apart(0, 5, 5, 5, 5, 90)).weights == (0, 2, 3, 0, 0, 0)


def test_distances_that_float64_could_not_tell_apart_decide() -> None:
    far = 1 << 80
    assert Krum(0).plan(accepted(3), apart(far, far + 5, far + 9)).weights == (0, 1, 0)
    assert Krum(0).plan(accepted(3), apart(far + 9, far + 2, far)).weights == (0, 1, 0)


def test_multi_krum_keeps_all_but_the_hostile_unless_told() -> None:
    place = apart(1, 2, 3, 4, 500)
    assert MultiKrum(1, 0).plan(accepted(5), place).weights == (1, 2, 3, 4, 0)
    assert MultiKrum(1, 2).plan(accepted(5), place).weights == (0, 2, 3, 0, 0)
    assert MultiKrum(0, 5).plan(accepted(5), place).weights == (1, 2, 3, 4, 5)


def test_the_task_names_them() -> None:
    assert rule_of(ring_of("krum", byzantine=2).task) == Krum(2)
    assert rule_of(ring_of("multi-krum", byzantine=2, keep=3).task) == MultiKrum(2, 3)


# --- whole merges ---


def honest(ring: TinyRound, names: list[str], seed: int, spread: int = 40) -> list[Update]:
    """Updates that lie close to one direction, each with exponents of its own."""
    alike = ring.update("alice", seed)
    largest = {"int8": 127, "int16": 32_767}[ring.task.delta_type]
    random = np.random.default_rng(seed)

    def near(name: str) -> Update:
        deltas = {
            tensor: np.clip(random.integers(-spread, spread + 1, delta.shape) + delta, -largest, largest).astype(
                ring.task.delta_type
            )
            for tensor, delta in alike.deltas.items()  # type: ignore[union-attr]
        }
        return replace(alike, author=account(name), deltas=deltas)

    return [near(name) for name in names]


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(["int8", "int16"]),
    st.integers(3, 9),
    st.integers(0, 3),
    st.integers(0, 9),
    st.integers(1, 13),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_merges_are_exact(
    delta_type: str, count: int, byzantine: int, keep: int, width: int, twins: bool, seed: int
) -> None:
    byzantine = min(byzantine, (count - 3) // 2)
    keep = min(keep, count - byzantine)
    names = clients(count)
    for ring in (
        ring_of("krum", delta_type, seed, byzantine=byzantine),
        ring_of("multi-krum", delta_type, seed, byzantine=byzantine, keep=keep),
    ):
        updates = [ring.update(name, seed + k, examples=1 + 7 * k) for k, name in enumerate(names)]
        if twins:
            updates[-1] = replace(updates[0], author=updates[-1].author)
        changes = [real_change(update, ring.base) for update in updates]
        most = 1 if ring.task.merge.rule == "krum" else keep or count - byzantine
        chosen = reference_robust.multi_krum(changes, byzantine, most)
        total = sum(updates[k].examples for k in chosen)
        mean = [sum(updates[k].examples * changes[k][at] for k in chosen) / total for at in range(len(changes[0]))]

        merged = merge(ring, updates, width)

        assert taken(merged) == [account(names[k]) for k in chosen]
        assert trainable(merged, ring.base) == moved(ring.base, mean)
        means, _ = reference.fedavg(ring.base, [updates[k] for k in chosen])
        assert merged.mantissas[MEAN].reshape(-1).tolist() == means[MEAN]


@pytest.mark.parametrize("rule", ["krum", "multi-krum"])
def test_order_and_blocks_do_not_matter(rule: str) -> None:
    ring = ring_of(rule, byzantine=1)
    updates = [ring.update(name, examples=3 + k) for k, name in enumerate(clients(5))]

    found = {
        (merge(ring, order, width).digest, tuple(taken(merge(ring, order, width))))
        for order in list(permutations(updates))[::17]
        for width in (1, 5, 100)
    }

    assert len(found) == 1


@pytest.mark.parametrize("rule", ["krum", "multi-krum", "bulyan"])
@pytest.mark.parametrize("delta_type", ["int8", "int16"])
@pytest.mark.parametrize("attack", ["scaled", "flipped"])
def test_attackers_are_dropped(rule: str, delta_type: str, attack: str) -> None:
    ring = ring_of(rule, delta_type, byzantine=1)
    updates = honest(ring, [*clients(6), "mallory"], 3, spread=3)
    hers = updates[-1]
    flipped = {name: -delta for name, delta in hers.deltas.items()}  # type: ignore[operator]
    louder = {
        name: exponent + (1 if exponent - _grid(ring, name) < 7 else -3) for name, exponent in hers.exponents.items()
    }
    updates[-1] = replace(hers, deltas=flipped) if attack == "flipped" else replace(hers, exponents=louder)

    assert account("mallory") not in taken(merge(ring, updates))


def _grid(ring: TinyRound, name: str) -> int:
    return next(spec.grid for spec in ring.base.specs if spec.name == name)
