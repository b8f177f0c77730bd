"""A committee on real digits, in real Keras: two rounds, audited; `rondo predict`; and the committee distilled into one model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from auditor.rederive import Verdict, audit_round
from client.data import load_dataset
from client.trainer import seed_of, train
from client.update_builder import build_update
from network.directory_store import DirectoryStore
from network.transfer import fetch, publish
from organization.distil import Distillation, Distiller
from organization.examples import load_examples
from organization.members import MemberModels
from organization.voting import Network
from processor.stated import Demand
from protocol.cid import directory_cid
from protocol.committee import (
    MAX_COMMITTEE_BYTES,
    CommitteeManifest,
    CommitteeMember,
    decode_committee,
    encode_committee,
)
from protocol.errors import ForeignAuthor, ForeignBase, InvalidInput
from protocol.merge_terms import Committee, MergeRule
from protocol.model import Model, decode_model, encode_model
from protocol.task import Task, load_task_toml
from protocol.terms import Phase
from protocol.types import Digest, hex32
from protocol.unixfs import directory_digest
from rondo.cli import app
from rondo.demo_data import write_digits
from tests.organization.world import World
from tests.processor.factory import account

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    # Keras converts TensorFlow's arrays in a way that NumPy 2 warns of
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

ROOT = Path(__file__).resolve().parents[2]
PEOPLE = ("alice", "bob", "carol")
LIMIT = 1 << 24


class Digits(World):
    """acme's federation on digits: clients train as clients do, and the store is a directory, as of a command."""

    def __init__(self, home: Path, rule: str) -> None:
        from organization.model_builder import load_model

        task = load_task_toml(ROOT / "rondo" / "digits_task.toml")
        merge = replace(task.merge, rule=rule)  # type: ignore[arg-type]
        super().__init__(replace(task, merge=merge, committee=Committee("soft", 2), publication_seconds=60))
        self.home, self.store = home, DirectoryStore(home / "store")  # type: ignore[assignment]
        shards, held_out = write_digits(home / "data", len(PEOPLE), 7)
        self.data = dict(zip(PEOPLE, map(load_dataset, shards), strict=True))
        with np.load(held_out) as file:
            np.savez(home / "public.npz", x=file["x"][:160])
            np.savez(home / "test.npz", x=file["x"][160:], y=file["y"][160:])
        self.found(home, load_model(ROOT / "rondo" / "digits_model.json", seed=3))

    def post(self, name: str, *others: Any, **options: Any) -> Digest:
        base = decode_model(fetch(self.store, self.round.base, LIMIT))
        seed = seed_of(self.round.id, account(name))
        trained = train(base, None, self.task, self.data[name], seed=seed, consolidate=False)
        built = build_update(self.round, account(name), base, self.task, trained, None)
        self.chain(name).submit_update(self.round.id, publish(self.store, built.files), 1000)
        return built.digest

    def play(self, **options: Any) -> Digits:
        self.worker(**options).run(2, pause=self.live())
        assert self.round.phase is Phase.FINAL and self.round.index == 2
        return self

    @property
    def head(self) -> Model:
        return decode_model(fetch(self.store, self.federation.head, LIMIT))

    def verdicts(self) -> list[tuple[Verdict, bool | None]]:
        audits = [audit_round(self.chain("dave"), self.store, one) for one in self.federation.rounds]
        return [(one.verdict, one.stated) for one in audits]

    def predict(self, cid: object, *words: object, data: str = "test.npz") -> Any:
        """What `rondo predict` answers, as JSON where that is asked; a refusal is raised."""
        command = ["predict", str(cid), "--data", str(self.home / data), *map(str, words)]
        done = CliRunner().invoke(app, command, env={"RONDO_STORE": f"dir:{self.home / 'store'}"})
        if done.exception is not None:
            raise done.exception
        return json.loads(done.stdout) if "--json" in words else done.stdout


