"""Collecting updates: what is missing, what is only bad, and how long to wait."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from network.transfer import publish
from organization.collect import collect, look_seconds
from protocol.cid import directory_cid
from protocol.errors import StoreUnavailable
from tests.network.test_probe import Searching
from tests.organization.faults import Faulty
from tests.organization.world import World
from tests.processor.factory import account


@pytest.fixture
def world(tmp_path):
    world = World()
    world.found(tmp_path)
    world.launch()
    world.ledger.advance(10)
    return world


def look(world, have=None):
    return collect(world.store, world.round, world.task, world.ledger.now, set() if have is None else have)


def test_refuses_while_training_is_open(world):
    world.post("alice")
    with pytest.raises(ValueError, match="training is open"):
        look(world)


def test_a_store_that_does_not_answer_is_nobodys_verdict(world):
    world.post("alice")
    world.close_training()
    world.store = Faulty(1, False, StoreUnavailable("no answer")).wrap(world.store)
    with pytest.raises(StoreUnavailable):
        look(world)


def test_all_present_is_complete_at_once(world):
    world.post("alice")
    world.post("bob")
    world.close_training()
    found = look(world)
    assert found.is_complete and not found.missing


def test_missing_bytes_are_waited_for_until_the_window_ends(world):
    world.post("alice")
    world.post("bob", withhold=True)
    world.close_training()
    ends = world.round.training_ends + 60
    assert look(world).missing == {account("bob")} and look(world).window_ends == ends
    assert not look(world).is_complete
    world.ledger.advance_to(ends - 1)
    assert not look(world).is_complete
    world.ledger.advance_to(ends)
    assert look(world).is_complete and look(world).missing == {account("bob")}


def test_bytes_that_come_in_time_count(world):
    world.post("bob", withhold=True)
    world.close_training()
    have = set()
    assert look(world, have).missing
    world.release()
    assert look(world, have).is_complete and not look(world, have).missing


def test_the_window_begins_when_the_last_update_closes_training(tmp_path):
    world = World()
    world.found(tmp_path)
    world.launch(max_updates=1)
    world.ledger.advance(10)
    world.post("bob", withhold=True)
    assert look(world).window_ends == world.ledger.now + 60


def test_corrupt_blocks_are_missing_and_bad_artifacts_are_not(world):
    corrupt = world.post("alice")
    cid = directory_cid(corrupt)
    world.store.blocks[cid] = world.store.blocks[cid][:-1] + b"?"
    nonsense = publish(world.store, {"delta.safetensors": b"?"})
    world.chain("mallory").submit_update(world.round.id, nonsense, 1)
    large = world.post("bob")
    world.close_training()
    world.task = replace(world.task, limits=replace(world.task.limits, update_bytes=1))
    assert large and look(world).missing == {account("alice")}


@pytest.mark.parametrize(
    ("publication", "settlement", "since_closing", "seconds"),
    [
        (60, 600, 60, 390),  # a quarter of the window, 150 s, is left
        (60, 600, 449, 37.75),
        (60, 600, 560, 10),  # late: a quarter of what remains
        (60, 600, 700, 0),
        (500, 600, 500, 50),  # a long publication window: half of what follows it is left
    ],
)
def test_a_last_look_leaves_time_to_settle(world, publication, settlement, since_closing, seconds):
    world.post("alice")
    world.close_training()
    closed = world.round.training_ends
    round_ = replace(world.round, settlement_ends=closed + settlement)
    assert look_seconds(round_, closed + publication, closed + since_closing) == seconds


def test_a_look_within_the_window_is_short(world):
    store = Searching()
    for number in range(12):
        world.post(f"mallory{number}", withhold=True)
    world.close_training()
    began = time.monotonic()
    assert len(collect(store, world.round, world.task, world.ledger.now, set()).missing) == 12
    assert time.monotonic() - began < 8 and max(store.asked) <= 2
