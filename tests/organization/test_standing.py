"""acme settles by standing, waits where an earlier record is gone, and goes on where nobody weighs anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.cid import RAW, Cid, directory_cid
from protocol.errors import BlockMissing
from protocol.merge_terms import Standing
from protocol.types import Digest
from tests.network.standing_world import HONEST, StandingWorld, said_of

WEIGHT = Standing(use="weight")


def test_weights_follow_what_clients_did_before(tmp_path: Path) -> None:
    world = StandingWorld(tmp_path, WEIGHT)
    world.play(*HONEST, bad=["mallory"])
    second = world.play(*HONEST, "mallory")
    assert said_of(second, "mallory").weight == 95 * 6
    third = world.play("mallory")
    first, standing = 95 * 8, world.standing_of("mallory")
    assert said_of(third, "mallory").weight < first and standing > -2710  # it agreed since, and comes back


def test_bytes_that_never_came_cost_standing(tmp_path: Path) -> None:
    world = StandingWorld(tmp_path, WEIGHT)
    world.play(*HONEST, "mallory", withhold=["mallory"])
    world.train(*HONEST, "mallory")
    assert world.standing_of("mallory") == -1000


def test_a_lost_record_is_named_and_the_round_is_settled_once_it_is_back(tmp_path: Path) -> None:
    world = StandingWorld(tmp_path, WEIGHT)
    world.play(*HONEST)
    world.train(*HONEST)
    settled = world.state.rounds[world.federation.rounds[0]].settled
    assert settled is not None
    cid = directory_cid(settled.settlement.report)
    cids = [cid, Cid(RAW, Digest(settled.settlement.derived_hash))]  # the leaf is named by the record's hash as well
    lost = {one: world.store.blocks.pop(one) for one in cids}
    with pytest.raises(BlockMissing, match="record of round 1"):
        world.worker().settle(world.round.id)
    assert world.round.settled is None
    world.store.blocks.update(lost)
    assert world.worker().settle(world.round.id)


def test_where_everybody_has_lost_standing_the_base_stays_and_pay_goes_on(tmp_path: Path) -> None:
    world = StandingWorld(tmp_path, WEIGHT)
    for _ in range(5):
        world.play(bad=["mallory"])
    base = world.federation.head
    derived = world.play("mallory")
    assert (derived.outcome, derived.merged, derived.model) == ("too-few-updates", 0, base)
    assert said_of(derived, "mallory").verdict == "accepted" and derived.rewards_total > 0
    assert world.play("alice", "mallory").outcome == "merged"


def test_who_was_kept_out_is_admitted_again_when_its_refusals_have_faded(tmp_path: Path) -> None:
    world = StandingWorld(tmp_path, Standing(use="admit", least=-1500))
    for _ in range(2):
        world.play(*HONEST, bad=["mallory"])
    verdicts = [said_of(world.play(*HONEST, "mallory"), "mallory") for _ in range(4)]
    assert [one.rule for one in verdicts] == ["low-standing", "low-standing", "low-standing", ""]  # 1900 1710 1539 1385
    assert verdicts[3].verdict == "accepted" and verdicts[3].reward > 0
