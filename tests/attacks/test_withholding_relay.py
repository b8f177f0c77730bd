"""Attack: a relay keeps a client's signed update until the last moment, to make it late, or to make it count twice.

Verdict: the client has sent its own transaction before; the relay's comes to the same digest and is passed over. Where
the relay's comes first, the client's own is refused as AlreadySubmitted, which is no error. One update either way.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from client.relay import Relay
from protocol.cid import parse_cid
from protocol.errors import TransactionReverted
from protocol.events import UpdateSkipped
from protocol.terms import SignedUpdate, SkipReason
from protocol.types import RoundId, address
from tests.client.relays import MARGIN, PAYER, Counting, GaslessWorld, answer, hostile
from tests.client.world import steps

LATER = answer("202 Accepted", json.dumps({"state": "pending"}).encode())


class Withholder:
    """Answers "pending" to everybody; sends what it holds when the attack says so."""

    def __init__(self, world: GaslessWorld, requests: list[bytes]) -> None:
        self.world, self.requests = world, requests

    def send(self) -> None:
        fields = json.loads(self.requests[0].partition(b"\r\n\r\n")[2])
        digest, signature = parse_cid(fields["update"]).digest, bytes.fromhex(fields["signature"][2:])
        update = SignedUpdate(address(fields["client"]), digest, fields["millis"], signature)
        self.world.chain(PAYER).submit_updates(RoundId(bytes.fromhex(fields["round"][2:])), [update])


def test_it_sends_after_the_clients_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    world = GaslessWorld(monkeypatch)
    round_id = world.launch()
    ends = world.round(round_id).training_ends
    with hostile(LATER) as (url, requests):
        alice = world.client("alice", tmp_path, Relay(url))
        steps(alice.step)
        world.ledger.advance_to(ends - MARGIN)
        assert "committed" in steps(alice.step)[0]
        world.ledger.advance_to(ends - 1)
        Withholder(world, requests).send()
    assert len(world.digests("alice")) == 1
    skipped = [one.event.reason for one in world.ledger.logs if isinstance(one.event, UpdateSkipped)]
    assert skipped == [SkipReason.ALREADY_SUBMITTED]
    assert steps(alice.step) == []


def test_it_sends_just_before_the_clients_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    world = GaslessWorld(monkeypatch)
    round_id = world.launch()
    said: list[str] = []
    with hostile(LATER) as (url, requests):
        relay = Withholder(world, requests)

        class Racing(Counting):
            def submit_update(self, *arguments: Any) -> Any:
                relay.send()  # its transaction is mined first
                return super().submit_update(*arguments)

        alice = world.client("alice", tmp_path, Relay(url), Racing(world.key_chain("alice")), say=said.append)
        steps(alice.step)
        world.ledger.advance_to(world.round(round_id).training_ends - MARGIN)
        assert steps(alice.step) == []
    [entry] = alice.outbox.entries()
    assert world.digests("alice") == [entry.digest]
    assert any("AlreadySubmitted" in line for line in said)
    world.close(round_id)
    assert "published" in steps(alice.step)[0]


def test_it_cannot_send_after_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    world = GaslessWorld(monkeypatch)
    round_id = world.launch()
    with hostile(LATER) as (url, requests):
        steps(world.client("alice", tmp_path, Relay(url)).step)
        world.close(round_id)
        with pytest.raises(TransactionReverted, match="WrongPhase"):
            Withholder(world, requests).send()
    assert world.digests("alice") == []
