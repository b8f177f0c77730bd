"""Members made of what a store has: what is not what the manifest says is refused; no Keras here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from network.committee import load_committee
from network.memory_store import MemoryStore
from network.stated import load_stated
from network.transfer import publish
from organization.members import MemberModels
from processor.committee import member_model
from protocol import committee as committee_module
from protocol.cid import directory_cid
from protocol.committee import COMMITTEE, CommitteeManifest, CommitteeMember, encode_committee
from protocol.errors import (
    BlockMissing,
    ForeignAuthor,
    ForeignBase,
    NotCanonical,
    OutsideWindow,
    TooLarge,
    WrongFiles,
    WrongTensor,
)
from protocol.merge_terms import Committee, MergeRule
from protocol.model import encode_model
from protocol.types import Digest
from protocol.update import encode_update
from tests.organization.world import World
from tests.processor.factory import KERNEL, TinyRound, account, tiny_model, tiny_specs, tiny_task

LIMIT = 1 << 20


class Kept:
    """A store with a base, alice's update of it, and what others would pass off as one."""

    def __init__(self) -> None:
        self.store, self.tiny = MemoryStore(), TinyRound()
        self.update = self.tiny.update("alice")
        self.base = publish(self.store, encode_model(self.tiny.base))
        self.member = CommitteeMember(1, self.base, self.put(self.update), account("alice"), 95)

    def put(self, update):
        return publish(self.store, encode_update(update))

    def models(self, **limits):
        return MemberModels(self.store, **({"model_bytes": LIMIT, "update_bytes": LIMIT} | limits))


@pytest.fixture
def kept():
    return Kept()


# --- what is refused ---


def test_a_member_that_is_another_is_refused_by_name(kept):
    other = publish(kept.store, encode_model(tiny_model(9)))
    nobodys = Digest(bytes(32))
    for lie, error in [
        ({"client": account("mallory")}, ForeignAuthor),
        ({"base": other}, ForeignBase),
        ({"base": nobodys}, BlockMissing),
        ({"update": nobodys}, BlockMissing),
        ({"update": kept.base}, WrongFiles),
        ({"base": kept.member.update}, WrongFiles),
    ]:
        with pytest.raises(error):
            kept.models()(replace(kept.member, **lie))


def test_updates_that_no_round_would_accept_make_no_member(kept):
    lacking = replace(kept.update, deltas={**kept.update.deltas, KERNEL: np.zeros((3, 4), np.int16)})
    for update, error in [
        (lacking, WrongTensor),
        (replace(kept.update, exponents={**kept.update.exponents, KERNEL: 5}), OutsideWindow),
    ]:
        with pytest.raises(error):
            kept.models()(replace(kept.member, update=kept.put(update)))


def test_nothing_is_fetched_beyond_the_limits(kept):
    with pytest.raises(TooLarge):
        kept.models(model_bytes=100)(kept.member)
    with pytest.raises(TooLarge):
        kept.models(update_bytes=100)(kept.member)


def test_a_manifest_beyond_its_limit_is_refused_before_it_is_fetched(kept, monkeypatch):
    digest = publish(kept.store, {COMMITTEE: bytes(3 << 20)})
    monkeypatch.setattr("network.committee.MAX_COMMITTEE_BYTES", 2 << 20)
    read = []
    get = kept.store.get_block
    monkeypatch.setattr(kept.store, "get_block", lambda cid, *rest: read.append(cid) or get(cid, *rest))
    with pytest.raises(TooLarge):
        load_committee(kept.store, digest)
    assert len(read) <= 2
    assert committee_module.MAX_COMMITTEE_BYTES == 64 << 20


def test_what_is_no_committee_is_refused(kept):
    for digest, error in [
        (kept.base, WrongFiles),
        (publish(kept.store, {COMMITTEE: b"{}  "}), NotCanonical),
        (Digest(bytes(32)), BlockMissing),
    ]:
        with pytest.raises(error):
            load_committee(kept.store, digest)


# --- what is made ---


def test_a_member_is_made_of_its_base_and_its_update(kept):
    model, expected = kept.models()(kept.member), member_model(kept.tiny.base, kept.update)
    assert encode_model(model) == encode_model(expected)
    assert any((model.mantissas[name] != before).any() for name, before in kept.tiny.base.mantissas.items())


def test_a_base_is_read_once_for_the_members_that_share_it(kept, monkeypatch):
    bob = replace(kept.member, client=account("bob"), update=kept.put(kept.tiny.update("bob")))
    read = []
    get = kept.store.get_block
    monkeypatch.setattr(kept.store, "get_block", lambda cid, *rest: read.append(cid) or get(cid, *rest))
    models = kept.models()
    models(kept.member)
    models(bob)
    assert read.count(directory_cid(kept.base)) == 1


def test_a_committee_comes_back_as_it_was_published(kept):
    committee = CommitteeManifest("majority", (kept.member,))
    assert load_committee(kept.store, publish(kept.store, encode_committee(committee))) == committee


# --- what an organization stated ---


@pytest.mark.parametrize("rule", ["fedavg", "distilled"])
def test_a_settled_model_is_loaded_where_it_is_the_organizations_word(tmp_path, rule):
    task = tiny_task(
        publication_seconds=60,
        rederivation_margin_seconds=60,
        merge=MergeRule(rule, examples_cap=1000),
        committee=Committee("soft", 1),
    )
    world = World(task)
    world.found(tmp_path)
    world.launch()
    world.ledger.advance(10)
    world.post("alice")
    world.close_training()
    assert load_stated(world.store, world.round, task) is None  # nothing is settled

    class Mean:
        def check(self, model):
            assert model.specs == tiny_specs()

        def __call__(self, demand, models):
            return demand.mean

    world.worker(student=Mean()).settle(world.round.id)
    settled = world.round.settled.settlement
    found = load_stated(world.store, world.round, task)
    assert (found is None) == (rule == "fedavg")
    if found is not None:
        assert found[0] == settled.model and found[1].round == 1
        other = replace(world.round.settled, settlement=replace(settled, model=settled.report))
        assert load_stated(world.store, replace(world.round, settled=other), task) is None  # a report is no model
        base = replace(world.round.settled, settlement=replace(settled, model=world.round.base))
        assert load_stated(world.store, replace(world.round, settled=base), task) is None
        world.store.blocks.pop(directory_cid(settled.model))
        with pytest.raises(BlockMissing):
            load_stated(world.store, world.round, task)
