"""A round whose model is the organization's word: everything else is audited, and the word itself for what it must fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from auditor.cli import STATED, _rendered, as_json
from auditor.rederive import Audit, Verdict, audit_round
from auditor.worker import AuditorWorker
from network.memory_store import MemoryStore
from network.round_content import item_blocks, round_items
from network.transfer import fetch
from protocol.cid import directory_cid
from protocol.committee import MAX_COMMITTEE_BYTES, decode_committee
from protocol.errors import InvalidInput
from protocol.merge_terms import Committee, MergeRule
from protocol.model import Model, decode_model
from protocol.types import RoundId
from tests.organization.world import World
from tests.processor.factory import BIAS, account, tiny_task

COMMITTEE = Committee("soft", 2)
MEAN_TASK = tiny_task(publication_seconds=60, rederivation_margin_seconds=60, committee=COMMITTEE)
TASK = replace(MEAN_TASK, merge=MergeRule("distilled", examples_cap=1000))


class Halving:
    """A student that needs no examples: it states the mean with every bias halved."""

    def __init__(self) -> None:
        self.asked = 0

    def check(self, model: Model) -> None:
        assert model.specs

    def __call__(self, demand: Any, models: Any) -> Model:
        self.asked += 1
        made = [models(member) for member in demand.committee.members]
        assert {one.specs for one in made} == {demand.mean.specs}
        mantissas = dict(demand.mean.mantissas)
        return replace(demand.mean, mantissas={**mantissas, BIAS: mantissas[BIAS] // 2})


def founded(home: Path, task: Any = TASK) -> World:
    world = World(task)
    world.found(home)
    return world


def audit(world: World, round_id: RoundId | None = None) -> Audit:
    return audit_round(world.chain("dave"), world.store, round_id or world.round.id)


def shown(result: Audit) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(_rendered(result))
    return capture.get()


# --- what is refused ---


def test_nothing_is_launched_without_public_examples(tmp_path: Path) -> None:
    world = founded(tmp_path)
    with pytest.raises(InvalidInput, match="needs public examples") as refused:
        world.worker().run(1, pause=world.live())
    assert "--public-data" in refused.value.do and not world.federation.rounds


def test_nothing_is_settled_without_public_examples(tmp_path: Path) -> None:
    world = founded(tmp_path)
    world.launch()
    world.ledger.advance(10)
    world.post("alice")
    world.close_training()
    with pytest.raises(InvalidInput, match="needs public examples"):
        world.worker().settle(world.round.id)
    assert world.round.settled is None


def test_a_stated_model_that_nobody_has_leaves_the_audit_undecided(tmp_path: Path) -> None:
    world = founded(tmp_path)
    world.worker(student=Halving()).run(1, pause=world.live())
    settled = world.round.settled
    assert settled is not None
    whole = dict(world.store.blocks)
    for cid in [cid for cid in whole if cid.digest == settled.settlement.model]:
        del world.store.blocks[cid]
    result = audit(world)
    assert result.verdict is Verdict.UNDECIDED and result.stated is None and as_json(result)["model"] is None


# --- what matches ---


@pytest.mark.parametrize("task", [MEAN_TASK, TASK], ids=["mean", "distilled"])
def test_two_rounds_with_a_committee_match(tmp_path: Path, task: Any) -> None:
    world, student = founded(tmp_path, task), Halving()
    world.worker(student=student).run(2, pause=world.live())
    distilled = task is TASK
    for round_id in world.federation.rounds:
        result = audit(world, round_id)
        assert (result.verdict, result.stated) == (Verdict.MATCH, distilled)
        assert (STATED in shown(result)) == distilled
        assert as_json(result)["model"] == ("stated" if distilled else "recomputed")
        assert result.result_hash == world.state.rounds[round_id].settled.result_hash  # type: ignore[union-attr]
    assert student.asked == (2 if distilled else 0)
    head = decode_model(fetch(world.store, world.federation.head, 1 << 20))
    assert head.committee is not None and head.round == 2
    committee = decode_committee(fetch(world.store, head.committee, MAX_COMMITTEE_BYTES))
    assert [(one.round, one.client) for one in committee.members] == [
        (number, client) for number in (1, 2) for client in sorted(map(account, ("alice", "bob", "carol")))
    ]


@pytest.mark.parametrize("task", [MEAN_TASK, TASK], ids=["mean", "distilled"])
def test_what_a_confirmed_model_names_is_served_by_who_confirmed_it(tmp_path: Path, task: Any) -> None:
    world = founded(tmp_path / "acme", task)
    world.worker(student=Halving()).run(1, pause=world.live())
    head = decode_model(fetch(world.store, world.federation.head, 1 << 20))
    assert head.committee is not None
    del world.store.blocks[directory_cid(head.committee)]
    world.store.release(directory_cid(head.committee))
    said: list[str] = []
    auditor = AuditorWorker(
        world.chain("eve"), world.store, world.federation_id, tmp_path / "eve", attest=False, say=said.append
    )
    auditor.step()
    assert len(decode_committee(fetch(world.store, head.committee, MAX_COMMITTEE_BYTES)).members) == 3
    assert directory_cid(head.committee) in world.store.kept()
    assert any(STATED in line for line in said) == (task is TASK)


@pytest.mark.parametrize("task", [MEAN_TASK, TASK], ids=["mean", "distilled"])
def test_an_export_holds_what_the_audit_reads(tmp_path: Path, task: Any) -> None:
    """A stated model, which nobody can make again; and the base's committee, on which the next one rests."""
    world = founded(tmp_path, task)
    world.worker(student=Halving()).run(2, pause=world.live())
    items = {item.what: item for item in round_items(world.store, world.state, world.round)}
    assert items["result model"].audited == (task is TASK)
    assert items["committee of the base model"].audited
    alone = MemoryStore()
    seen: set[Any] = set()
    for item in items.values():
        if item.audited:
            alone.put_blocks(list(item_blocks(world.store, item, seen)))
    world.store = alone
    assert audit(world).verdict is Verdict.MATCH


def test_the_witness_is_of_the_merge_that_the_auditor_did(tmp_path: Path) -> None:
    worlds = [founded(tmp_path / task.merge.rule, task) for task in (MEAN_TASK, TASK)]
    for world in worlds:
        world.worker(student=Halving()).run(1, pause=world.live())
    mean, distilled = map(audit, worlds)
    assert distilled.derivation is not None and mean.derivation is not None
    assert distilled.derivation.merge_digest == distilled.merge_digest != mean.result_hash
    assert distilled.witness_of(account("dave")) != distilled.witness_of(account("eve"))
