"""What a client reads of a round, from a store that takes its time to say what is missing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import client.artifacts
from client.artifacts import Artifacts, RewardsUnknown
from network.memory_store import MemoryStore
from protocol.cid import Cid
from protocol.model import Model, TensorClass, TensorSpec
from protocol.task import Task
from protocol.types import Digest, address
from tests.client.world import World

CLIENTS = [address(f"0x{number:040x}") for number in range(100, 112)]


class Searching(MemoryStore):
    """Looks a while for what it lacks, as a node of a network does."""

    def __init__(self, inner: MemoryStore) -> None:
        super().__init__()
        self.blocks = inner.blocks
        self._busy, self.most_busy, self._lock = 0, 0, threading.Lock()

    def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
        with self._lock:
            self._busy += 1
            self.most_busy = max(self.most_busy, self._busy)
        try:
            if not self.has_block(cid):
                time.sleep(0.2 if seconds is None else min(seconds, 0.2))
            return super().get_block(cid)
        finally:
            with self._lock:
                self._busy -= 1


@pytest.fixture
def world() -> World:
    spec = TensorSpec("00000.d/kernel", (2, 1), TensorClass.TRAINABLE, -20)
    model = Model(b"{}", 0, (), (spec,), {spec.name: np.zeros((2, 1), np.int32)})
    return World(Task("search", publication_seconds=30), model)


def withheld_round(world: World, **settle: Any) -> Any:
    """A settled round whose updates nobody has, and the state of the chain."""
    round_id = world.launch(max_updates=len(CLIENTS))
    for number, account in enumerate(CLIENTS):
        world.chain(account).submit_update(round_id, Digest(bytes([number + 1]) * 32), 10)
    world.settle(round_id, **settle)
    state = world.ledger.state()
    return state.rounds[round_id], state


def test_withheld_updates_are_looked_for_side_by_side(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.artifacts, "SEARCH_SECONDS", 2.0)
    round_, state = withheld_round(world, publish_report=False)
    store = Searching(world.store)
    rewards = Artifacts(store, world.ledger.chain_id, world.ledger.contract).rewards(round_, state)
    assert [amount for _, amount in rewards] == [0] * len(CLIENTS)
    assert store.most_busy == len(CLIENTS)


def test_the_same_derivation_is_not_made_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.artifacts, "SEARCH_SECONDS", 2.0)
    round_, state = withheld_round(world)
    derivations: list[frozenset[Any]] = []
    derive: Callable[..., Any] = client.artifacts.derive_round

    def counted(*arguments: Any) -> Any:
        derivations.append(arguments[4])
        return derive(*arguments)

    monkeypatch.setattr(client.artifacts, "derive_round", counted)
    artifacts = Artifacts(Searching(world.store), world.ledger.chain_id, world.ledger.contract)
    with pytest.raises(RewardsUnknown):
        artifacts._recomputed(round_, state, round_.updates_hash)  # a root that nothing leads to
    assert derivations == [frozenset(CLIENTS)]
