"""Creating a federation: refusals, then once and only once."""

from __future__ import annotations

import contextlib
import itertools
import re
from dataclasses import replace
from pathlib import Path

import pytest

from network.memory_chain import MemoryChain
from network.transfer import fetch
from organization.federation import BURN_ADDRESS, name_auditors
from protocol.errors import ArithmeticRefused, InvalidInput, KeyError_, SettingsError, TooLarge
from protocol.model import decode_model, encode_model
from protocol.task import Limits, MergeRule, decode_task
from protocol.types import ZERO_ADDRESS, Hash
from tests.organization.faults import Crash, Faulty
from tests.organization.world import World
from tests.processor.factory import account, tiny_model, tiny_task

ALICE, BOB, CAROL = account("alice"), account("bob"), account("carol")


@pytest.mark.parametrize(
    ("auditors", "quorum", "unaudited"),
    [
        ([], None, False),
        ([], 1, True),
        ([ALICE], 1, True),
        ([ALICE, ALICE], 2, False),
        ([ALICE, BOB], 1, False),
        ([ALICE], 2, False),
        ([ALICE], 0, False),
        ([account(str(number)) for number in range(33)], 17, False),
    ],
)
def test_refuses_a_bench_that_cannot_decide(auditors, quorum, unaudited):
    with pytest.raises(InvalidInput):
        name_auditors(auditors, quorum, unaudited)


def test_auditors_stand_in_the_contracts_order_with_a_majority():
    bench = name_auditors([CAROL, ALICE, BOB], None, False)
    assert [int(one, 16) for one in bench.auditors] == sorted(int(one, 16) for one in (ALICE, BOB, CAROL))
    assert bench.quorum == 2
    assert name_auditors([], None, True).quorum == 0


def test_refuses_without_a_key(tmp_path):
    world = World()
    world.chain = lambda name="acme": MemoryChain(world.ledger)
    with pytest.raises(KeyError_):
        world.found(tmp_path)


def test_refuses_a_merged_model(tmp_path):
    with pytest.raises(InvalidInput, match="round 3"):
        World().found(tmp_path, replace(tiny_model(), round=3))


def test_refuses_a_model_above_its_tasks_limit(tmp_path):
    with pytest.raises(TooLarge, match=r"limits\.model_bytes"):
        World(tiny_task(limits=Limits(model_bytes=100))).found(tmp_path)


def test_refuses_a_model_that_rounds_would_carry_above_the_limit(tmp_path):
    """Law: a created federation has room for every result: the limit that is just enough is also just needed."""
    first = sum(map(len, encode_model(tiny_model()).values()))
    with pytest.raises(TooLarge, match="importance") as refusal:
        World(tiny_task(limits=Limits(model_bytes=first))).found(tmp_path)
    enough = int(re.search(r"Set the limit to (\d+)", str(refusal.value))[1])
    with pytest.raises(TooLarge):
        World(tiny_task(limits=Limits(model_bytes=enough - 1))).found(tmp_path)
    world = World(tiny_task(limits=Limits(model_bytes=enough), publication_seconds=60, rederivation_margin_seconds=60))
    world.found(tmp_path)
    world.worker().run(2, {1, 2}, pause=world.live())
    head = fetch(world.store, world.federation.head, enough)
    assert decode_model(head).importance is not None
    assert world.federation.head == world.round.settled.settlement.model != world.round.base
    # only the round's number has fewer digits than it may get
    assert enough - sum(map(len, head.values())) == len(str(2**53 - 1)) - 1


def test_refuses_a_task_that_cannot_merge_even_one_update(tmp_path):
    with pytest.raises(ArithmeticRefused):
        World(tiny_task(merge=MergeRule(examples_cap=1 << 41))).found(tmp_path)


def test_refuses_the_zero_address_for_bonds(tmp_path):
    with pytest.raises(InvalidInput):
        World().found(tmp_path, forfeit_to=ZERO_ADDRESS)


def test_refuses_a_salt_of_another_federation(tmp_path):
    world = World()
    world.found(tmp_path)
    with pytest.raises(InvalidInput, match="other terms"):
        world.found(tmp_path, tiny_model(seed=1))


def test_refuses_a_home_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError):
        World().found(tmp_path / "file" / "home", salt=None)


def test_publishes_task_and_model_and_creates(tmp_path):
    world = World()
    created = world.found(tmp_path)
    terms = world.federation.terms
    assert created.terms == terms and not created.existed
    assert terms.forfeit_to == BURN_ADDRESS and terms.auditors == (account("dave"),) and terms.quorum == 1
    assert decode_task(fetch(world.store, terms.task, 1 << 20)) == world.task
    assert decode_model(fetch(world.store, world.federation.head, 1 << 20)).specs == tiny_model().specs


def test_unaudited_only_when_said(tmp_path):
    world = World()
    world.found(tmp_path, audited=False)
    assert not world.federation.terms.is_audited


def test_again_finds_the_same_and_other_terms_make_another(tmp_path):
    world = World()
    salts = (bytes([number]) * 32 for number in itertools.count(1))
    first = world.found(tmp_path, salt=None, fresh_salt=lambda: next(salts))
    again = world.found(tmp_path, salt=None, fresh_salt=lambda: next(salts))
    assert again.existed and again.federation == first.federation and len(world.state.federations) == 1
    other = world.found(tmp_path, tiny_model(seed=1), salt=None, fresh_salt=lambda: next(salts))
    wanted = world.found(tmp_path, salt=Hash(b"\x99" * 32))
    assert len({first.federation, other.federation, wanted.federation}) == 3


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_crash_at_any_call_creates_one_federation(tmp_path: Path, after: bool):
    call = 1
    while crashes(World(), tmp_path / f"{after}{call}", Faulty(call, after)):
        call += 1
    assert call > 5


def crashes(world: World, home: Path, faulty: Faulty) -> bool:
    """Whether the first creation crashed; then a second one finished it, once."""
    salts = (bytes([number]) * 32 for number in itertools.count(1))
    store, chain = world.store, world.chain
    world.store, world.chain = faulty.wrap(store), lambda: faulty.wrap(chain())
    with contextlib.suppress(Crash):
        world.found(home, salt=None, fresh_salt=lambda: next(salts))
        return False
    world.store, world.chain = store, chain
    world.found(home, salt=None, fresh_salt=lambda: next(salts))
    assert len(world.state.federations) == 1
    fetch(world.store, world.federation.head, 1 << 20)
    return True
