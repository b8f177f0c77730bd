"""What standing does in a round: weights multiplied, clients refused, and nothing but the base where nobody weighs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.round import Derivation, derive_round
from processor.standing import FACTOR_STEP, MAX_FACTOR, NEUTRAL_FACTOR, weight_factor
from protocol.bounds import check_bounds
from protocol.errors import ArithmeticRefused, WrongField
from protocol.merge_terms import MAX_STANDING_WINDOW, MergeRule, Standing
from protocol.past import Past
from protocol.standing import standings
from protocol.task import decode_task, encode_task
from protocol.types import Address
from tests.attacks.verdicts import verdict_of
from tests.processor import reference
from tests.processor.factory import KERNEL, TinyRound, account, tiny_task, tiny_terms
from tests.processor.reference_standing import agreement
from tests.protocol.test_standing import record, verdict

WEIGHT, ADMIT = Standing(use="weight"), Standing(use="admit", least=-1500)


def derive(ring: TinyRound, **standing: int) -> Derivation:
    """Derive the round with standings by name."""
    past = Past(standing={account(name): value for name, value in standing.items()})
    return derive_round(ring.facts, ring.task, ring.base, ring.fetch, frozenset(), past)


def weights(derivation: Derivation) -> Mapping[Address, int]:
    return {one.client: one.weight for one in derivation.derived.updates}


# --- the factor ---


def test_a_client_without_a_past_has_the_neutral_factor() -> None:
    assert [weight_factor(standing) for standing in (0, FACTOR_STEP - 1, 1 - FACTOR_STEP)] == [NEUTRAL_FACTOR] * 3


@pytest.mark.parametrize(("standing", "factor"), [(500, 9), (-500, 7), (3999, 15), (4000, 16), (-3999, 1), (-4000, 0)])
def test_each_step_moves_the_factor_by_one(standing: int, factor: int) -> None:
    assert weight_factor(standing) == factor


@given(st.integers(-1000 * MAX_STANDING_WINDOW, 1000 * MAX_STANDING_WINDOW), st.integers(0, 10**6))
def test_the_factor_stays_in_bounds_and_never_falls(standing: int, more: int) -> None:
    assert 0 <= weight_factor(standing) <= weight_factor(standing + more) <= MAX_FACTOR
    assert weight_factor(standing) + weight_factor(-standing) == 2 * NEUTRAL_FACTOR


def test_the_words_beside_its_constants_hold() -> None:
    def after(rounds: int, said: str, agreement: int = 0) -> int:
        client = account("alice")
        one = verdict(client, agreement, said, "wrong-steps" if said == "refused" else "")
        return weight_factor(standings([record(one)] * rounds, WEIGHT)[client])

    assert [after(rounds, "refused") for rounds in (4, 5)] == [2, 0]
    assert after(16, "accepted", 500) == MAX_FACTOR


# --- the bound of a merge ---


@pytest.mark.parametrize(("use", "room"), [("record", 16), ("admit", 16), ("weight", 1)])
def test_the_bound_of_a_merge_counts_the_largest_factor(use: str, room: int) -> None:
    cap = (1 << 41) // 16 // 8 * room - 1
    task = tiny_task(merge=MergeRule(examples_cap=cap), standing=Standing(use=use))  # type: ignore[arg-type]
    check_bounds(task, 8)
    with pytest.raises(ArithmeticRefused):
        check_bounds(replace(task, merge=MergeRule(examples_cap=cap + 1)), 8)


def test_a_task_asks_no_newcomer_for_more_than_it_can_have() -> None:
    assert decode_task(encode_task(tiny_task(standing=ADMIT))).standing == ADMIT
    with pytest.raises(WrongField, match="least"):
        encode_task(tiny_task(standing=replace(ADMIT, least=1)))


# --- in a round ---


def test_weights_are_examples_times_the_factor_and_the_mean_follows_them() -> None:
    ring = TinyRound(task=tiny_task(standing=WEIGHT)).post_all(["alice", "bob"])
    derivation = derive(ring, alice=1000, bob=-2500)
    assert weights(derivation) == {account("alice"): 95 * 10, account("bob"): 95 * 3}
    alice, bob = ring.update("alice"), ring.update("bob")
    step = Fraction(2) ** ring.base.specs[0].grid
    change = [
        sum(
            Fraction(weight, 13) * int(update.deltas[KERNEL].reshape(-1)[at]) * Fraction(2) ** update.exponents[KERNEL]
            for weight, update in ((10, alice), (3, bob))
        )
        / step
        for at in range(12)
    ]
    assert derivation.model is not None
    moved = (derivation.model.mantissas[KERNEL] - ring.base.mantissas[KERNEL]).reshape(-1).tolist()
    assert moved == [round(value) for value in change]


def test_uniform_weights_are_multiplied_too() -> None:
    task = tiny_task(standing=WEIGHT, merge=MergeRule(weighting="uniform", examples_cap=1000))
    ring = TinyRound(task=task).post_all(["alice", "bob"])
    assert weights(derive(ring, bob=500)) == {account("alice"): 8, account("bob"): 9}


@pytest.mark.parametrize("use", ["record", "admit"])
def test_standing_weighs_nothing_unless_the_task_says_so(use: str) -> None:
    ring = TinyRound(task=tiny_task(standing=Standing(use=use, least=-9000))).post_all(["alice"])  # type: ignore[arg-type]
    assert weights(derive(ring, alice=-5000)) == {account("alice"): 95}


def test_a_client_of_factor_0_is_paid_and_measured_but_not_heard() -> None:
    ring = TinyRound(task=tiny_task(standing=WEIGHT)).post_all(["alice", "bob", "mallory"])
    derivation = derive(ring, mallory=-4000)
    without = replace(ring, updates=ring.updates[:2])
    alone = derive(without)
    assert derivation.model is not None and alone.model is not None
    assert derivation.derived.model == alone.derived.model and derivation.merge_digest == alone.merge_digest
    assert derivation.derived.merged == 2
    mallory, bob = verdict_of(derivation, "mallory"), verdict_of(derivation, "bob")
    assert (mallory.verdict, mallory.weight) == ("accepted", 0)
    assert mallory.credit_millis == bob.credit_millis > 0
    assert mallory.agreement == agreement(ring.base, derivation.model.mantissas, ring.update("mallory"))


def test_nor_does_it_say_what_is_important() -> None:
    ring = TinyRound(task=tiny_task(standing=WEIGHT), terms=tiny_terms(consolidate=True))
    ring.post_all(["alice", "bob", "mallory"])
    model = derive(ring, mallory=-4000).model
    assert model is not None and model.importance is not None
    expected = reference.consolidated(
        ring.task.consolidation, ring.base, [ring.update(name) for name in ("alice", "bob")]
    )
    assert {name: tensor.reshape(-1).tolist() for name, tensor in model.importance.items()} == expected


def test_where_nobody_weighs_anything_the_base_stays() -> None:
    ring = TinyRound(task=tiny_task(standing=WEIGHT)).post_all(["alice", "bob"])
    derivation = derive(ring, alice=-4000, bob=-9999)
    derived = derivation.derived
    assert (derived.outcome, derived.merged, derived.model) == ("too-few-updates", 0, ring.base_digest)
    assert [(one.verdict, one.weight, one.agreement) for one in derived.updates] == [("accepted", 0, 0)] * 2
    assert derived.rewards_total > 0 and derivation.model is None


def test_who_weighs_nothing_does_not_count_towards_the_least_updates() -> None:
    ring = TinyRound(task=tiny_task(standing=WEIGHT, min_updates=2)).post_all(["alice", "bob", "mallory"])
    assert derive(ring, mallory=-4000).derived.outcome == "merged"
    assert derive(ring, mallory=-4000, bob=-4000).derived.outcome == "too-few-updates"


def test_admission_refuses_below_the_least_and_nobody_else() -> None:
    ring = TinyRound(task=tiny_task(standing=ADMIT)).post_all(["alice", "bob", "mallory"])
    derivation = derive(ring, bob=-1500, mallory=-1501)
    assert [(one.verdict, one.rule) for one in derivation.derived.updates] == [
        ("accepted", ""),
        ("accepted", ""),
        ("refused", "low-standing"),
    ]
    assert verdict_of(derivation, "mallory").reward == 0
    assert "-1501" in derivation.refusals[account("mallory")]


def test_a_refusal_for_standing_needs_no_look_at_the_bytes() -> None:
    ring = TinyRound(task=tiny_task(standing=ADMIT)).post_all(["alice", "mallory"])
    ring.files = {digest: files for digest, files in ring.files.items() if digest == ring.updates[0].digest}
    assert derive(ring, mallory=-2000).derived.merged == 1
