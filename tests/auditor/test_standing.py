"""An audit derives the standings itself, from earlier records, and finds an organization that used others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from auditor.rederive import Verdict, audit_round
from protocol.cid import RAW, Cid, directory_cid
from protocol.merge_terms import Standing
from protocol.terms import Phase
from protocol.types import Digest
from tests.network.standing_world import HONEST, StandingWorld, said_of
from tests.processor.factory import account

USES = {
    "weight": Standing(use="weight", window=3),
    "admit": Standing(use="admit", window=3, least=-1500),
}


@pytest.fixture(params=USES)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> StandingWorld:
    """Two rounds in which mallory was refused: it stands at -1900."""
    world = StandingWorld(tmp_path, USES[request.param])
    for _ in range(2):
        world.play(*HONEST, bad=["mallory"])
    world.train(*HONEST, "mallory")
    assert world.standing_of("mallory") == -1900
    return world


def places(world: StandingWorld) -> set[str]:
    audit = world.audit()
    assert audit.verdict is Verdict.MISMATCH
    return {difference.where for difference in audit.differences}


def test_what_acme_s_worker_settles_is_what_follows(world: StandingWorld) -> None:
    assert world.worker().settle(world.round.id)
    audit = world.audit()
    assert (audit.verdict, audit.differences) == (Verdict.MATCH, ())
    mallory = said_of(world.record(), "mallory")
    if world.task.standing.use == "weight":
        assert (mallory.verdict, mallory.weight) == ("accepted", 95 * 5)
        assert said_of(world.record(), "alice").weight > 95 * 8
    else:
        assert (mallory.verdict, mallory.rule, mallory.reward) == ("refused", "low-standing", 0)


def test_a_settlement_by_other_standings_is_found(world: StandingWorld) -> None:
    world.settle(world.derive({account("mallory"): 4000}))
    found = places(world)
    assert {"report.updates[2].weight", "report.model", "chain.model", "chain.derived_hash"} <= found
    assert ("chain.rewards_total" in found) is (world.task.standing.use == "admit")


def test_a_settlement_that_forgets_the_past_is_found(world: StandingWorld) -> None:
    world.settle(world.derive({}))
    assert "report.updates[2].weight" in places(world)


def test_the_auditors_result_is_the_one_with_the_right_standings(world: StandingWorld) -> None:
    right = world.derive()
    world.settle(world.derive({}))
    assert world.audit().result_hash == right.result_hash
    world.reject(right)
    assert world.round.phase is Phase.REJECTED


def test_without_an_earlier_record_nothing_is_decided(world: StandingWorld) -> None:
    assert world.worker().settle(world.round.id)
    settled = world.state.rounds[world.federation.rounds[0]].settled
    assert settled is not None
    cid = directory_cid(settled.settlement.report)
    del world.store.blocks[cid]
    del world.store.blocks[
        Cid(RAW, Digest(settled.settlement.derived_hash))
    ]  # the report's leaf, which the hash names too
    audit = world.audit()
    assert audit.verdict is Verdict.UNDECIDED
    assert "record of round 1" in audit.reason and str(cid) in audit.reason


def test_an_audit_long_afterwards_derives_the_same(world: StandingWorld) -> None:
    assert world.worker().settle(world.round.id)
    audited = world.round.id
    world.attest()
    before = world.audit().result_hash
    for _ in range(4):
        world.play(*HONEST)
    world.ledger.advance(10**6)
    later = audit_round(world.chain("dave"), world.store, audited)
    assert (later.verdict, later.result_hash) == (Verdict.MATCH, before)


def test_standing_that_counts_for_nothing_is_not_looked_up(tmp_path: Path) -> None:
    world: Any = StandingWorld(tmp_path, Standing(use="record"))
    world.play(*HONEST, bad=["mallory"])
    world.train(*HONEST, "mallory")
    settled = world.state.rounds[world.federation.rounds[0]].settled
    del world.store.blocks[directory_cid(settled.settlement.report)]
    assert world.worker().settle(world.round.id)
    assert world.audit().verdict is Verdict.MATCH
    assert said_of(world.record(), "mallory").weight == 95
