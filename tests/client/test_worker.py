"""One client's rounds from training to pay, on the chain and store in memory and with real TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import client.worker
from client.feedback import FeedbackStore, decode_residual
from client.loop import run_worker
from client.outbox import Stage
from client.policy import Policy, RoundRefused
from client.problems import FIRST_PAUSE_SECONDS
from client.quantise import quantise
from client.trainer import Trained, TrainingFailed, train
from client.worker import LAST_CALL_SECONDS, ClientWorker, SecondClient
from network.memory_chain import MemoryChain
from network.transfer import fetch
from processor.round import Derivation
from protocol.cid import RAW, block_cid, directory_cid
from protocol.errors import ChainUnavailable, InvalidInput, KeyError_, NotFinite, TransactionReverted
from protocol.merkle import MerkleTree, admission_leaf
from protocol.model import Model, decode_model
from protocol.report import derived_hash, encode_derived
from protocol.task import Task, Training
from protocol.terms import PayBasis, Phase
from protocol.types import Digest, RoundId
from protocol.unixfs import Block
from protocol.update import decode_update
from tests.client.conftest import blobs
from tests.client.world import ACME, ALICE, BOB, CAROL, LIMIT, MALLORY, TERMS, World, steps

pytestmark = pytest.mark.slow  # TensorFlow takes its seconds to load; the tests themselves are quick

TASK = Task("blobs", training=Training(batch_size=8, epochs=3, learning_rate=Fraction(1, 4)), publication_seconds=30)
DATA = blobs(60, 1)
TRUSTING = Policy(trusted_auditors=frozenset([CAROL]))


@pytest.fixture
def world(softmax_regression: Callable[[], Model]) -> World:
    return World(TASK, softmax_regression())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture(autouse=True)
def one_training_a_round(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Real trainings, but each distinct one runs once: a seed decides everything. Yields the seeds asked for."""
    asked: list[int] = []

    def remembered(base: Model, *arguments: Any, seed: int, consolidate: bool, **more: Any) -> Trained:
        asked.append(seed)
        weights = b"".join(value.tobytes() for value in base.mantissas.values())
        key = (base.round, weights, seed, consolidate)
        if key not in TRAININGS:
            TRAININGS[key] = replace(train(base, *arguments, seed=seed, consolidate=consolidate, **more), millis=700)
        return TRAININGS[key]

    monkeypatch.setattr(client.worker, "train", remembered)
    yield asked


TRAININGS: dict[Any, Trained] = {}


def worker(world: World, home: Path, account: Any = ALICE, policy: Policy = TRUSTING, **more: Any) -> ClientWorker:
    data = DATA if account == ALICE else blobs(40, 2)
    return ClientWorker(world.chain(account), world.store, world.federation, data, home, policy, **more)


# --- refusals ---


def test_a_chain_without_an_account_is_refused(world: World, home: Path) -> None:
    with pytest.raises(KeyError_):
        ClientWorker(MemoryChain(world.ledger), world.store, world.federation, DATA, home, TRUSTING)


def test_an_unaudited_federation_is_refused_unless_told_otherwise(
    softmax_regression: Callable[[], Model], home: Path
) -> None:
    world = World(TASK, softmax_regression(), audited=False)
    world.launch()
    with pytest.raises(InvalidInput, match="no auditors"):
        worker(world, home).step()
    assert "committed" in (worker(world, home, policy=Policy(allow_unaudited=True)).step() or "")


def test_auditors_outside_the_owners_list_are_refused_unless_told_otherwise(world: World, home: Path) -> None:
    world.launch()
    with pytest.raises(InvalidInput, match=CAROL):
        worker(world, home, policy=Policy(trusted_auditors=frozenset([MALLORY]))).step()
    assert "committed" in (worker(world, home, policy=Policy(trusted_auditors=None)).step() or "")


