"""``rondo org admit``: wrong words and wrong lists first, then what is set, kept, proved and joined."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from network.memory_chain import MemoryChain
from organization.admission import Lists, join_all, read_list
from organization.cli import app
from organization.service import create_app
from organization.status import federation_view
from protocol.admission import AdmissionList, NotAdmitted, read_proof
from protocol.errors import InvalidInput, SettingsError, TransactionReverted
from protocol.types import ZERO_HASH, Hash, hex32
from tests.organization.test_service import Requests, problem
from tests.organization.world import World
from tests.processor.factory import account

ALICE, BOB, CAROL = (account(name) for name in ("alice", "bob", "carol"))


@pytest.fixture
def world(tmp_path, monkeypatch):
    world = World()
    world.found(tmp_path)
    monkeypatch.setenv("RONDO_STORE", "memory:")
    monkeypatch.setenv("RONDO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RONDO_FEDERATION", hex32(world.federation_id))
    monkeypatch.setattr("organization.session.open_chain", lambda settings, with_key: world.chain())
    return world


@pytest.fixture
def clients(tmp_path):
    path = tmp_path / "clients.txt"
    path.write_text(f"# our clients\n{ALICE}\n{BOB}  # bob\n")
    return path


def run(*arguments):
    result = CliRunner().invoke(app, ["admit", *map(str, arguments), "--json"])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), result.stderr


def admit(*arguments):
    """Run ``rondo org admit``; its answer."""
    return run(*arguments)[0]


# --- refusals: nothing is sent, nothing is written ---


@pytest.mark.parametrize(
    "words", [[], ["FILE", "--open"], ["--open", "--join"], ["--open", "--proofs", "p"], ["--join"]]
)
def test_words_that_contradict_each_other_are_refused_before_anything_is_opened(words, clients, monkeypatch):
    monkeypatch.setattr("organization.session.open_chain", lambda *args, **kwargs: pytest.fail("the chain was opened"))
    with pytest.raises(InvalidInput, match="--open, not both"):
        admit(*[clients if word == "FILE" else word for word in words])


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("0x12", "line 4: '0x12': not an address"),
        (ALICE.lower(), f"line 4: {ALICE} is on line 2 already"),
        ("0x" + "0" * 40, "line 4: nobody has the zero address"),
    ],
)
def test_a_line_that_cannot_be_taken_is_named_and_nothing_happens(world, clients, tmp_path, monkeypatch, line, why):
    monkeypatch.setattr("organization.session.open_chain", lambda *args, **kwargs: pytest.fail("the chain was opened"))
    clients.write_text(clients.read_text() + line)
    with pytest.raises(InvalidInput, match=f"{clients} has 1 line .*{why}"):
        admit(clients)
    assert not (tmp_path / "home").exists()


def test_an_empty_list_is_refused_since_it_would_admit_everybody(world, clients):
    clients.write_text("# nobody\n")
    with pytest.raises(InvalidInput, match="lists nobody"):
        admit(clients)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_list_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "list"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput, match=f"{path} cannot be read"):
        read_list(path)


def test_only_the_organization_admits_and_nothing_is_kept_for_others(world, clients, tmp_path, monkeypatch):
    monkeypatch.setattr("organization.session.open_chain", lambda settings, with_key: world.chain("mallory"))
    with pytest.raises(InvalidInput, match="not the organization"):
        admit(clients, "--proofs", tmp_path / "proofs.json")
    assert not (tmp_path / "home").exists() and not (tmp_path / "proofs.json").exists()
    assert world.federation.admission_root == ZERO_HASH


def test_a_list_that_cannot_be_kept_is_not_set(world, clients, tmp_path):
    (tmp_path / "home").write_text("a file")
    with pytest.raises(SettingsError, match="The list is kept there before"):
        admit(clients)
    assert world.federation.admission_root == ZERO_HASH


def test_a_failing_join_is_said_and_those_before_it_stand(world):
    class Refusing(MemoryChain):
        def join(self, federation, client, proof):
            if client == BOB:
                raise TransactionReverted("NoReason")
            return super().join(federation, client, proof)

    admitted = AdmissionList.of([ALICE, BOB, CAROL])
    world.chain().set_admission(world.federation_id, admitted.root)
    with pytest.raises(TransactionReverted, match="NoReason"):
        join_all(Refusing(world.ledger, account("acme")), world.federation, admitted, lambda line: None)
    assert world.federation.joined == {(admitted.root, ALICE)}
    assert join_all(world.chain(), world.federation, admitted, lambda line: None) == [BOB, CAROL]


# --- what the command does ---


def test_a_list_is_admitted(world, clients):
    root = AdmissionList.of([BOB, ALICE]).root
    answer, said = run(clients)
    assert answer == {
        "federation": hex32(world.federation_id),
        "open": False,
        "root": hex32(root),
        "clients": 2,
        "joined": 0,
        "changed": True,
        "counts_from_round": 1,
        "proofs": None,
    }
    assert said == ""
    assert world.federation.admission_root == root and world.federation.joined == frozenset()


def test_it_is_safe_to_repeat(world, clients):
    first = admit(clients, "--join")
    blocks = world.ledger.block
    assert admit(clients, "--join") == first | {"changed": False}
    assert world.ledger.block == blocks


def test_a_live_round_keeps_its_admission_and_the_list_counts_from_the_next(world, clients):
    world.launch()
    answer, said = run(clients)
    assert answer["counts_from_round"] == 2
    assert "round 1 is live and keeps the admission that it was launched with" in said
    assert world.round.admission_root == ZERO_HASH


def test_a_list_counts_from_the_first_round_that_was_launched_with_it(world, clients):
    admit(clients)
    world.launch()
    answer, said = run(clients)
    assert (answer["counts_from_round"], answer["changed"], said) == (1, False, "")


def test_admission_is_opened_again_with_a_warning(world, clients):
    admit(clients)
    answer, said = run("--open")
    assert (answer["open"], answer["root"], answer["changed"], answer["clients"]) == (True, None, True, 0)
    assert "as many accounts as they like" in said
    assert world.federation.admission_root == ZERO_HASH


def test_everyone_is_joined_but_who_has_joined_already(world, clients):
    admit(clients)
    admitted = AdmissionList.of([ALICE, BOB])
    world.chain("bob").join(world.federation_id, BOB, admitted.proof(world.federation_id, BOB).siblings)
    answer, said = run(clients, "--join")
    assert answer["joined"] == 2 and said.splitlines() == [f"joined {ALICE}"]
    assert world.federation.joined == {(admitted.root, ALICE), (admitted.root, BOB)}


def test_who_joins_by_itself_meanwhile_stops_nobody(world, clients):
    admit(clients)
    before, admitted = world.federation, read_list(clients)
    world.chain("alice").join(world.federation_id, ALICE, admitted.proof(world.federation_id, ALICE).siblings)
    assert join_all(world.chain(), before, admitted, lambda line: None) == [BOB]


def test_every_proof_that_is_written_joins_its_client(world, clients, tmp_path):
    proofs = tmp_path / "proofs.json"
    assert admit(clients, "--proofs", proofs)["proofs"] == str(proofs)
    for client in (ALICE, BOB):
        proof = read_proof(proofs.read_bytes(), client, "proofs.json")
        world.chain("mallory").join(world.federation_id, client, proof.siblings)
    assert {client for _, client in world.federation.joined} == {ALICE, BOB}


def test_what_is_written_is_public(world, clients, tmp_path):
    """The list and hashes of it: no key, no salt, no path."""
    proofs = tmp_path / "proofs.json"
    root = admit(clients, "--proofs", proofs)["root"]
    kept = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert [path.name for path in kept] == [f"{root[2:]}.txt"]
    assert kept[0].read_text() == f"{ALICE}\n{BOB}\n"
    document = json.loads(proofs.read_text())
    assert set(document) == {"federation", "root", "proofs"} and set(document["proofs"]) == {ALICE, BOB}


def test_people_read_lines(world, clients):
    result = CliRunner().invoke(app, ["admit", str(clients)])
    assert result.exit_code == 0
    assert "clients: 2" in result.stdout and "counts_from_round: 1" in result.stdout


# --- lists that are kept ---


def test_a_list_comes_back_by_its_root_alone(tmp_path):
    lists, admitted = Lists(tmp_path), AdmissionList.of([ALICE, BOB])
    assert lists.get(admitted.root) is None
    lists.keep(admitted)
    kept = Lists(tmp_path).get(admitted.root)
    assert kept is not None and kept.clients == (ALICE, BOB)
    assert lists.get(Hash(b"\1" * 32)) is None


@pytest.mark.parametrize("damage", ["", "0x12\n", f"{ALICE}\n"])
def test_a_damaged_list_counts_as_absent(tmp_path, damage):
    admitted = AdmissionList.of([ALICE, BOB])
    Lists(tmp_path).keep(admitted)
    (path,) = tmp_path.rglob("*.txt")
    path.write_text(damage)
    assert Lists(tmp_path).get(admitted.root) is None


# --- the service ---


@pytest.fixture
def service(world, tmp_path):
    return Requests(create_app(MemoryChain(world.ledger), world.store, Lists(tmp_path / "home")))


def path_of(world, client):
    return f"/federations/{hex32(world.federation_id)}/admission/{client}"


def test_the_service_has_no_proof_where_there_is_none_to_have(service, world, clients, tmp_path):
    assert "open" in problem(service.get(path_of(world, ALICE)), 404)["what"]
    admit(clients)
    assert "not on the list" in problem(service.get(path_of(world, CAROL)), 404)["what"]
    assert "not an address" in problem(service.get(path_of(world, "alice")), 400)["what"]
    problem(service.get(f"/federations/0x{'00' * 32}/admission/{ALICE}"), 404)
    elsewhere = Requests(create_app(MemoryChain(world.ledger), world.store, Lists(tmp_path / "elsewhere")))
    assert "is not here" in problem(elsewhere.get(path_of(world, ALICE)), 404)["what"]
    nothing = Requests(create_app(MemoryChain(world.ledger), world.store))
    assert "keeps no lists" in problem(nothing.get(path_of(world, ALICE)), 404)["what"]


def test_the_service_gives_each_client_its_proof(service, world, clients):
    admit(clients)
    answer = service.get(path_of(world, ALICE))
    assert answer.status_code == 200 and answer.json()["joined"] is False
    proof = read_proof(answer.content, ALICE, "the answer")
    world.chain("alice").join(world.federation_id, ALICE, proof.siblings)
    assert service.get(path_of(world, ALICE.lower())).json()["joined"] is True


def test_the_service_follows_a_new_list(service, world, clients):
    admit(clients)
    service.get(path_of(world, ALICE))
    clients.write_text(f"{CAROL}\n")
    admit(clients)
    problem(service.get(path_of(world, ALICE)), 404)
    assert service.get(path_of(world, CAROL)).json()["proof"] == []
    with pytest.raises(NotAdmitted):
        read_list(clients).proof(world.federation_id, ALICE)


# --- what is shown ---


def test_admission_is_shown_for_federation_and_rounds(service, world, clients):
    shown = service.get(f"/federations/{hex32(world.federation_id)}").json()
    assert shown["open_admission"] and shown["admission_root"] is None
    world.launch()
    root = admit(clients, "--join")["root"]
    shown = service.get(f"/federations/{hex32(world.federation_id)}").json()
    assert not shown["open_admission"] and shown["admission_root"] == root
    assert service.get(f"/rounds/{hex32(world.round.id)}").json()["admission_root"] is None
    view = federation_view(world.state, world.federation)
    assert (view["open_admission"], view["admission_root"], view["joined"]) == (False, root, 2)
    assert view["rounds"][0]["admission_root"] is None