@pytest.fixture(scope="module")
def mean(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    return Digits(tmp_path_factory.mktemp("mean"), "fedavg").play()


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    """Two rounds by `rondo org run --public-data`, and its progress in ``said``."""
    world = Digits(tmp_path_factory.mktemp("distilled"), "distilled")
    live, terms = world.live(), world.terms
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("organization.session.open_chain", lambda settings, with_key: world.chain())
        patch.setattr("organization.session.stop_on_signal", lambda: lambda: False)
        patch.setattr("time.sleep", lambda seconds: live())
        settings = {"STORE": f"dir:{world.home / 'store'}", "FEDERATION": hex32(world.federation_id)}
        for name, value in {**settings, "HOME": str(world.home), "POLL_SECONDS": "0.001"}.items():
            patch.setenv(f"RONDO_{name}", value)
        words = [f"--{name.replace('_', '-')}={getattr(terms, name)}" for name in type(terms).__slots__[:-1]]
        command = ["org", "run", "--rounds=2", f"--public-data={world.home / 'public.npz'}", *words, "--json"]
        done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert [one["phase"] for one in json.loads(done.stdout)["rounds"]] == ["final", "final"]
    world.said.extend(done.stderr.splitlines())
    return world


def committee_of(world: Digits) -> tuple[Digest, CommitteeManifest]:
    digest = world.head.committee
    assert digest is not None
    return digest, decode_committee(fetch(world.store, digest, MAX_COMMITTEE_BYTES))


def probabilities(world: Digits, model: Model) -> Any:
    network = Network(model)
    return network.predict(network.fitting(load_examples(world.home / "test.npz", "--data")))


# --- what is refused ---


def test_examples_that_do_not_fit_are_refused(mean: Digits) -> None:
    digest, _ = committee_of(mean)
    np.savez(mean.home / "wide.npz", x=np.zeros((2, 65), np.float32))
    np.savez(mean.home / "pairs.npz", x=np.zeros((2, 64), np.float32), y=np.zeros((2, 2), int))
    for cid in (directory_cid(mean.federation.head), directory_cid(digest)):
        with pytest.raises(InvalidInput, match="the model takes"):
            mean.predict(cid, data="wide.npz")
        with pytest.raises(InvalidInput, match="The labels have shape"):
            mean.predict(cid, data="pairs.npz")


def hostile(world: Digits, change: Callable[[CommitteeMember], CommitteeMember]) -> object:
    """A committee whose first member is not what it says."""
    _, committee = committee_of(world)
    first, *others = committee.members
    others = [replace(one, base=change(first).base) if one.round == first.round else one for one in others]
    forged = replace(committee, members=(change(first), *others))
    return directory_cid(publish(world.store, encode_committee(forged)))


def test_a_committee_that_lies_about_its_members_is_refused(mean: Digits) -> None:
    members = committee_of(mean)[1].members
    with pytest.raises(ForeignAuthor):
        mean.predict(hostile(mean, lambda member: replace(member, update=members[1].update)))
    with pytest.raises(ForeignBase):
        mean.predict(hostile(mean, lambda member: replace(member, base=mean.federation.head)))


# --- the mean, and its committee ---


def test_two_rounds_match_and_their_committee_is_kept(mean: Digits) -> None:
    assert mean.verdicts() == [(Verdict.MATCH, False)] * 2
    digest, committee = committee_of(mean)
    assert [one.round for one in committee.members] == [1, 1, 1, 2, 2, 2]
    kept = mean.store.kept()
    needed = {directory_cid(digest)}
    needed |= {directory_cid(one) for member in committee.members for one in (member.base, member.update)}
    assert needed <= kept


def test_predict_says_what_the_model_says(mean: Digits) -> None:
    found = mean.predict(directory_cid(mean.federation.head), "--json")
    expected = probabilities(mean, mean.head)
    assert (found["kind"], found["vote"], found["members"], found["examples"]) == ("model", None, 1, 200)
    assert found["classes"] == expected.argmax(axis=-1).tolist()
    assert np.allclose(found["probabilities"], expected, atol=1e-6)
    with np.load(mean.home / "test.npz") as file:
        correct = int((expected.argmax(axis=-1) == file["y"]).sum())
    assert found["accuracy"] == {"correct": correct, "total": 200} and correct > 150


@pytest.mark.parametrize("vote", [None, "soft", "majority"])
def test_predict_says_what_the_members_say_together(mean: Digits, vote: str | None) -> None:
    digest, committee = committee_of(mean)
    out = mean.home / f"said-{vote}.npz"
    words = [] if vote is None else ["--vote", vote]
    found = mean.predict(directory_cid(digest), *words, "--out", out, "--json")
    models = MemberModels(mean.store, model_bytes=LIMIT, update_bytes=LIMIT)
    each = [(member.weight, probabilities(mean, models(member))) for member in committee.members]
    total = sum(weight for weight, _ in each)
    if vote == "majority":
        expected = sum(weight * np.eye(10)[said.argmax(axis=-1)] for weight, said in each) / total
    else:
        expected = sum(weight * said.astype(np.float64) for weight, said in each) / total
    with np.load(out) as file:
        assert np.allclose(file["probabilities"], expected, atol=1e-6)
        assert np.array_equal(file["classes"], expected.argmax(axis=-1))
    assert found["members"] == 6 and found["vote"] == (vote or "soft") and found["out"] == str(out)
    assert "classes" not in found


def test_a_model_leads_to_its_committee(mean: Digits) -> None:
    by_model = mean.predict(directory_cid(mean.federation.head), "--committee", "--json")
    by_itself = mean.predict(directory_cid(committee_of(mean)[0]), "--json")
    assert {**by_model, "cid": None} == {**by_itself, "cid": None}


def test_people_read_a_table(mean: Digits) -> None:
    text = mean.predict(directory_cid(committee_of(mean)[0]))
    assert "committee of 6 members, soft vote: 200 examples" in text and "accuracy: " in text and "180 more" in text


def test_examples_without_labels_have_no_accuracy(mean: Digits) -> None:
    found = mean.predict(directory_cid(mean.federation.head), "--json", data="public.npz")
    assert found["accuracy"] is None and found["examples"] == 160


# --- distilled ---


def test_distilled_rounds_match_with_the_flag(distilled: Digits) -> None:
    assert distilled.verdicts() == [(Verdict.MATCH, True)] * 2
    assert any("settled, 3 of 3 updates merged" in line for line in distilled.said)
    assert not [line for line in distilled.said if "not distilled" in line or "does not teach" in line]


def test_the_student_is_not_the_mean_and_learns_what_the_committee_says(distilled: Digits) -> None:
    """Of the second round, whose committee's members are all there: closer to the teacher than the mean that it began as."""
    task = replace(distilled.task, merge=MergeRule(examples_cap=distilled.task.merge.examples_cap))
    demand = demand_of(distilled, task)
    teacher = distilled.home / "teacher.npz"
    public = "public.npz"
    distilled.predict(directory_cid(committee_of(distilled)[0]), "--out", teacher, data=public)
    with np.load(teacher) as file:
        taught = file["probabilities"].astype(np.float64)
    student, mean = (
        Network(model).predict(load_examples(distilled.home / public, "").x) for model in (distilled.head, demand)
    )
    assert not np.array_equal(student, mean)
    assert distance(taught, student) < distance(taught, mean)


def demand_of(world: Digits, task: Task) -> Model:
    """The mean of the last round."""
    from network.past import load_past
    from processor.round import derive_round, facts

    round_ = world.round
    base = decode_model(fetch(world.store, round_.base, LIMIT))
    past = load_past(world.store, world.state, round_, task, base)
    what = facts(world.ledger.chain_id, world.ledger.contract, round_)
    derivation = derive_round(what, task, base, lambda one: fetch(world.store, one, LIMIT), frozenset(), past)
    assert derivation.model is not None
    return derivation.model


def distance(taught: Any, said: Any) -> float:
    """Mean KL(taught || said)."""
    said = np.maximum(said.astype(np.float64), 1e-12)
    return float((taught * (np.log(np.maximum(taught, 1e-12)) - np.log(said))).sum(axis=-1).mean())


def test_a_member_that_is_gone_does_not_teach_and_stops_nothing(distilled: Digits, tmp_path: Path) -> None:
    _, committee = committee_of(distilled)
    said: list[str] = []
    examples = load_examples(distilled.home / "public.npz", "")
    distil = Distiller(examples, Distillation(epochs=1), said.append)
    gone = replace(committee.members[0], update=Digest(b"\x05" * 32))
    demand = Demand(distilled.head, replace(committee, members=(gone, *committee.members[1:])))
    models = MemberModels(distilled.store, model_bytes=LIMIT, update_bytes=LIMIT)
    student = distil(demand, models)
    assert len(said) == 1 and "does not teach" in said[0]
    assert directory_digest(encode_model(student)) != directory_digest(encode_model(distilled.head))
    assert distil(demand, models) is student  # a settlement that is tried again states the same

    alone, head = Distiller(examples, Distillation(epochs=1), said.append), distilled.head
    assert alone(Demand(head, replace(committee, members=(gone,))), models) is head
    assert "the mean is stated instead" in said[-1]


def test_training_that_diverges_states_the_mean(distilled: Digits) -> None:
    _, committee = committee_of(distilled)
    said: list[str] = []
    examples = load_examples(distilled.home / "public.npz", "")
    distil = Distiller(examples, Distillation(learning_rate=1e38, epochs=3), said.append)
    models = MemberModels(distilled.store, model_bytes=LIMIT, update_bytes=LIMIT)
    head = distilled.head
    assert distil(Demand(head, committee), models) is head
    assert "NaN or infinity" in said[0]


def test_examples_that_do_not_fit_are_refused_before_a_launch(tmp_path: Path, distilled: Digits) -> None:
    np.savez(tmp_path / "wide.npz", x=np.zeros((4, 65), np.float32))
    student = Distiller(load_examples(tmp_path / "wide.npz", "--public-data"))
    rounds = len(distilled.federation.rounds)
    with pytest.raises(InvalidInput, match="the model takes"):
        distilled.worker(student=student).run(rounds + 1, pause=distilled.live())
    assert len(distilled.federation.rounds) == rounds
