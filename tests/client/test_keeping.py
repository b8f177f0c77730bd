"""A client keeps its update and its base while anybody may need them from it, and lets go of both afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from network.memory_store import MemoryStore
from protocol.cid import Cid, directory_cid
from protocol.errors import StoreUnavailable
from protocol.model import Model
from tests.client.test_worker import TASK, one_training_a_round, worker
from tests.client.world import ALICE, World, steps

pytestmark = pytest.mark.slow  # TensorFlow takes its seconds to load; the tests themselves are quick

assert one_training_a_round  # the fixture


@pytest.fixture
def world(softmax_regression: Callable[[], Model]) -> World:
    return World(replace(TASK, retention_seconds=1), softmax_regression())


def play(world: World, alice: Any) -> Cid:
    """A round of alice alone, to its end; her update."""
    round_id = world.launch()
    steps(alice.step)
    world.close(round_id)
    steps(alice.step)
    mine = world.round(round_id).update_of(ALICE)
    assert mine is not None
    assert directory_cid(mine.digest) in world.store.kept()
    world.settle(round_id)
    steps(alice.step)
    return directory_cid(mine.digest)


def test_base_and_update_are_kept_while_the_round_is_open(world: World, tmp_path: Path) -> None:
    base = directory_cid(world.ledger.state().federations[world.federation].head)
    world.store.release(base)
    round_id = world.launch()
    alice = worker(world, tmp_path, rounds_kept=0)
    steps(alice.step)
    assert base in world.store.kept()
    world.close(round_id)
    steps(alice.step)
    mine = world.round(round_id).update_of(ALICE)
    assert mine is not None
    world.settle(round_id, attest=False)
    steps(alice.step)
    assert {base, directory_cid(mine.digest)} <= world.store.kept()


@pytest.mark.parametrize(("rounds_kept", "kept"), [(0, 1), (1, 1), (2, 2), (5, 3)])
def test_updates_are_let_go_when_no_round_needs_them(world: World, tmp_path: Path, rounds_kept: int, kept: int) -> None:
    alice = worker(world, tmp_path, rounds_kept=rounds_kept)
    updates = []
    for _ in range(3):
        updates.append(play(world, alice))
        world.ledger.advance(3600)
    # The last is let go after the next round, as its retention has only ended since.
    assert set(updates) & world.store.kept() == set(updates[3 - kept :])
    again = worker(world, tmp_path, rounds_kept=rounds_kept)  # a restart looks once more
    steps(again.step)
    assert set(updates) & world.store.kept() == set(updates[3 - min(3, rounds_kept) :] if rounds_kept else [])


def test_an_update_that_is_retained_for_ever_stays(softmax_regression: Callable[[], Model], tmp_path: Path) -> None:
    world = World(TASK, softmax_regression())
    alice = worker(world, tmp_path, rounds_kept=0)
    updates = {play(world, alice) for _ in range(2)}
    world.ledger.advance(10**8)
    steps(worker(world, tmp_path, rounds_kept=0).step)
    assert updates <= world.store.kept()


def test_a_store_whose_pins_fail_stops_no_training(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def down(self: MemoryStore, *arguments: Cid) -> Any:
        raise StoreUnavailable("The pins are gone.")

    alice = worker(world, tmp_path, say=said.append)
    round_id = world.launch()
    for name in ("kept", "keep"):
        monkeypatch.setattr(MemoryStore, name, down)
    assert "committed" in steps(alice.step)[0]
    assert any("base model is not kept: The pins are gone." in line for line in said)
    monkeypatch.undo()
    world.close(round_id)
    steps(alice.step)
    world.settle(round_id)
    monkeypatch.setattr(MemoryStore, "kept", down)
    assert "merged" in steps(alice.step)[0]
    assert sum("was not let go: The pins are gone." in line for line in said) == 1
