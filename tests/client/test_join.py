"""Joining: what is refused first; then the command, and a worker that says what is missing before it trains."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

import client.join
import client.session
from client.cli import app
from client.join import join_federation, prover_of
from client.loop import run_worker
from client.policy import NotJoined, Policy, RoundRefused
from network.memory_chain import MemoryChain
from protocol.admission import AdmissionList, NotAdmitted, proof_document
from protocol.errors import InvalidInput, KeyError_, SettingsError, TransactionReverted, UnknownFederation
from protocol.model import Model
from protocol.types import ZERO_HASH, FederationId, Hash, hex32
from tests.client.test_worker import TASK, TRUSTING, worker
from tests.client.world import ACME, ALICE, BOB, MALLORY, World

LISTED = AdmissionList.of([ALICE, BOB])


@pytest.fixture
def world(softmax_regression: Callable[[], Model]) -> World:
    world = World(TASK, softmax_regression())
    world.chain(ACME).set_admission(world.federation, LISTED.root)
    return world


@pytest.fixture
def clients(tmp_path: Path) -> Path:
    path = tmp_path / "clients.txt"
    path.write_text(f"{ALICE}\n{BOB} # bob\n")
    return path


@pytest.fixture
def proof(tmp_path: Path, world: World) -> Path:
    path = tmp_path / "proof.json"
    path.write_text(json.dumps(proof_document(LISTED.proof(world.federation, ALICE))))
    return path


def joined(world: World) -> frozenset[tuple[Hash, Any]]:
    return world.ledger.state().federations[world.federation].joined


# --- refusals: nothing is sent ---


def test_one_of_proof_and_list_is_named(clients: Path, proof: Path) -> None:
    for words in ((None, None), (proof, clients)):
        with pytest.raises(InvalidInput, match="Joining needs --proof or --list"):
            prover_of(*words)


@pytest.mark.parametrize("content", [None, "directory"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "file"
    if content:
        path.mkdir()
    for words in ((path, None), (None, path)):
        with pytest.raises(InvalidInput, match=f"{path} cannot be read"):
            prover_of(*words)


def test_a_bad_list_is_refused_by_line_before_anything_is_opened(clients: Path) -> None:
    clients.write_text(f"{ALICE}\n0x12\n")
    with pytest.raises(InvalidInput, match="line 2: '0x12': not an address"):
        prover_of(None, clients)
    clients.write_bytes(b"\xff")
    with pytest.raises(InvalidInput, match="no UTF-8"):
        prover_of(None, clients)


def test_a_file_of_any_length_is_not_read_into_memory(proof: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.join, "MAX_PROOFS_BYTES", 10)
    with pytest.raises(InvalidInput, match="more than 10 bytes"):
        prover_of(proof, None)


def test_who_is_not_listed_is_told_so(world: World, clients: Path, proof: Path) -> None:
    for words in ((None, clients), (proof, None)):
        with pytest.raises(NotAdmitted, match=f"{MALLORY} is not on the list"):
            join_federation(world.chain(MALLORY), world.federation, prover_of(*words))
    assert joined(world) == frozenset()


def test_a_proof_for_another_federation_is_named(world: World, tmp_path: Path) -> None:
    path, other = tmp_path / "other.json", FederationId(b"\1" * 32)
    path.write_text(json.dumps(proof_document(LISTED.proof(other, ALICE))))
    with pytest.raises(InvalidInput, match=f"for federation {hex32(other)}"):
        join_federation(world.chain(ALICE), world.federation, prover_of(path, None))


def test_a_list_that_is_no_longer_the_federations_is_named(world: World, clients: Path, proof: Path) -> None:
    now = AdmissionList.of([ALICE, MALLORY]).root
    world.chain(ACME).set_admission(world.federation, now)
    for words in ((None, clients), (proof, None)):
        with pytest.raises(InvalidInput, match=f"{hex32(LISTED.root)}.*{hex32(now)} now"):
            join_federation(world.chain(ALICE), world.federation, prover_of(*words))


def test_a_chain_without_an_account_and_an_unknown_federation_are_refused(world: World, clients: Path) -> None:
    with pytest.raises(KeyError_):
        join_federation(MemoryChain(world.ledger), world.federation, prover_of(None, clients))
    with pytest.raises(UnknownFederation):
        join_federation(world.chain(ALICE), FederationId(b"\1" * 32), prover_of(None, clients))


def test_what_the_contract_refuses_after_all_is_raised(
    world: World, clients: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise TransactionReverted("InvalidProof")

    chain = world.chain(ALICE)
    monkeypatch.setattr(chain, "join", refuse)
    with pytest.raises(TransactionReverted, match="InvalidProof"):
        join_federation(chain, world.federation, prover_of(None, clients))


# --- joining ---


@pytest.mark.parametrize("by", ["list", "proof", "all proofs"])
def test_a_listed_client_joins(world: World, clients: Path, proof: Path, by: str) -> None:
    if by == "all proofs":
        proof.write_text(json.dumps(LISTED.document(world.federation)))
    words = (None, clients) if by == "list" else (proof, None)
    answer = join_federation(world.chain(ALICE), world.federation, prover_of(*words))
    assert joined(world) == {(LISTED.root, ALICE)}
    assert answer == {
        "account": ALICE,
        "federation": hex32(world.federation),
        "open": False,
        "root": hex32(LISTED.root),
        "joined": True,
        "transaction": hex32(world.ledger.logs[-1].transaction),
        "counts_from_round": 1,
    }


def test_joining_again_sends_nothing_and_needs_no_right_proof(world: World, clients: Path, tmp_path: Path) -> None:
    first = join_federation(world.chain(ALICE), world.federation, prover_of(None, clients))
    clients.write_text(f"{BOB}\n")
    blocks = world.ledger.block
    again = join_federation(world.chain(ALICE), world.federation, prover_of(None, clients))
    assert again == first | {"transaction": None}
    assert world.ledger.block == blocks


def test_whom_somebody_else_joins_meanwhile_is_joined(
    world: World, clients: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = world.chain(ALICE)
    before = world.ledger.state()
    monkeypatch.setattr(chain, "state", lambda: before)
    proof = LISTED.proof(world.federation, ALICE)
    world.chain(MALLORY).join(world.federation, ALICE, proof.siblings)
    monkeypatch.setattr(chain, "join", lambda *words: MemoryChain.join(world.chain(ALICE), *words))
    answer = join_federation(chain, world.federation, prover_of(None, clients))
    assert answer["joined"] and answer["transaction"] is None


def test_where_admission_is_open_there_is_nothing_to_join(world: World, clients: Path) -> None:
    world.chain(ACME).set_admission(world.federation, ZERO_HASH)
    answer = join_federation(world.chain(MALLORY), world.federation, prover_of(None, clients))
    assert (answer["open"], answer["joined"], answer["root"], answer["transaction"]) == (True, False, None, None)


def test_it_says_from_which_round_it_counts(world: World, clients: Path) -> None:
    world.launch()
    assert join_federation(world.chain(ALICE), world.federation, prover_of(None, clients))["counts_from_round"] == 1
    world.chain(ACME).set_admission(world.federation, AdmissionList.of([BOB]).root)
    clients.write_text(BOB)
    assert join_federation(world.chain(BOB), world.federation, prover_of(None, clients))["counts_from_round"] == 2


# --- the command ---


@pytest.fixture
def command(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    settings = SimpleNamespace(require_federation=lambda: world.federation)
    monkeypatch.setattr(client.join, "load_settings", lambda config: settings)
    monkeypatch.setattr(client.join, "open_chain", lambda settings, with_key: world.chain(ALICE))
    return lambda *words: CliRunner().invoke(app, ["join", *map(str, words)], catch_exceptions=False)


def test_the_command_answers_people_and_programs(world: World, clients: Path, command: Callable[..., Any]) -> None:
    shown = command("--list", clients)
    assert shown.exit_code == 0
    assert f"{ALICE}: joined by transaction 0x" in shown.stdout and "it counts from round 1" in shown.stdout
    assert "joined before" in command("--list", clients).stdout
    assert json.loads(command("--list", clients, "--json").stdout)["joined"] is True
    world.chain(ACME).set_admission(world.federation, ZERO_HASH)
    assert "nothing to join" in command("--list", clients).stdout


def test_the_command_names_missing_settings(clients: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="federation"):
        CliRunner().invoke(app, ["join", "--list", str(clients)], catch_exceptions=False)


# --- the worker ---


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.worker.train", lambda *_, **__: pytest.fail("trained without being admitted"))


def test_a_worker_says_before_training_that_it_has_not_joined(world: World, tmp_path: Path, no_training: None) -> None:
    world.launch()
    alice = worker(world, tmp_path)
    with pytest.raises(NotJoined, match=r"Round 1 needs admission.*nothing was trained.*rondo client join --list FILE"):
        alice.step()
    assert alice.step() is None  # said once, and looked at again at every pass


def test_a_worker_says_before_a_launch_that_it_has_not_joined(world: World, tmp_path: Path) -> None:
    said: list[str] = []
    alice = worker(world, tmp_path, say=said.append)
    assert alice.step() is None and alice.step() is None
    assert len(said) == 1 and f"{ALICE} has not joined: the next round" in said[0] and "client join" in said[0]
    world.chain(ALICE).join(world.federation, ALICE, LISTED.proof(world.federation, ALICE).siblings)
    said.clear()
    assert alice.step() is None and said == []


def test_a_round_whose_list_was_replaced_cannot_be_joined_any_more(
    world: World, tmp_path: Path, no_training: None
) -> None:
    world.launch()
    world.chain(ACME).set_admission(world.federation, AdmissionList.of([ALICE]).root)
    with pytest.raises(NotJoined, match=r"nobody can join under it any more. Wait for the next round"):
        worker(world, tmp_path).step()


def test_terms_that_would_be_refused_anyhow_are_named_first(world: World, tmp_path: Path) -> None:
    world.launch(reward_per_milli=0)
    with pytest.raises(RoundRefused, match="0 base units") as refusal:
        worker(world, tmp_path).step()
    assert not isinstance(refusal.value, NotJoined)


@pytest.mark.slow
def test_a_running_worker_goes_on_by_itself_once_it_has_joined(world: World, tmp_path: Path) -> None:
    world.launch()
    said: list[str] = []
    alice = worker(world, tmp_path, say=said.append)
    polls: list[float] = []

    def sleep(seconds: float) -> None:
        polls.append(seconds)
        if len(polls) == 3:
            world.chain(BOB).join(world.federation, ALICE, LISTED.proof(world.federation, ALICE).siblings)

    run_worker(alice, poll_seconds=0.2, stopped=lambda: bool(world.submissions(ALICE)), say=said.append, sleep=sleep)
    assert sum("needs admission" in line for line in said) == 1
    assert "committed" in said[-1]


# --- unaudited ---


@pytest.mark.slow
@pytest.mark.parametrize("audited", [True, False])
def test_a_worker_says_once_that_the_federation_is_unaudited(
    softmax_regression: Callable[[], Model], tmp_path: Path, audited: bool
) -> None:
    world = World(TASK, softmax_regression(), audited=audited)
    said: list[str] = []
    alice = worker(world, tmp_path, policy=Policy(True, TRUSTING.trusted_auditors), say=said.append)
    alice.step()
    alice.step()
    assert sum("unaudited: the organization's word alone" in line for line in said) == (not audited)
    world.launch()
    assert "committed" in (alice.step() or "")
    document = client.session._document(alice, world.chain(ALICE), world.federation)
    assert document["audited"] is audited and [row["audited"] for row in document["rounds"]] == [audited]
