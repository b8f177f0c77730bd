"""Rounds that go on from more than a model: organization, auditors and clients derive the same, or say what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditor.rederive import Audit, Verdict, audit_round
from auditor.sources import open_update_or_undecided
from client.artifacts import Artifacts
from client.penalty import anchor_weights, pull_strengths
from network.artifact_tree import artifact_leaves
from network.directory_store import DirectoryStore
from network.memory_store import MemoryStore
from network.past import load_moments, load_past
from network.store import ContentStore
from network.transfer import fetch, fetch_file, publish
from protocol.cid import Cid, directory_cid, parse_cid
from protocol.content import Files
from protocol.errors import ArithmeticRefused, ArtifactRefused, InvalidInput, WrongField, WrongFiles
from protocol.merge_terms import ServerStep
from protocol.model import Model, decode_model, decode_weights, encode_model
from protocol.past import Past
from protocol.retention import Kind
from protocol.rewards import rewards_tree
from protocol.server_state import encode_state
from protocol.specs import trainable_specs
from protocol.task import MergeRule, Task, encode_task
from protocol.tensors import whole
from protocol.terms import FederationTerms, Phase, Settlement
from protocol.types import ZERO_HASH, Digest
from protocol.update import Update
from tests.organization.world import SALT, TOKEN, World
from tests.processor import reference_importance
from tests.processor.factory import TinyRound, account, tiny_model, tiny_task

ADAM = ServerStep("adam", Fraction(1, 100))
PEOPLE = ("alice", "bob", "carol")


def task_of(server: ServerStep = ADAM, rule: str = "fedavg") -> Task:
    merge = MergeRule(rule, examples_cap=1000)  # type: ignore[arg-type]
    return tiny_task(publication_seconds=60, rederivation_margin_seconds=60, server=server, merge=merge)


@pytest.fixture(params=["memory", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ContentStore]:
    yield MemoryStore() if request.param == "memory" else DirectoryStore(tmp_path / "store")


def world_of(task: Task, store: ContentStore | None = None) -> World:
    world = World(task)
    if store is not None:
        world.store = store  # type: ignore[assignment]
    return world


def train(world: World) -> None:
    world.launch()
    world.ledger.advance(30)
    for at, name in enumerate(PEOPLE):
        world.post(name, world.update(name, seed=100 * world.round.index + at))
    world.close_training()


def play(world: World, rounds: int = 1) -> None:
    """Whole rounds, each of them settled and attested."""
    for _ in range(rounds):
        train(world)
        world.worker().settle(world.round.id)
        assert world.round.settled is not None
        world.attest()
        assert world.round.phase is Phase.FINAL


def head(world: World) -> Model:
    return decode_model(fetch(world.store, world.federation.head, 1 << 20))


def state_of(model: Model) -> Digest:
    assert model.server_state is not None
    return model.server_state


def audit(world: World, index: int | None = None) -> Audit:
    round_id = world.round.id if index is None else world.federation.rounds[index - 1]
    return audit_round(world.chain("dave"), world.store, round_id)


# --- a task with adam ---


def test_rounds_with_adam_are_audited(tmp_path: Path, store: ContentStore) -> None:
    world = world_of(task_of(), store)
    world.found(tmp_path / "home")
    states = []
    for _ in range(3):
        play(world)
        states.append(state_of(head(world)))
        assert directory_cid(states[-1]) in world.store.kept()
    assert len(set(states)) == 3
    for index in (1, 2, 3):
        found = audit(world, index)
        assert found.verdict is Verdict.MATCH, (found.differences, found.reason)


def test_without_the_state_nothing_is_decided(tmp_path: Path) -> None:
    world = world_of(task_of())
    world.found(tmp_path)
    play(world, 2)
    base = decode_model(fetch(world.store, world.round.base, 1 << 20))
    lost = directory_cid(state_of(base))
    del world.store.blocks[lost]
    found = audit(world)
    assert found.verdict is Verdict.UNDECIDED and found.result_hash is None and str(lost) in found.reason
    assert audit(world, 1).verdict is Verdict.MATCH  # whose base names none


def test_an_organization_that_goes_on_from_another_state_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of(task_of())
    world.found(tmp_path)
    play(world)

    def tampered(*arguments: object) -> Past:
        past = load_past(*arguments)  # type: ignore[arg-type]
        assert past.moments is not None
        return replace(past, moments={name: (whole(m) + (1 << 20), v) for name, (m, v) in past.moments.items()})

    monkeypatch.setattr("organization.settle.load_past", tampered)
    train(world)
    world.worker().settle(world.round.id)
    found = audit(world)
    assert found.verdict is Verdict.MISMATCH
    assert {"chain.model", "report.model"} <= {difference.where for difference in found.differences}


def test_a_model_that_names_another_state_than_follows_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights are right: only what the next round would go on from is not."""
    world = world_of(task_of())
    world.found(tmp_path)
    real = encode_state

    def heated(step: str, round_: int, moments: dict[str, tuple[object, ...]], specs: object) -> dict[str, bytes]:
        hot = {name: (whole(m) * 2, v) for name, (m, v) in moments.items()}  # type: ignore[arg-type, misc]
        return real(step, round_, hot, specs)  # type: ignore[arg-type]

    train(world)
    with monkeypatch.context() as patch:
        patch.setattr("processor.result.state_contents", heated)
        world.worker().settle(world.round.id)
    found = audit(world)
    assert found.verdict is Verdict.MISMATCH
    assert found.derivation is not None and found.derivation.model is not None
    settled = world.round.settled
    assert settled is not None
    said = decode_model(fetch(world.store, settled.settlement.model, 1 << 20))
    assert said.server_state != found.derivation.model.server_state
    for name, mantissas in said.mantissas.items():
        assert np.array_equal(mantissas, found.derivation.model.mantissas[name])


