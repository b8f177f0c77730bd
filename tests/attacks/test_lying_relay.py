"""Attack: a relay says yes, "submitted", with a transaction's hash, and sends nothing.

Verdict: the client reads the chain, not the relay. At its margin before the deadline it sends the same digest itself,
and the lie has cost it nothing but that transaction's gas.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from client.relay import Relay
from tests.client.relays import MARGIN, Counting, GaslessWorld, answer, hostile
from tests.client.world import steps

STATES = ("pending", "sent", "submitted", "skipped")


@pytest.mark.parametrize("state", STATES)
def test_a_relay_that_says_yes_and_sends_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: str) -> None:
    world = GaslessWorld(monkeypatch)
    round_id = world.launch()
    own_from = world.round(round_id).training_ends - MARGIN
    chain = Counting(world.key_chain("alice"))
    lie = json.dumps({"state": state, "transaction": "0x" + "ab" * 32, "reason": None}).encode()
    with hostile(answer("202 Accepted", lie)) as (url, requests):
        alice = world.client("alice", tmp_path, Relay(url), chain)
        [line] = steps(alice.step)
        assert f"it says {state}; own transaction from chain second {own_from}" in line
        [entry] = alice.outbox.entries()
        while world.ledger.now < own_from:
            assert (steps(alice.step), chain.sent) == ([], 0)
            world.ledger.advance(1)
        assert "committed" in steps(alice.step)[0]

    assert world.digests("alice") == [entry.digest]
    assert (chain.sent, world.trainings) == (1, 1)
    assert 1 < len(requests) < 8  # it was asked again now and then, and not at every look


def test_a_relay_that_answers_for_another_update(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever else it answers is not read at all."""
    world = GaslessWorld(monkeypatch)
    round_id = world.launch()
    lie = json.dumps({"state": "submitted", "client": "0x" + "0" * 40, "update": "bafy", "round": 7}).encode()
    with hostile(answer("202 Accepted", lie)) as (url, _):
        alice = world.client("alice", tmp_path, Relay(url))
        steps(alice.step)
        world.ledger.advance_to(world.round(round_id).training_ends - MARGIN)
        assert "committed" in steps(alice.step)[0]
