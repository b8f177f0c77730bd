"""A client takes no part in a round that would refuse it for its standing, says why, and comes back when it may."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from client.policy import Policy, RoundRefused
from client.worker import ClientWorker
from network.standing import RecordMissing
from protocol.cid import RAW, Cid, directory_cid
from protocol.merge_terms import Standing
from protocol.model import Model
from protocol.task import Task, Training
from protocol.terms import Phase
from protocol.types import Address, Digest
from tests.client.conftest import blobs
from tests.client.world import ALICE, BOB, CAROL, World

pytestmark = pytest.mark.slow  # TensorFlow takes its seconds to load

TASK = Task("blobs", training=Training(batch_size=8, epochs=1, learning_rate=Fraction(1, 4)), publication_seconds=30)
ADMIT = Standing(use="admit", decay=Fraction(1, 10), least=-500)


def worker(world: World, home: Path, account: Address, **more: Any) -> ClientWorker:
    policy = Policy(trusted_auditors=frozenset([CAROL]))
    return ClientWorker(world.chain(account), world.store, world.federation, blobs(40, 2), home, policy, **more)


def let_down(world: World) -> None:
    """A round in which alice commits a digest and nothing ever comes of it."""
    round_id = world.launch()
    world.chain(ALICE).submit_update(round_id, Digest(b"\7" * 32), 700)
    world.close(round_id)
    world.settle(round_id)
    assert world.round(round_id).phase is Phase.FINAL


@pytest.fixture
def world(softmax_regression: Callable[[], Model]) -> World:
    return World(replace(TASK, standing=ADMIT), softmax_regression())


def test_a_standing_below_the_task_s_least_is_a_reason_not_to_train(world: World, tmp_path: Path) -> None:
    let_down(world)
    world.launch()
    alice = worker(world, tmp_path, ALICE)
    with pytest.raises(RoundRefused, match=r"your standing is -1000, the task admits -500.*rondo standing") as refused:
        alice.step()
    assert refused.value.exit_code == 76
    assert alice.step() is None and alice.outbox.entries() == []  # said once; the next round may be different


def test_others_train_and_it_comes_back_when_its_standing_has_faded(world: World, tmp_path: Path) -> None:
    let_down(world)
    round_id = world.launch()
    assert "committed" in (worker(world, tmp_path, BOB).step() or "")
    world.close(round_id)
    assert "published" in (worker(world, tmp_path, BOB).step() or "")
    world.settle(round_id)
    world.launch()
    assert "committed" in (worker(world, tmp_path, ALICE).step() or "")  # -1000, then -100


@pytest.mark.parametrize("use", ["record", "weight"])
def test_a_task_that_does_not_admit_by_it_refuses_nobody(softmax_regression: Any, tmp_path: Path, use: Any) -> None:
    world = World(replace(TASK, standing=replace(ADMIT, use=use)), softmax_regression())
    let_down(world)
    world.launch()
    assert "committed" in (worker(world, tmp_path, ALICE).step() or "")


def test_a_record_that_is_gone_is_named_and_asked_for_again(world: World, tmp_path: Path) -> None:
    let_down(world)
    (round_,) = world.ledger.state().rounds.values()
    assert round_.settled is not None
    settlement = round_.settled.settlement
    # the report, and its own leaf, which the record's hash names as well
    cids = [directory_cid(settlement.report), Cid(RAW, Digest(settlement.derived_hash))]
    lost = {cid: world.store.blocks.pop(cid) for cid in cids}
    world.launch()
    alice = worker(world, tmp_path, ALICE)
    for _ in range(2):
        with pytest.raises(RecordMissing, match="record of round 1"):
            alice.step()
    world.store.blocks.update(lost)
    with pytest.raises(RoundRefused):
        alice.step()
