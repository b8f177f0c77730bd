"""Standings out of a store: the right records, verified, and named where one is gone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auditor.worker import AuditorWorker
from network.memory_store import MemoryStore
from network.needs import Needs
from network.round_content import round_items
from network.standing import RecordMissing, load_records, load_standing
from processor.round import Derivation
from protocol.cid import RAW, Cid, block_cid, directory_cid
from protocol.errors import BlockMissing, StoreUnavailable
from protocol.hashing import witness
from protocol.merge_terms import Standing
from protocol.report import Derived, Statement, encode_derived, encode_report
from protocol.retention import Kind
from protocol.standing import standings
from protocol.terms import Phase
from protocol.types import Digest
from protocol.unixfs import Block
from tests.network.standing_world import HONEST, StandingWorld, said_of
from tests.processor import reference_standing as reference
from tests.processor.factory import account

WEIGHT = Standing(use="weight", window=3)


class Broken(MemoryStore):
    """A store that does not answer."""

    def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
        raise StoreUnavailable("The store is away.")


@pytest.fixture
def world(tmp_path: Path) -> StandingWorld:
    return StandingWorld(tmp_path, WEIGHT)


def wrong_report(world: StandingWorld, **changes: Any) -> tuple[Derived, dict[str, bytes]]:
    derived = replace(world.derive().derived, **changes)
    return derived, encode_report(derived, Statement({}, "test"))


def lose_report(world: StandingWorld, index: int) -> Cid:
    """Remove the report of a round; the name of its directory."""
    settled = world.state.rounds[world.federation.rounds[index - 1]].settled
    assert settled is not None
    cid = directory_cid(settled.settlement.report)
    del world.store.blocks[cid]
    world.store.blocks.pop(
        Cid(RAW, Digest(settled.settlement.derived_hash))
    )  # the report's own leaf, named by its hash
    return cid


def test_it_is_what_the_records_of_the_rounds_before_say(world: StandingWorld) -> None:
    played = [world.play(*HONEST, bad=["mallory"]) for _ in range(4)]
    world.train(*HONEST, "mallory")
    expected = standings(played[1:], WEIGHT)
    assert load_standing(world.store, world.state, world.round, world.task) == expected
    assert expected[account("mallory")] == -1000 - 900 - 810
    worth = [said_of(one, "alice").agreement for one in played[1:]]
    assert expected[account("alice")] == reference.standing(worth, WEIGHT.decay) > 0


@pytest.mark.parametrize("use", ["record", "weight", "admit"])
def test_nothing_is_read_unless_the_task_looks_at_standing(tmp_path: Path, use: Any) -> None:
    world = StandingWorld(tmp_path, Standing(use=use))
    world.play(*HONEST)
    world.train(*HONEST)
    if use == "record":
        assert load_standing(Broken(), world.state, world.round, world.task) == {}
    else:
        with pytest.raises(StoreUnavailable):
            load_standing(Broken(), world.state, world.round, world.task)


def test_a_report_that_nobody_has_is_named_with_its_round(world: StandingWorld) -> None:
    world.play(*HONEST)
    world.play(*HONEST)
    world.train(*HONEST)
    cid = lose_report(world, 1)
    with pytest.raises(BlockMissing, match="record of round 1") as caught:
        world.records(world.round)
    assert isinstance(caught.value, RecordMissing) and caught.value.exit_code == 69
    assert str(cid) in caught.value.what and caught.value.cid == str(cid) and caught.value.do


def test_a_report_outside_the_window_is_not_missed(world: StandingWorld) -> None:
    for _ in range(4):
        world.play(*HONEST)
    lose_report(world, 1)
    world.train(*HONEST)
    assert len(world.records(world.round)) == 3


def test_an_unconfirmed_round_counts_by_what_was_settled(world: StandingWorld) -> None:
    world.train(*HONEST)
    world.settle(world.derive())
    assert world.records() == []
    world.ledger.advance_to(world.round.challenge_ends)
    assert world.round.phase is Phase.UNCONFIRMED
    assert [one.round for one in world.records()] == [world.round.id]


def test_a_rejected_round_counts_by_what_the_auditors_revealed(world: StandingWorld) -> None:
    world.train(*HONEST, bad=["mallory"])
    right = world.derive()
    lie, report = wrong_report(world, updates=tuple(replace(one, agreement=1000) for one in right.derived.updates))
    world.settle(replace(right, derived=lie), report)
    world.reject(right)
    world.ledger.advance_to(world.round.reveal_ends)
    assert world.records() == [right.derived]


def test_whoever_derives_by_a_revealed_record_keeps_it(world: StandingWorld) -> None:
    world.train(*HONEST, bad=["mallory"])
    right = world.derive()
    lie, report = wrong_report(world, saturated=7)
    world.settle(replace(right, derived=lie), report)
    world.reject(right)
    revealed = world.round.revealed
    assert revealed is not None
    cid = Cid(RAW, Digest(revealed.derived_hash))
    assert cid not in world.store.kept()
    world.ledger.advance_to(world.round.reveal_ends)
    world.train(*HONEST)
    assert world.standing_of("mallory") == -1000
    assert cid in world.store.kept()
    reason = Needs(world.store).of(world.state, world.federation)[cid]
    assert (reason.kind, reason.if_there) == (Kind.RECORD, False) and "round 1" in reason.text


def test_a_revealed_record_that_nobody_has_is_named_with_its_round(world: StandingWorld) -> None:
    world.train(*HONEST)
    right = world.derive()
    lie, report = wrong_report(world, saturated=7)
    world.settle(replace(right, derived=lie), report)
    world.reject(right, publish_record=False)
    world.ledger.advance_to(world.round.reveal_ends)
    with pytest.raises(RecordMissing, match="record of round 1"):
        world.records()


# --- nonsense that nobody contested ---


def settle_uncontested(world: StandingWorld, report: dict[str, bytes] | None = None, **chain: Any) -> None:
    world.train(*HONEST)
    world.settle(world.derive(), report, **chain)
    world.ledger.advance_to(world.round.challenge_ends)


def test_a_report_that_is_none_counts_for_nothing(world: StandingWorld) -> None:
    settle_uncontested(world, {"derived.json": b"{not json", "statement.json": b"{}"})
    assert world.records() == []


def test_a_report_without_a_record_counts_for_nothing(world: StandingWorld) -> None:
    settle_uncontested(world, {"statement.json": b"{}"})
    assert world.records() == []


def test_a_report_of_another_record_than_was_settled_counts_for_nothing(world: StandingWorld) -> None:
    world.train(*HONEST)
    _, other = wrong_report(world, saturated=7)
    world.settle(world.derive(), other)
    world.ledger.advance_to(world.round.challenge_ends)
    assert world.records() == []


def test_a_record_of_clients_that_took_no_part_counts_for_nothing(world: StandingWorld) -> None:
    world.train(*HONEST)
    right = world.derive()
    framed = (
        right.derived.updates[0],
        replace(right.derived.updates[1], client=account("carol"), verdict="unavailable"),
    )
    lie, report = wrong_report(world, updates=framed)
    world.settle(replace(right, derived=lie), report)
    world.ledger.advance_to(world.round.challenge_ends)
    assert world.records() == []


def test_an_exported_round_brings_the_records_that_its_audit_reads(tmp_path: Path) -> None:
    def records_in(use: Any) -> list[tuple[str, bool]]:
        world = StandingWorld(tmp_path / use, Standing(use=use, window=2))
        for _ in range(3):
            world.play(*HONEST)
        world.train(*HONEST)
        items = round_items(world.store, world.state, world.round)
        return [(item.what, item.audited) for item in items if item.what.startswith("record")]

    assert records_in("weight") == [("record of round 2", True), ("record of round 3", True)]
    assert records_in("record") == []


def test_the_command_s_own_reading_keeps_nothing(tmp_path: Path) -> None:
    world = StandingWorld(tmp_path, Standing(use="record"))
    world.train(*HONEST)
    right = world.derive({})
    lie, report = wrong_report(world, saturated=7)
    world.settle(replace(right, derived=lie), report)
    world.reject(right)
    world.ledger.advance_to(world.round.reveal_ends)
    kept = world.store.kept()
    assert load_records(world.store, world.state, world.federation, world.task.standing) == [right.derived]
    assert world.store.kept() == kept


# --- a report that the organization chose otherwise than its auditors attested ---


def settle_with_another_report(world: StandingWorld) -> Derivation:
    """acme settles what follows, under a report that says otherwise."""
    world.train(*HONEST)
    right = world.derive()
    _, other = wrong_report(world, saturated=7)
    world.settle(right, other)
    return right


def test_a_wrong_report_of_a_confirmed_round_cannot_change_what_the_auditors_attested(world: StandingWorld) -> None:
    right = settle_with_another_report(world)
    dave = world.chain("dave")
    dave.attest(world.round.id, right.result_hash, witness(account("dave"), world.round.id, right.merge_digest))
    assert world.round.phase is Phase.FINAL
    with pytest.raises(RecordMissing, match="record of round 1"):
        world.records()
    data = encode_derived(right.derived)
    world.store.put_block(Block(block_cid(RAW, data), data))

    assert world.records() == [right.derived]


def test_the_auditor_that_confirms_such_a_result_keeps_its_record(world: StandingWorld, tmp_path: Path) -> None:
    right = settle_with_another_report(world)

    dave = AuditorWorker(world.chain("dave"), world.store, world.federation_id, tmp_path, attest=True, say=print)
    dave.step()

    assert world.round.phase is Phase.FINAL
    assert world.records() == [right.derived]
    assert block_cid(RAW, encode_derived(right.derived)) in world.store.kept()