@pytest.mark.parametrize(
    ("terms", "why"),
    [
        ({"settlement_seconds": 30}, "settlement window"),
        ({"challenge_seconds": 90}, "challenge window"),
        ({"max_updates": 1 << 22}, "4194304 updates"),
        ({"reward_per_milli": 0}, "0 base units"),
        ({"time_cap_millis": 0}, "by time"),
    ],
)
def test_terms_that_could_leave_work_unpaid_are_refused(
    world: World, home: Path, one_training_a_round: list[int], terms: dict[str, Any], why: str
) -> None:
    world.launch(**terms)
    alice = worker(world, home)
    with pytest.raises(RoundRefused, match=why):
        alice.step()
    assert alice.step() is None  # said once, and the worker waits for the next round
    assert one_training_a_round == []


def test_the_boundaries_of_the_windows_are_enough(world: World, home: Path) -> None:
    world.launch(settlement_seconds=31, challenge_seconds=91)
    assert "committed" in (worker(world, home).step() or "")


def test_what_a_round_pays_is_said_before_training(world: World, home: Path) -> None:
    said: list[str] = []
    world.launch(reward_per_milli=0)
    worker(world, home, policy=replace(TRUSTING, allow_unpaid=True), say=said.append).step()
    assert said[0].startswith("round 1: training for 0 base units per ms")


def test_a_client_that_is_not_admitted_is_told_so(world: World, home: Path) -> None:

    tree = MerkleTree([admission_leaf(ALICE), admission_leaf(BOB)])
    world.chain(ACME).set_admission(world.federation, tree.root)
    world.launch()
    with pytest.raises(RoundRefused, match="not joined"):
        worker(world, home).step()
    world.chain(ALICE).join(world.federation, ALICE, tree.proof(admission_leaf(ALICE)))
    assert "committed" in (worker(world, home).step() or "")


def test_diverged_training_commits_nothing_and_is_not_repeated(
    world: World, home: Path, monkeypatch: pytest.MonkeyPatch, one_training_a_round: list[int]
) -> None:
    honest = client.worker.train

    def diverged(*arguments: Any, **more: Any) -> Trained:
        trained = honest(*arguments, **more)
        return replace(trained, weights={name: value * np.float32(np.nan) for name, value in trained.weights.items()})

    monkeypatch.setattr(client.worker, "train", diverged)
    world.launch()
    alice = worker(world, home)
    with pytest.raises(NotFinite, match="diverged"):
        alice.step()
    assert steps(alice.step) == []
    assert world.submissions(ALICE) == []
    assert len(one_training_a_round) == 1


