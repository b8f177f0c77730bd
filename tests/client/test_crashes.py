"""A client that dies at any call to chain, store or disk, before or after the call took effect, and is started again.

Each scenario is the whole life of one update. Whatever died, in the end there is one submission, its bytes are in the
store and were not there before training closed, the pay is taken once, and the residual is that of a client that never died.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import client.feedback
import client.outbox
import client.worker
from client.outbox import Stage
from client.policy import Policy
from client.relay import Handover
from client.trainer import Trained, train
from client.worker import ClientWorker
from network import files
from network.memory_chain import MemoryChain
from network.transfer import fetch
from protocol.events import RewardPaid
from protocol.model import Model
from protocol.state import RoundState
from protocol.task import Task, Training
from protocol.terms import SignedUpdate
from protocol.types import RoundId
from protocol.update import decode_update
from tests.client.conftest import blobs
from tests.client.world import ALICE, CAROL, LIMIT, MALLORY, World, steps
from tests.network.chain_world import address_of, key_of

pytestmark = pytest.mark.slow

TASK = Task("blobs", training=Training(batch_size=8, epochs=2, learning_rate=Fraction(1, 4)), publication_seconds=30)
DATA = blobs(40, 1)
POLICY = Policy(trusted_auditors=frozenset([CAROL]))


class Killed(BaseException):
    """Not an Exception: no handler of the code under test may swallow it, as none survives a kill."""


class Fuse:
    """Counts calls; kills at call number ``at``, before or after it takes effect."""

    def __init__(self, at: int | None, *, after: bool) -> None:
        self.at, self.after, self.calls, self.burnt = at, after, 0, False

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            self.calls += 1
            due = self.calls == self.at and not self.burnt
            if due and not self.after:
                self.burnt = True
                raise Killed
            result = function(*arguments, **more)
            if due:
                self.burnt = True
                raise Killed
            return result

        return call


class Fused:
    """A chain or store whose every method goes through a fuse."""

    def __init__(self, inner: Any, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        return self._fuse.wrap(value) if callable(value) else value


class Relayer:
    """A relay that sends at once. It knows nothing of what it sent before, as after a kill of its own."""

    def __init__(self, world: World) -> None:
        self.world = world

    def hand_in(self, round_: RoundState, update: SignedUpdate) -> str:
        self.world.chain(MALLORY).submit_updates(round_.id, [update])
        return "submitted"


class Scenario:
    """One round of alice's, in which she is started again whenever she dies."""

    def __init__(
        self, model: Model, home: Path, fuse: Fuse, monkeypatch: pytest.MonkeyPatch, relayed: bool = False
    ) -> None:
        self.world, self.home, self.fuse = World(TASK, model), home, fuse
        self.account = address_of("alice") if relayed else ALICE
        self.relay: Any = Fused(Relayer(self.world), fuse) if relayed else None
        self.trainings = 0
        for module in (client.outbox, client.feedback):
            monkeypatch.setattr(module, "write_atomic", fuse.wrap(files.write_atomic))
        monkeypatch.setattr(client.worker, "train", self._train)
        self.chain = Fused(MemoryChain(self.world.ledger, self.account, key_of("alice")), fuse)
        self.store = Fused(self.world.store, fuse)

    def _train(self, base: Model, *arguments: Any, **more: Any) -> Trained:
        self.trainings += 1
        if TRAINED.get("one") is None:  # deterministic, so every scenario may share one real training
            TRAINED["one"] = replace(train(base, *arguments, **more), millis=700)
        return TRAINED["one"]

    def alice(self) -> ClientWorker:
        return ClientWorker(
            self.chain,  # type: ignore[arg-type]
            self.store,  # type: ignore[arg-type]
            self.world.federation,
            DATA,
            self.home,
            POLICY,
            relay=self.relay and Handover(self.relay, 60),
        )

    def run_until_idle(self) -> None:
        while True:
            try:
                steps(self.alice().step)
                return
            except Killed:
                continue

    def play(self) -> RoundId:
        world = self.world
        round_id = world.launch()
        before = set(world.store.blocks)
        self.run_until_idle()
        assert set(world.store.blocks) == before, "bytes were public before training closed"
        world.close(round_id)
        self.run_until_idle()
        world.settle(round_id)
        self.run_until_idle()
        return round_id


TRAINED: dict[str, Trained] = {}


