"""Launching a round: every refusal comes before any transaction."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from network.memory_chain import MemoryChain
from organization.launch import check_terms, launch_round
from protocol.cid import directory_cid
from protocol.errors import (
    ArithmeticRefused,
    BlockCorrupt,
    BlockMissing,
    InsufficientFunds,
    InvalidInput,
    KeyError_,
    UnknownFederation,
)
from protocol.events import RoundLaunched
from protocol.task import MergeRule, Standing
from protocol.types import FederationId
from tests.organization.world import FUNDS, TOKEN, World
from tests.processor.factory import account, tiny_task, tiny_terms

TASK = tiny_task(publication_seconds=60, rederivation_margin_seconds=60)


@pytest.mark.parametrize(
    ("term", "value"),
    [
        ("settlement_seconds", 60),
        ("challenge_seconds", 120),
        ("training_seconds", 0),
        ("training_seconds", 90 * 86400 + 1),
        ("settlement_seconds", 30 * 86400 + 1),
        ("challenge_seconds", 30 * 86400 + 1),
        ("max_millis", 0),
        ("max_millis", 2**40),
        ("time_cap_millis", 5001),
        ("time_cap_millis", -1),
        ("max_updates", 0),
        ("max_updates", 2**24),
        ("bond", -1),
        ("attestation_fee", 2**96),
        ("reward_per_milli", 2**96),
    ],
)
def test_refuses_a_term_by_name(term, value):
    with pytest.raises(InvalidInput, match=f"{term} is {value}"):
        check_terms(tiny_terms(**{term: value}), TASK, audited=True)


def test_windows_must_exceed_what_happens_in_them_by_a_second():
    check_terms(tiny_terms(settlement_seconds=61, challenge_seconds=121), TASK, audited=True)
    check_terms(tiny_terms(challenge_seconds=0), TASK, audited=False)


def test_refuses_a_time_cap_that_the_contract_cannot_add_up():
    terms = tiny_terms(max_millis=2**40 - 1, time_cap_millis=2**40 - 1, max_updates=2**17)
    with pytest.raises(InvalidInput, match="time_cap_millis"):
        check_terms(terms, TASK, audited=True)


def test_refuses_fewer_updates_than_the_task_merges():
    with pytest.raises(InvalidInput, match="max_updates is 16"):
        check_terms(tiny_terms(), replace(TASK, min_updates=17), audited=True)


def test_refuses_a_merge_that_could_overflow():
    task = replace(TASK, merge=MergeRule(examples_cap=1 << 40))
    check_terms(tiny_terms(max_updates=1), task, audited=True)
    with pytest.raises(ArithmeticRefused):
        check_terms(tiny_terms(max_updates=2), task, audited=True)


@pytest.mark.parametrize(
    ("merge", "fits"),
    [
        (MergeRule(rule="krum", byzantine=7), 17),
        (MergeRule(rule="multi-krum", byzantine=2, keep=20), 22),
        (MergeRule(rule="bulyan", byzantine=4), 19),
        (MergeRule(rule="trimmed-mean", trim=8), 17),
    ],
)
def test_refuses_a_round_that_its_rule_could_never_merge(merge, fits):
    task = replace(TASK, merge=merge)
    check_terms(tiny_terms(max_updates=fits), task, audited=True)
    with pytest.raises(ArithmeticRefused, match=f"at most {fits - 1} updates could never be merged by {merge.rule}"):
        check_terms(tiny_terms(max_updates=fits - 1), task, audited=True)


def test_refuses_weights_by_standing_that_could_overflow():
    task = replace(TASK, merge=MergeRule(examples_cap=1 << 36), standing=Standing(use="weight"))
    check_terms(tiny_terms(max_updates=16), replace(task, standing=Standing()), audited=True)
    check_terms(tiny_terms(max_updates=1), task, audited=True)
    with pytest.raises(ArithmeticRefused, match="overflow"):
        check_terms(tiny_terms(max_updates=2), task, audited=True)


def test_refuses_importance_that_could_not_be_counted():
    task = replace(TASK, merge=MergeRule(rule="fisher-weighted", fisher_floor=Fraction(1, 4000)))
    check_terms(tiny_terms(max_updates=1), task, audited=True)
    with pytest.raises(ArithmeticRefused, match="importance"):
        check_terms(tiny_terms(max_updates=10_000), task, audited=True)


def test_refuses_to_consolidate_what_is_renewed_anyway():
    task = replace(TASK, merge=MergeRule(rule="fedcurv"))
    check_terms(tiny_terms(), task, audited=True)
    with pytest.raises(InvalidInput, match="consolidate"):
        check_terms(tiny_terms(consolidate=True), task, audited=True)


@pytest.fixture
def world(tmp_path):
    world = World()
    world.found(tmp_path)
    return world


def launches(world):
    return sum(isinstance(logged.event, RoundLaunched) for logged in world.ledger.logs)


def test_refuses_an_unknown_federation(world):
    with pytest.raises(UnknownFederation):
        launch_round(world.chain(), world.store, world.state, FederationId(bytes(32)), world.terms)


def test_refuses_another_account(world):
    world.ledger.mint(TOKEN, account("mallory"), FUNDS)
    with pytest.raises(InvalidInput, match="not the organization"):
        launch_round(world.chain("mallory"), world.store, world.state, world.federation_id, world.terms)


def test_refuses_without_a_key(world):
    with pytest.raises(KeyError_):
        launch_round(MemoryChain(world.ledger), world.store, world.state, world.federation_id, world.terms)


def test_refuses_without_the_escrow_and_says_what_is_short(world):
    short = world.terms.escrow(1) - FUNDS + 5000 * 16 * 1000
    with pytest.raises(InsufficientFunds, match=f"Send {short} more"):
        world.launch(reward_per_milli=world.terms.reward_per_milli + 1000)
    assert launches(world) == 0


def test_refuses_while_a_round_is_live(world):
    world.launch()
    with pytest.raises(InvalidInput, match="Round 1 is live: training"):
        world.launch()
    assert launches(world) == 1


def test_refuses_when_nobody_could_fetch_the_model(world):
    root = directory_cid(world.federation.head)
    kept = world.store.blocks.pop(root)
    with pytest.raises(BlockMissing, match=str(root)):
        world.launch()
    world.store.blocks[root] = kept[:-1] + b"?"
    with pytest.raises(BlockCorrupt, match=str(root)):
        world.launch()
    assert launches(world) == 0


def test_refuses_when_nobody_could_fetch_the_task(world):
    del world.store.blocks[directory_cid(world.federation.terms.task)]
    with pytest.raises(BlockMissing):
        world.launch()


def test_launches_from_the_head_and_takes_the_escrow(world):
    round_id = world.launch(consolidate=True)
    assert world.round.id == round_id and world.round.index == 1
    assert world.round.base == world.federation.terms.model and world.round.terms.consolidate
    assert world.balance("acme") == FUNDS - world.terms.escrow(1)


def test_launches_again_after_a_void_round(world):
    world.launch()
    world.close_training()
    world.launch()
    assert world.round.index == 2 and world.round.base == world.federation.terms.model