def test_a_model_that_cannot_be_trained_is_passed_over_once(
    world: World, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def failing(*_: Any, seed: int, **__: Any) -> Trained:
        asked.append(seed)
        raise TrainingFailed("The model cannot be trained.", "A Reshape does not fit.", "Tell the organization.")

    honest = client.worker.train
    monkeypatch.setattr(client.worker, "train", failing)
    world.close(world.launch())
    world.launch()
    said: list[str] = []
    waits: list[float] = []
    alice = worker(world, home)
    run_worker(alice, poll_seconds=0.1, stopped=lambda: len(waits) > 3, say=said.append, sleep=waits.append)
    assert sum("A Reshape does not fit" in line for line in said) == 1
    assert len(asked) == 1
    monkeypatch.setattr(client.worker, "train", honest)
    world.ledger.advance(TERMS.training_seconds)
    world.launch()
    assert "committed" in (alice.step() or "")


def test_an_update_of_another_process_with_the_same_key_is_named(world: World, home: Path) -> None:
    round_id = world.launch()
    alice = worker(world, home)
    alice._submit = lambda entry, round_: None  # type: ignore[method-assign] - dies after the outbox, before the chain
    alice.step()
    world.chain(ALICE).submit_update(round_id, Digest(b"\1" * 32), 5)
    with pytest.raises(SecondClient, match="Another process"):
        worker(world, home).step()
    assert worker(world, home).outbox.entries()[0].stage is Stage.FOREIGN


def test_an_update_made_with_another_home_is_neither_repeated_nor_contested(world: World, home: Path) -> None:
    world.launch()
    worker(world, home / "first").step()
    said: list[str] = []
    assert steps(worker(world, home / "second", say=said.append).step) == []
    assert "but not in" in said[0]
    assert len(world.submissions(ALICE)) == 1


# --- a round ---


def test_a_round_from_training_to_pay(world: World, home: Path) -> None:
    round_id = world.launch()
    alice = worker(world, home)
    [line] = steps(alice.step)
    assert "committed" in line
    mine = world.round(round_id).update_of(ALICE)
    assert mine is not None
    assert mine.millis == 700

    world.close(round_id)
    [line] = steps(alice.step)
    assert "published" in line
    update = decode_update(fetch(world.store, mine.digest, LIMIT))
    assert (update.author, update.round, update.federation) == (ALICE, round_id, world.federation)
    assert (update.base, update.examples, update.steps) == (world.round(round_id).base, 60, 24)

    world.settle(round_id)
    merged, claimed = steps(alice.step)
    assert "final, the update was merged" in merged
    credit = min(700, 24 * 5 * 4)
    assert f"claimed {credit * TERMS.reward_per_milli} base units" in claimed
    assert world.chain(ALICE).balance_of(world_token(world), ALICE) == credit * TERMS.reward_per_milli
    assert alice.finished == 1


def world_token(world: World) -> Any:
    return world.ledger.state().federations[world.federation].terms.token


def test_nothing_is_published_before_training_closes(world: World, home: Path) -> None:
    round_id = world.launch()
    alice = worker(world, home)
    before = set(world.store.blocks)
    steps(alice.step)
    world.ledger.advance_to(world.round(round_id).training_ends - 1)
    assert steps(alice.step) == []
    assert set(world.store.blocks) == before


def test_the_last_update_closes_training_and_bytes_follow_at_once(world: World, home: Path) -> None:
    round_id = world.launch()
    alice, bob = worker(world, home), worker(world, home, BOB)
    steps(alice.step)
    assert ["committed" in line for line in steps(bob.step)] == [True, False]  # bob's second line: published
    assert ["published" in line for line in steps(alice.step)] == [True]
    assert world.round(round_id).phase is Phase.SETTLEMENT


def test_milliseconds_are_stated_as_far_as_the_contract_takes_them(world: World, home: Path) -> None:
    said: list[str] = []
    round_id = world.launch(max_millis=500, time_cap_millis=100)
    steps(worker(world, home, say=said.append).step)
    assert [update.millis for update in world.round(round_id).updates] == [500]
    assert any("the contract takes 500" in line for line in said)


def test_a_training_shorter_than_a_block_waits_for_the_chains_clock(world: World, home: Path) -> None:
    said: list[str] = []
    head = world.ledger.state().federations[world.federation].head
    round_id = world.chain(ACME).launch_round(world.federation, head, TERMS)
    alice = worker(world, home, say=said.append)
    assert steps(alice.step) == []
    assert world.round(round_id).updates == ()
    assert any("waiting for the chain's clock" in line for line in said)
    world.ledger.advance(60)
    steps(alice.step)
    measured = alice.outbox.get(round_id)
    assert measured is not None and measured.millis > 0
    assert [update.millis for update in world.round(round_id).updates] == [measured.millis]


def test_near_the_end_less_pay_is_better_than_none(world: World, home: Path) -> None:
    head = world.ledger.state().federations[world.federation].head
    short = replace(TERMS, training_seconds=LAST_CALL_SECONDS)
    round_id = world.chain(ACME).launch_round(world.federation, head, short)
    steps(worker(world, home).step)
    assert [update.millis for update in world.round(round_id).updates] == [0]


def test_a_client_that_comes_too_late_loses_nothing(world: World, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    round_id = world.launch()
    said: list[str] = []
    alice = worker(world, home, say=said.append)
    honest = client.worker.train

    def slow(*arguments: Any, **more: Any) -> Trained:
        world.close(round_id)
        return honest(*arguments, **more)

    monkeypatch.setattr(client.worker, "train", slow)
    assert steps(alice.step) == []  # the chain refused; what it shows next decides
    assert any("WrongPhase" in line for line in said)
    assert "closed before the update was on chain" in (alice.step() or "")
    assert world.submissions(ALICE) == []
    monkeypatch.setattr(client.worker, "train", honest)
    second = world.launch()
    assert "committed" in steps(alice.step)[0]
    assert [event.round for event in world.submissions(ALICE)] == [second]


def test_a_late_publication_is_still_made(world: World, home: Path) -> None:
    round_id = world.launch()
    steps(worker(world, home).step)
    world.close(round_id)
    world.ledger.advance(TASK.publication_seconds + 1)
    world.settle(round_id)  # without alice's bytes: unavailable
    lines = steps(worker(world, home).step)
    assert "published" in lines[0]
    assert "not merged" in lines[1]


def test_rounds_follow_each_other_with_importance_anchor_and_residual(world: World, home: Path) -> None:
    alice, bob = worker(world, home), worker(world, home, BOB)
    for index in (1, 2, 3):
        round_id = world.launch(consolidate=index == 2)
        steps(alice.step)
        steps(bob.step)
        steps(alice.step)
        world.settle(round_id)
        assert "was merged" in steps(alice.step)[0]
        steps(bob.step)
    head = decode_model(fetch(world.store, world.ledger.state().federations[world.federation].head, LIMIT))
    assert head.round == 3
    assert head.importance is not None
    assert head.anchor is not None
    assert alice.finished == bob.finished == 3
    assert (home / world.federation.hex() / ALICE / "residual.npz").exists()
    state = world.ledger.state()
    assert all(update.paid for one in state.rounds.values() for update in one.updates)


def test_the_residual_is_added_to_the_next_update(world: World, home: Path) -> None:
    """What is sent plus what is left is what was trained plus what was left before, to the grid step."""
    round_id = world.launch(max_updates=1)
    alice = worker(world, home)
    steps(alice.step)
    world.settle(round_id)
    steps(alice.step)
    path = home / world.federation.hex() / ALICE / "residual.npz"
    left = FeedbackStore(path, TASK.feedback).kept(2)
    assert left is not None
    assert any(value.any() for value in left.values())
    TRAININGS.clear()
    second = world.launch(max_updates=1)
    before = decode_residual(path.read_bytes())
    alice.step()
    [entry] = [one for one in alice.outbox.entries() if one.round == second]
    update = decode_update(alice.outbox.files(entry))
    base = decode_model(fetch(world.store, world.round(second).base, LIMIT))
    trained = list(TRAININGS.values())[-1]
    with_left = quantise(base, trained.weights, "int16", left)
    without = quantise(base, trained.weights, "int16", None)
    assert all(np.array_equal(update.deltas[name], with_left.deltas[name]) for name in update.deltas)
    assert any(not np.array_equal(update.deltas[name], without.deltas[name]) for name in update.deltas)
    assert decode_residual(path.read_bytes())[0] == before[0] == 1  # pending until the round is decided


# --- other outcomes ---


def test_an_abandoned_round_restores_the_residual_and_pays_by_time(world: World, home: Path) -> None:
    round_id = world.launch()
    alice = worker(world, home)
    steps(alice.step)
    world.ledger.advance_to(world.round(round_id).settlement_ends)
    lines = steps(alice.step)
    assert "abandoned, the update was not merged" in lines[1]
    assert f"claimed {700 * TERMS.reward_per_milli}" in lines[2]
    assert not (home / world.federation.hex() / ALICE / "residual.npz").exists()


def test_an_unconfirmed_round_moves_the_head_and_pays_by_time(world: World, home: Path) -> None:
    round_id = world.launch(time_cap_millis=100)
    alice = worker(world, home)
    steps(alice.step)
    world.close(round_id)
    steps(alice.step)
    world.settle(round_id, attest=False)
    world.ledger.advance(TERMS.challenge_seconds)
    assert world.round(round_id).phase is Phase.UNCONFIRMED
    lines = steps(alice.step)
    assert "the update was merged" in lines[0]
    assert f"claimed {100 * TERMS.reward_per_milli}" in lines[1]


@pytest.mark.parametrize("how", ["published", "recomputed"])
def test_a_rejected_round_pays_by_the_result_that_the_auditors_revealed(world: World, home: Path, how: str) -> None:
    round_id = world.launch()
    alice, bob = worker(world, home), worker(world, home, BOB)
    steps(alice.step)
    steps(bob.step)
    steps(alice.step)
    honest, cheating = world.derive(round_id), world.derive(round_id, refuse=frozenset([ALICE]))
    world.settle(round_id, cheating, attested=honest)
    assert world.round(round_id).phase is Phase.REJECTED
    assert "rejected, the update was not merged" in steps(alice.step)[0]
    derived = honest.derived

    if how == "published":
        data = encode_derived(derived)
        world.store.put_block(Block(block_cid(RAW, data), data))
    world.chain(CAROL).reveal(
        round_id, derived.model, derived_hash(derived), derived.rewards_root, derived.rewards_total
    )
    assert world.round(round_id).basis is PayBasis.RESULT
    [line] = steps(alice.step)
    assert "claimed 1440 base units" in line


def test_rewards_are_recomputed_where_the_report_is_gone(world: World, home: Path) -> None:
    round_id = world.launch()
    alice = worker(world, home)
    steps(alice.step)
    world.close(round_id)
    steps(alice.step)
    world.settle(round_id, publish_report=False)
    lines = steps(alice.step)
    assert "was not merged" in lines[0]  # nobody can tell: the residual is restored
    assert "claimed 1440 base units" in lines[1]


def test_rewards_that_nobody_can_prove_are_named_once_and_stay_due(world: World, home: Path) -> None:
    round_id = world.launch()
    said: list[str] = []
    alice = worker(world, home, say=said.append)
    steps(alice.step)
    world.close(round_id)
    steps(alice.step)
    world.settle(round_id, publish_report=False)
    mine = world.round(round_id).update_of(ALICE)
    assert mine is not None

    block = world.store.blocks.pop(directory_cid(mine.digest))
    assert len(steps(alice.step)) == 1
    steps(alice.step)
    assert sum("cannot be proved" in line for line in said) == 1
    world.store.blocks[directory_cid(mine.digest)] = block
    assert steps(alice.step) == []  # looking is not free, and nothing is lost by waiting
    world.ledger.advance(FIRST_PAUSE_SECONDS)
    assert "claimed" in steps(alice.step)[0]


def test_pay_is_left_alone_where_told_so(world: World, home: Path) -> None:
    round_id = world.launch()
    alice = worker(world, home, claims=False)
    steps(alice.step)
    world.close(round_id)
    steps(alice.step)
    world.settle(round_id)
    assert ["claimed" in line for line in steps(alice.step)] == [False]


def test_several_rounds_are_claimed_in_one_transaction(world: World, home: Path) -> None:
    alice = worker(world, home, claims=False)
    for _ in range(2):
        round_id = world.launch(max_updates=1)
        steps(alice.step)
        world.settle(round_id)
        steps(alice.step)
    before = world.ledger.block
    [line] = steps(worker(world, home).step)
    assert "for round 1, 2" in line
    assert world.ledger.block == before + 1


def test_a_claim_that_reverts_does_not_end_the_worker(
    world: World, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    alice = worker(world, home, say=said.append)
    round_id = world.launch(max_updates=1)
    steps(alice.step)
    world.settle(round_id)

    def refuse(*_: Any) -> Any:
        raise TransactionReverted("NoReason")

    monkeypatch.setattr(alice._chain, "claim", refuse)
    assert ["was merged" in line for line in steps(alice.step)] == [True]
    assert sum("NoReason" in line for line in said) == 1
    second = world.launch(max_updates=1)
    assert "committed" in steps(alice.step)[0]
    monkeypatch.undo()
    world.settle(second)
    world.ledger.advance(2 * FIRST_PAUSE_SECONDS)  # it was tried, and refused, again meanwhile
    assert "for round 1, 2" in steps(alice.step)[1]


# --- the loop ---


def test_the_loop_ends_after_its_rounds_and_begins_no_other(world: World, home: Path) -> None:
    alice = worker(world, home, rounds=1)
    round_ids = [world.launch(max_updates=1)]
    said: list[str] = []

    def organization(_: float) -> None:
        if world.round(round_ids[-1]).phase is Phase.SETTLEMENT:
            world.settle(round_ids[-1])
            round_ids.append(world.launch(max_updates=1))

    run_worker(alice, poll_seconds=0.1, stopped=lambda: False, say=said.append, sleep=organization)
    assert len(world.submissions(ALICE)) == 1
    assert "claimed" in said[-1]


def rejected(world: World, alice: ClientWorker, home: Path) -> tuple[RoundId, Derivation]:
    """A round that carol rejects, with her own result not yet revealed."""
    round_id = world.launch()
    bob = worker(world, home, BOB)
    for one in (alice, bob, alice):
        steps(one.step)
    honest, cheating = world.derive(round_id), world.derive(round_id, refuse=frozenset([ALICE]))
    world.settle(round_id, cheating, attested=honest)
    return round_id, honest


def test_the_loop_does_not_end_before_a_rejected_rounds_pay_is_decided_and_taken(world: World, home: Path) -> None:
    alice = worker(world, home, rounds=1)
    round_id, honest = rejected(world, alice, home)
    assert len(steps(alice.step)) == 1
    assert alice.finished == 1
    said: list[str] = []
    waits: list[float] = []

    def reveal(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            derived = honest.derived
            world.chain(CAROL).reveal(
                round_id, derived.model, derived_hash(derived), derived.rewards_root, derived.rewards_total
            )

    run_worker(alice, poll_seconds=0.1, stopped=lambda: len(waits) > 9, say=said.append, sleep=reveal)
    assert len(waits) == 3
    assert "claimed 1440 base units" in said[-1]


def test_the_loop_waits_for_pay_that_comes_by_time_where_nobody_reveals(world: World, home: Path) -> None:
    alice = worker(world, home, rounds=1)
    round_id, _ = rejected(world, alice, home)
    said: list[str] = []

    def wait(_: float) -> None:
        world.ledger.advance_to(world.round(round_id).reveal_ends or 0)

    run_worker(alice, poll_seconds=0.1, stopped=lambda: False, say=said.append, sleep=wait)
    assert f"claimed {700 * TERMS.reward_per_milli} base units" in said[-1]


def test_the_loop_waits_for_no_pay_where_claims_are_off(world: World, home: Path) -> None:
    alice = worker(world, home, rounds=1, claims=False)
    rejected(world, alice, home)
    waits: list[float] = []
    run_worker(alice, poll_seconds=0.1, stopped=lambda: bool(waits), say=lambda line: None, sleep=waits.append)
    assert waits == []


def test_a_round_that_vanished_from_the_chain_does_not_count(
    world: World, home: Path, softmax_regression: Callable[[], Model]
) -> None:
    world.close(world.launch())
    world.launch()
    steps(worker(world, home, rounds=1).step)  # alice has an update of round 2
    other = World(TASK, softmax_regression())  # after a reorganisation: there is no round 2 yet
    round_id = other.launch(max_updates=1)
    alice = worker(other, home, rounds=1)
    assert [entry.index for entry in alice.outbox.entries()] == [2]
    said: list[str] = []

    def organization(_: float) -> None:
        if other.round(round_id).phase is Phase.SETTLEMENT:
            other.settle(round_id)

    waits = iter(range(9))
    run_worker(
        alice,
        poll_seconds=0.1,
        stopped=lambda: next(waits, None) is None,
        say=said.append,
        sleep=organization,
    )
    assert "committed" in said[0]
    assert "for round 1" in said[-1]
    assert next(waits, None) is not None, "the loop did not end by itself"


def test_the_loop_waits_out_a_node_that_does_not_answer_and_says_so_once(
    world: World, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.launch(max_updates=1)
    alice = worker(world, home, rounds=1)
    waits: list[float] = []
    said: list[str] = []
    state = alice._chain.state

    def flaky() -> Any:
        if len(waits) < 4:
            raise ChainUnavailable("The node does not answer.")
        return state()

    monkeypatch.setattr(alice._chain, "state", flaky)
    run_worker(alice, poll_seconds=0.1, stopped=lambda: len(waits) > 4, say=said.append, sleep=waits.append)
    assert sum("does not answer" in line for line in said) == 1
    assert any("committed" in line for line in said)


def test_a_refused_round_does_not_end_the_loop(world: World, home: Path) -> None:
    refused = world.launch(challenge_seconds=10)
    said: list[str] = []
    waits: list[float] = []
    alice = worker(world, home)
    run_worker(alice, poll_seconds=0.1, stopped=lambda: bool(waits), say=said.append, sleep=waits.append)
    assert "challenge window" in said[0]
    world.close(refused)
    world.launch()
    assert "committed" in (alice.step() or "")
