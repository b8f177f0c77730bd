"""Naming a round: refusals, then ids and indices."""

from __future__ import annotations

import pytest

from protocol.errors import InvalidInput, UnknownFederation, UnknownRound
from protocol.reference import latest_round, resolve_federation, resolve_round
from protocol.types import FederationId, hex32
from tests.organization.world import World


@pytest.fixture
def world(tmp_path):
    world = World()
    world.found(tmp_path)
    world.launch()
    world.close_training()
    world.launch()
    return world


@pytest.mark.parametrize("text", ["", "last", "-1", "1.0", "0x", "0x12", "0x" + "g" * 64, "9" * 21, "²", "1 2"])
def test_refuses_what_names_nothing(world, text):
    with pytest.raises(InvalidInput):
        resolve_round(world.state, world.federation_id, text)


@pytest.mark.parametrize("text", ["0", "3", "0x" + "00" * 32])
def test_refuses_what_is_not_there(world, text):
    with pytest.raises(UnknownRound):
        resolve_round(world.state, world.federation_id, text)


def test_an_index_needs_a_federation(world):
    with pytest.raises(InvalidInput, match="No federation is configured"):
        resolve_round(world.state, None, "1")
    with pytest.raises(UnknownFederation):
        resolve_round(world.state, FederationId(bytes(32)), "1")


def test_a_federation_without_rounds_has_no_latest(tmp_path):
    world = World()
    world.found(tmp_path)
    with pytest.raises(UnknownRound):
        latest_round(world.federation)
    with pytest.raises(UnknownRound, match="has none yet"):
        resolve_round(world.state, world.federation_id, "1")


def test_ids_and_indices_name_the_same(world):
    first, second = world.federation.rounds
    assert resolve_round(world.state, world.federation_id, "1") == first
    assert resolve_round(world.state, world.federation_id, " 2 ") == second == latest_round(world.federation)
    assert resolve_round(world.state, None, hex32(first)) == first
    assert resolve_round(world.state, None, hex32(first).upper().replace("0X", "0x")) == first
    assert resolve_federation(world.state, world.federation_id) == world.federation