def calls_of_a_quiet_life(
    model: Model, home: Path, monkeypatch: pytest.MonkeyPatch, relayed: bool
) -> tuple[int, bytes]:
    fuse = Fuse(None, after=False)
    scenario = Scenario(model, home, fuse, monkeypatch, relayed)
    scenario.play()
    return fuse.calls, (home / scenario.world.federation.hex() / scenario.account / "residual.npz").read_bytes()


@pytest.mark.parametrize("relayed", [False, True], ids=["own", "relayed"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_client_may_die_anywhere(
    softmax_regression: Callable[[], Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool, relayed: bool
) -> None:
    monkeypatch.setattr(files.os, "fsync", lambda handle: None)  # a kill loses no page cache, and this test kills only
    model = softmax_regression()
    total, residual = calls_of_a_quiet_life(model, tmp_path / "quiet", monkeypatch, relayed)
    assert total > 30
    for at in range(1, total + 1):
        home = tmp_path / str(at)
        scenario = Scenario(model, home, Fuse(at, after=after), monkeypatch, relayed)
        round_id = scenario.play()
        check_the_end(scenario, round_id, home, residual, f"killed at call {at}")


def check_the_end(scenario: Scenario, round_id: RoundId, home: Path, residual: bytes, when: str) -> None:
    world = scenario.world
    assert scenario.fuse.burnt, when
    [submission] = world.submissions(scenario.account)
    update = decode_update(fetch(world.store, submission.digest, LIMIT))
    assert (update.author, update.round) == (scenario.account, round_id), when
    payments = [one.event for one in world.ledger.logs if isinstance(one.event, RewardPaid)]
    assert [(payment.client, payment.amount > 0) for payment in payments] == [(scenario.account, True)], when
    [entry] = scenario.alice().outbox.entries()
    assert entry.stage is Stage.MERGED, when
    assert entry.digest == submission.digest, when
    assert (home / world.federation.hex() / scenario.account / "residual.npz").read_bytes() == residual, when
    # Only a death before the record was written costs a second training.
    assert scenario.trainings <= 2, when


def test_once_the_record_is_written_nothing_is_trained_again(
    softmax_regression: Callable[[], Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = Scenario(softmax_regression(), tmp_path, Fuse(None, after=False), monkeypatch)
    scenario.world.launch()

    def die(*_: Any) -> None:
        raise Killed

    monkeypatch.setattr(scenario.world.ledger, "commit", die)
    with pytest.raises(Killed):
        scenario.alice().step()
    monkeypatch.undo()
    monkeypatch.setattr(client.worker, "train", die)
    assert "committed" in (scenario.alice().step() or "")


@pytest.mark.parametrize("submitted", [False, True])
def test_a_damaged_outbox_is_noticed(
    softmax_regression: Callable[[], Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, submitted: bool
) -> None:
    scenario = Scenario(softmax_regression(), tmp_path, Fuse(None, after=False), monkeypatch)
    round_id = scenario.world.launch()
    alice = scenario.alice()
    if not submitted:
        alice._submit = lambda entry, round_: None  # type: ignore[method-assign]
    alice.step()
    [path] = tmp_path.rglob("delta.safetensors")
    path.write_bytes(b"\0" + path.read_bytes()[1:])
    line = scenario.alice().step()
    if submitted:
        assert line is None
        scenario.world.close(round_id)
        assert "damaged" in (scenario.alice().step() or "")
        assert scenario.alice().outbox.entries()[0].stage is Stage.LOST
    else:
        assert "Training again" in (line or "")
        assert "committed" in (scenario.alice().step() or "")


def test_a_round_that_a_reorganisation_replaced_is_trained_again(
    softmax_regression: Callable[[], Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = Scenario(softmax_regression(), tmp_path, Fuse(None, after=False), monkeypatch)
    scenario.world.launch(bond=1)
    alice = scenario.alice()
    alice._submit = lambda entry, round_: None  # type: ignore[method-assign]
    alice.step()
    other = World(TASK, softmax_regression())  # the same ids, as after a reorganisation, and other terms
    scenario.world, scenario.chain = other, Fused(other.chain(ALICE), scenario.fuse)
    other.launch(bond=2)
    assert "reorganised" in (scenario.alice().step() or "")
    assert "committed" in (scenario.alice().step() or "")
    assert scenario.trainings == 2
