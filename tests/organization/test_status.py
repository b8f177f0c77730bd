"""What the organization sees of its rounds."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from organization.status import federation_view, next_deadline, render, round_view
from protocol.terms import Phase
from protocol.types import Hash
from tests.organization.world import World


def test_deadlines_follow_the_phase(tmp_path):
    world = World()
    world.found(tmp_path)
    world.launch()
    assert next_deadline(world.round) == world.round.training_ends
    world.ledger.advance(10)
    world.post("alice")
    world.close_training()
    assert next_deadline(world.round) == world.round.settlement_ends
    assert world.worker().settle(world.round.id)
    assert next_deadline(world.round) == world.round.challenge_ends
    world.attest(Hash(b"\x01" * 32))
    assert world.round.phase is Phase.REJECTED and next_deadline(world.round) == world.round.reveal_ends
    world.ledger.advance_to(world.round.reveal_ends)
    assert next_deadline(world.round) is None


def test_views_are_json_and_render(tmp_path):
    world = World()
    world.found(tmp_path, audited=False)
    world.launch(consolidate=True)
    view = json.loads(json.dumps(federation_view(world.state, world.federation)))
    assert view["rounds"] == [round_view(world.round, audited=False)]
    assert view["rounds"][0]["escrow"] == str(world.round.escrow)
    text = rendered(view)
    assert "1 (consolidates)" in text and "training" in text and "open admission" in text


@pytest.mark.parametrize("audited", [True, False])
def test_what_is_unaudited_says_so_for_the_federation_and_each_round(tmp_path, audited):
    world = World()
    world.found(tmp_path, audited=audited)
    world.launch()
    view = federation_view(world.state, world.federation)
    assert view["audited"] is view["rounds"][0]["audited"] is audited
    heading, _, table = rendered(view).partition("round")
    assert ("UNAUDITED: the organization's word alone decides pay" in heading) is not audited
    assert ("unaudited" in table) is not audited
    assert ("0 of 1 " in table) is audited  # attestations


def rendered(view):
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(render(view))
    console.file.close()
    return console.export_text()