def test_an_update_that_goes_while_it_is_read_leaves_the_round_undecided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was whole when it was opened, and its bytes are read only when they are merged."""
    world = world_of(task_of(), DirectoryStore(tmp_path / "store"))
    world.found(tmp_path / "home")
    play(world)
    blocks = tmp_path / "store" / "blocks"

    def then_gone(store: ContentStore, digest: Digest, **options: Any) -> Files:
        files = open_update_or_undecided(store, digest, **options)
        for leaf in artifact_leaves(directory_cid(digest), Kind.UPDATE, 1 << 20, store.get_block):
            next(blocks.rglob(str(leaf.cid))).unlink()
        return files

    monkeypatch.setattr("auditor.rederive.open_update_or_undecided", then_gone)
    found = audit(world)
    assert found.verdict is Verdict.UNDECIDED and "is gone" in found.reason


# --- a base that names what is no state of the task ---


CHANGES = {"step": WrongField, "round": WrongField, "files": WrongFiles, "bytes": ArtifactRefused}


def based_on(change: str) -> World:
    """A federation that other software than ours created: its first model names a state that is not one."""
    world, model = world_of(task_of()), tiny_model()
    moments = {spec.name: (np.zeros(spec.shape, np.int64),) * 2 for spec in trainable_specs(model.specs)}
    files = encode_state("yogi" if change == "step" else "adam", 3 if change == "round" else 0, moments, model.specs)
    if change == "files":
        files["more.json"] = b"{}"
    if change == "bytes":
        files["first.safetensors"] += b"\0"
    model = replace(model, server_state=publish(world.store, files))
    terms = FederationTerms(
        token=TOKEN,
        task=publish(world.store, encode_task(world.task)),
        model=publish(world.store, encode_model(model)),
        forfeit_to=account("charity"),
        quorum=1,
        admission_root=ZERO_HASH,
        auditors=(account("dave"),),
    )
    world.chain().create_federation(SALT, terms)
    return world


@pytest.mark.parametrize("change", CHANGES)
def test_no_round_is_launched_from_a_model_whose_state_is_none(change: str) -> None:
    with pytest.raises(CHANGES[change]):
        based_on(change).launch()


@pytest.mark.parametrize("change", CHANGES)
def test_of_a_round_that_other_software_launched_from_it_nothing_is_decided(change: str) -> None:
    world = based_on(change)
    world.chain().launch_round(world.federation_id, world.federation.head, world.terms)
    world.ledger.advance(30)
    world.post("alice")
    world.close_training()
    with pytest.raises(CHANGES[change]):
        world.worker().settle(world.round.id)
    nothing = Settlement(world.round.updates_hash, world.round.base, Digest(bytes(32)), ZERO_HASH, ZERO_HASH, 0)
    world.chain().settle(world.round.id, nothing)
    found = audit(world)
    assert found.verdict is Verdict.UNDECIDED and "No result follows" in found.reason


def test_a_federation_is_not_created_with_a_model_that_names_a_state(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="first model"):
        world_of(task_of()).found(tmp_path, replace(tiny_model(), server_state=Digest(bytes(32))))


def test_a_federation_is_not_created_whose_step_its_grids_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(ArithmeticRefused, match="tau"):
        world_of(task_of(replace(ADAM, tau=Fraction(10**6)))).found(tmp_path)


def test_a_plain_task_takes_no_state() -> None:
    world = based_on("none")
    base = decode_model(fetch(world.store, world.federation.head, 1 << 20))
    assert load_moments(world.store, task_of(), base) is not None
    with pytest.raises(WrongFiles, match="plain"):
        load_moments(world.store, task_of(ServerStep()), base)


# --- a task with FedCurv ---


def test_rounds_with_fedcurv_are_audited_and_their_anchors_served(tmp_path: Path, store: ContentStore) -> None:
    world = world_of(task_of(ServerStep(), "fedcurv"), store)
    world.found(tmp_path / "home")
    anchors: list[Cid] = []
    for index in (1, 2, 3):
        base = head(world)
        play(world)
        model = head(world)
        assert model.anchor is not None and model.importance is not None
        anchors.append(parse_cid(model.anchor))
        assert anchors[-1] in world.store.kept()
        updates = [update_of(world, base, name, index) for name in PEOPLE]
        expected = reference_importance.fedcurv(base, updates)[1]
        found = decode_weights(fetch_file(world.store, anchors[-1], 1 << 20), model.specs)
        assert {name: found[name].reshape(-1).tolist() for name in expected} == expected
        assert audit(world).verdict is Verdict.MATCH
    assert len(set(anchors)) == 3
    assert audit(world, 1).verdict is Verdict.MATCH


def update_of(world: World, base: Model, name: str, index: int) -> Update:
    at = PEOPLE.index(name)
    return TinyRound(world.task, world.terms, base, index).update(name, seed=100 * index + at)


def test_clients_are_held_by_the_anchor_that_the_round_left(tmp_path: Path) -> None:
    world = world_of(task_of(ServerStep(), "fedcurv"))
    world.found(tmp_path)
    play(world)
    artifacts = Artifacts(world.store, world.ledger.chain_id, world.ledger.contract)
    model = head(world)
    anchor = artifacts.anchor(model, world.task)
    strengths = pull_strengths(model, world.task)
    assert anchor is not None and strengths is not None
    assert set(anchor_weights(model, anchor)) == set(strengths) == set(model.importance or {})
    assert any(not np.array_equal(anchor[name], model.mantissas[name]) for name in strengths)


def test_no_round_of_fedcurv_is_launched_to_consolidate(tmp_path: Path) -> None:
    world = world_of(task_of(ServerStep(), "fedcurv"))
    world.found(tmp_path)
    with pytest.raises(InvalidInput, match="consolidate"):
        world.launch(consolidate=True)


# --- clients ---


@pytest.mark.parametrize("task", [task_of(), task_of(ServerStep(), "fedcurv")], ids=["adam", "fedcurv"])
def test_clients_prove_their_pay_where_the_report_is_gone(tmp_path: Path, task: Task) -> None:
    world = world_of(task)
    world.found(tmp_path)
    play(world, 2)
    settled = world.round.settled
    assert settled is not None
    del world.store.blocks[directory_cid(settled.settlement.report)]
    artifacts = Artifacts(world.store, world.ledger.chain_id, world.ledger.contract)
    rewards = artifacts.rewards(world.round, world.state)
    assert rewards_tree(world.round.id, rewards).root == settled.settlement.rewards_root
