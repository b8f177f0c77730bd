"""Attack: mallory does harm again and again, or once and well, and tries to be heard as if she had not.

Verdict: standing makes harm cost weight, or admission, in later rounds. It does not see who is behind an address: a new one
begins at 0, so it needs admission by list; it believes the majority; and a good past buys at most twice a newcomer's word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from network.transfer import fetch
from processor.standing import MAX_FACTOR, NEUTRAL_FACTOR
from protocol.errors import TransactionReverted
from protocol.merge_terms import MergeRule, Standing
from protocol.merkle import MerkleTree, admission_leaf
from protocol.model import decode_model
from protocol.report import Derived
from protocol.update import Update
from tests.network.standing_world import LIMIT, StandingWorld, said_of
from tests.processor.factory import TinyRound, account

WEIGHT = Standing(use="weight", window=16)
ADMIT = Standing(use="admit", least=-1500)
HONEST = ("alice", "bob", "carol")


def pulling(world: StandingWorld, name: str, sign: int = 1) -> Update:
    """An update of ``name`` along the way that all honest ones go, or straight against it; each a little different."""
    round_ = world.round
    base = decode_model(fetch(world.store, round_.base, LIMIT))
    ring = TinyRound(world.task, round_.terms, base, round_.index)
    way, own = ring.update("way", seed=round_.index), ring.update(name)
    deltas = {
        key: (sign * (delta // 2) + own.deltas[key] // 8).astype(delta.dtype) for key, delta in way.deltas.items()
    }
    shift = {key: way.exponents[key] for key in deltas}
    kept = {key: np.zeros_like(delta) if "norm" in key else delta for key, delta in deltas.items()}
    return replace(own, deltas=kept, exponents=shift)


def play(world: StandingWorld, honest: Sequence[str] = HONEST, against: Sequence[str] = ("mallory",)) -> Derived:
    """A whole round in which ``against`` flip their updates; its record."""
    world.launch()
    world.ledger.advance(30)
    for name in honest:
        world.post(name, pulling(world, name))
    for name in against:
        world.post(name, pulling(world, name, -1))
    world.close_training()
    assert world.worker().settle(world.round.id)
    world.attest()
    return world.record()


def share(derived: Derived, *names: str) -> float:
    """Of the weight of all."""
    return sum(said_of(derived, name).weight for name in names) / sum(one.weight for one in derived.updates)


# --- what it does ---


def test_who_pulls_against_all_is_heard_less_with_every_round_and_then_not_at_all(tmp_path: Path) -> None:
    world = StandingWorld(tmp_path, WEIGHT)
    shares = [share(play(world), "mallory") for _ in range(7)]
    assert shares[0] == 0.25
    assert all(later < before for before, later in pairwise(shares))
    assert shares[-1] == 0


def test_without_it_she_is_heard_as_before(tmp_path: Path) -> None:
    world = StandingWorld(tmp_path, Standing(use="record"))
    assert [share(play(world), "mallory") for _ in range(3)] == [0.25] * 3


def test_who_was_silenced_comes_back_by_agreeing(tmp_path: Path) -> None:
    world = StandingWorld(tmp_path, WEIGHT)
    while share(play(world), "mallory"):
        pass
    shares = [share(play(world, (*HONEST, "mallory"), ()), "mallory") for _ in range(8)]
    assert shares[0] == 0 and shares[-1] > 0.1


def test_a_good_past_buys_at_most_twice_a_newcomers_word(tmp_path: Path) -> None:
    world = StandingWorld(tmp_path, WEIGHT, merge=MergeRule(weighting="uniform", examples_cap=1000))
    for _ in range(12):
        play(world, (*HONEST, "mallory"), ())
    derived = play(world, ("dan", *HONEST))
    mallory, newcomer = said_of(derived, "mallory"), said_of(derived, "dan")
    assert mallory.weight == MAX_FACTOR and newcomer.weight == NEUTRAL_FACTOR
    assert share(derived, "mallory") < 0.25  # the honest have a past too


# --- what it does not ---


def test_a_new_address_sheds_a_bad_standing(tmp_path: Path) -> None:
    world = StandingWorld(tmp_path, ADMIT)
    while said_of(play(world), "mallory").verdict == "accepted":
        pass
    assert said_of(play(world), "mallory").rule == "low-standing"
    again = said_of(play(world, against=["eve"]), "eve")  # mallory's other name
    assert (again.verdict, again.rule) == ("accepted", "")


def test_admission_by_list_is_what_keeps_new_addresses_out(tmp_path: Path) -> None:
    world = StandingWorld(tmp_path, ADMIT)
    leaves = {name: admission_leaf(account(name)) for name in (*HONEST, "mallory")}
    tree = MerkleTree(leaves.values())
    world.chain().set_admission(world.federation_id, tree.root)
    for name, leaf in leaves.items():
        world.chain(name).join(world.federation_id, account(name), tree.proof(leaf))
    while said_of(play(world), "mallory").verdict == "accepted":
        pass
    with pytest.raises(TransactionReverted, match="NotJoined"):
        play(world, against=["eve"])


def test_a_long_good_past_outlasts_a_few_bad_rounds(tmp_path: Path) -> None:
    world = StandingWorld(tmp_path, WEIGHT, merge=MergeRule(weighting="uniform", examples_cap=1000))
    for _ in range(16):
        play(world, (*HONEST, "mallory"), ())
    weights = [said_of(play(world), "mallory").weight for _ in range(7)]
    assert weights[:3] == [MAX_FACTOR] * 3
    assert all(later < before for before, later in pairwise(weights[2:]))
    assert weights[4] > NEUTRAL_FACTOR > weights[6]


def test_a_majority_of_one_person_decides_what_agreeing_is(tmp_path: Path) -> None:
    world = StandingWorld(tmp_path, WEIGHT)
    sybils = [f"eve {number}" for number in range(6)]
    derived = [play(world, HONEST, sybils) for _ in range(5)]
    assert share(derived[0], *HONEST) == 3 / 9
    assert share(derived[-1], *HONEST) < 0.1
