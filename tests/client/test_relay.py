"""A client with a relay: first the relays that fail it, each behind a real socket; then rounds through acme's own."""

from __future__ import annotations

import gzip
import json
import socket
import time
from pathlib import Path

import pytest

from client.loop import run_worker
from client.outbox import Stage
from client.relay import Handover, Relay, RelayFailed
from client.worker import NoFallback
from network.signatures import sign_update
from protocol.cid import directory_cid
from protocol.errors import InsufficientFunds, InvalidInput, KeyError_
from protocol.events import RewardPaid
from protocol.state import RoundState
from protocol.terms import SignedUpdate
from protocol.types import Digest
from tests.client.relays import (
    MARGIN,
    PAYER,
    Behaviour,
    Counting,
    GaslessWorld,
    answer,
    drip,
    dripping_body,
    endless,
    hostile,
    served,
    silent,
)
from tests.client.world import TERMS, steps
from tests.network.chain_world import address_of, key_of, some_hash

POOR = InsufficientFunds("0x… holds 0 wei, but the transaction can cost 9 wei.", "Gas.", "Send it some.")
YES = json.dumps({"state": "submitted", "transaction": "0x" + "ab" * 32, "reason": None}).encode()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> GaslessWorld:
    return GaslessWorld(monkeypatch)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def something(world: GaslessWorld) -> tuple[RoundState, SignedUpdate]:
    """A round and an update of it, signed by alice."""
    round_ = world.round(world.launch())
    chain = world.key_chain("alice")
    digest = Digest(some_hash("update"))
    return round_, sign_update(key_of("alice"), chain.chain_id, chain.contract, round_, digest, 1)


# --- relays that fail ---


@pytest.mark.parametrize(
    "url",
    [
        *("", "acme.example", "ftp://acme.example", "http://", "file:///etc/passwd"),
        *("http://user:secret@acme.example", "http://acme.example/?a=b", "http://acme.example/#x"),
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Relay(url)
    assert "secret" not in str(refused.value)


FAILURES: dict[str, tuple[Behaviour, str]] = {
    "silent": (silent, "within 1 s"),
    "hangs up": (lambda connection: None, "does not answer"),
    "drips its head": (drip, "within 1 s"),
    "drips its body": (dripping_body, "within 1 s"),
    "never ends": (endless, "no relay's answer"),
    "garbage": (answer("202 Accepted", b"\xff\xfe"), "no relay's answer"),
    "no protocol": (lambda connection: connection.sendall(b"SSH-2.0-OpenSSH\r\n"), "does not answer"),
    "empty": (answer("202 Accepted"), "no relay's answer"),
    "a list": (answer("202 Accepted", b"[]"), "no relay's answer"),
    "an unknown state": (answer("202 Accepted", b'{"state": "fine"}'), "no relay's answer"),
    "nested": (answer("202 Accepted", b'{"state":' + b"[" * 5000 + b"]" * 5000 + b"}"), "no relay's answer"),
    "packed": (answer("202 Accepted", gzip.compress(YES), "Content-Encoding: gzip"), "no relay's answer"),
    "200 instead of 202": (answer("200 OK", YES), "HTTP status 200"),
    "500": (answer("500 Internal Server Error", b"<html>"), "HTTP status 500"),
    "refuses": (answer("409 Conflict", b'{"what": "No.", "why": "Never."}'), "HTTP status 409.*No. Never."),
}


@pytest.mark.parametrize("name", FAILURES)
def test_every_failure_has_a_name_and_an_end(world: GaslessWorld, name: str) -> None:
    behaviour, words = FAILURES[name]
    round_, update = something(world)
    with hostile(behaviour) as (url, _):
        before = time.monotonic()
        with pytest.raises(RelayFailed, match=words):
            Relay(url, seconds=1).hand_in(round_, update)
        assert time.monotonic() - before < 3


def test_nobody_listens(world: GaslessWorld) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(RelayFailed, match=f"127.0.0.1:{port} does not answer: ConnectError"):
        Relay(f"http://127.0.0.1:{port}").hand_in(*something(world))


def test_redirects_are_answers_and_not_followed(world: GaslessWorld) -> None:
    with hostile(answer("202 Accepted", YES)) as (other, requests):
        redirect = answer("307 Temporary Redirect", b"", f"Location: {other}/relay/updates")
        with hostile(redirect) as (url, _), pytest.raises(RelayFailed, match="HTTP status 307"):
            Relay(url).hand_in(*something(world))
    assert not requests


def test_a_relay_cannot_write_to_the_terminal(world: GaslessWorld) -> None:
    evil = json.dumps({"what": "\x1b[2J\x07" + "é" * 500, "why": 7}).encode()
    with hostile(answer("400 Bad Request", evil)) as (url, _), pytest.raises(RelayFailed) as refused:
        Relay(url).hand_in(*something(world))
    assert str(refused.value).isascii() and str(refused.value).isprintable()
    assert len(str(refused.value)) < 350


def test_a_relay_is_asked_less_and_less_often(world: GaslessWorld) -> None:
    round_, _ = something(world)
    handover = Handover(Relay("http://acme.example"), 60)
    assert handover.own_from(round_) == round_.training_ends - 60
    asked = [now for now in range(1000, 1200) if handover.is_due(round_, now)]
    assert asked == [1000, 1005, 1015, 1035, 1075, 1135, 1195]
    assert handover.is_due(world.round(world_next(world)), 1196)


def world_next(world: GaslessWorld):  # type: ignore[no-untyped-def]
    world.ledger.advance(TERMS.training_seconds)
    return world.launch()


# --- what the worker makes of them ---


@pytest.mark.parametrize("name", FAILURES)
def test_its_own_transaction_comes_at_the_margin_whatever_the_relay_does(
    world: GaslessWorld, home: Path, name: str
) -> None:
    round_id = world.launch()
    own_from = world.round(round_id).training_ends - MARGIN
    chain = Counting(world.key_chain("alice"))
    said: list[str] = []
    with hostile(FAILURES[name][0]) as (url, requests):
        alice = world.client("alice", home, Relay(url, seconds=0.3), chain, say=said.append)
        assert steps(alice.step) == []
        [entry] = alice.outbox.entries()
        world.ledger.advance_to(own_from - 1)
        assert steps(alice.step) == []
        assert (chain.sent, world.digests("alice"), len(requests)) == (0, [], 2)
        world.ledger.advance_to(own_from)
        [line] = steps(alice.step)
    assert "committed" in line
    assert (chain.sent, world.digests("alice")) == (1, [entry.digest])
    assert world.trainings == 1
    assert any("The relay" in one and f"own transaction from chain second {own_from}" in one for one in said)


def test_a_relay_that_comes_back_is_used(world: GaslessWorld, home: Path) -> None:
    world.launch()
    chain = Counting(world.key_chain("alice"))
    relay = world.acmes_relay()
    with served(world, relay) as url:
        alice = world.client("alice", home, Relay(url), chain)
        assert steps(alice.step) == []  # it has not seen the chain: 503
        relay.step()
        world.ledger.advance(5)
        assert "handed" in steps(alice.step)[0]
    assert chain.sent == 0


def test_a_client_without_gas_is_told_so_plainly_and_goes_on_trying(world: GaslessWorld, home: Path) -> None:
    round_id = world.launch()
    chain = Counting(world.key_chain("alice"), POOR)
    with hostile(silent) as (url, requests):
        alice = world.client("alice", home, Relay(url, seconds=0.1), chain)
        world.ledger.advance_to(world.round(round_id).training_ends - MARGIN)
        with pytest.raises(NoFallback, match=r"cannot pay for its own.*holds 0 wei.*Send gas money") as told:
            alice.step()
        assert told.value.exit_code == 77
        assert alice.step() is None
        world.ledger.advance(10)
        assert alice.step() is None
        assert len(requests) == 2
    relay = world.acmes_relay()
    relay.step()
    with served(world, relay) as url:  # the relay is back, in the last minute
        alice = world.client("alice", home, Relay(url), chain)
        assert "handed" in (alice.step() or "")
        world.ledger.advance_to(world.round(round_id).training_ends - 15)
        assert relay.step()
    assert len(world.digests("alice")) == 1


def test_gas_money_that_comes_late_is_used(world: GaslessWorld, home: Path) -> None:
    round_id = world.launch()
    chain = Counting(world.key_chain("alice"), POOR)
    with hostile(silent) as (url, _):
        alice = world.client("alice", home, Relay(url, seconds=0.1), chain)
        world.ledger.advance_to(world.round(round_id).training_ends - MARGIN)
        with pytest.raises(NoFallback):
            alice.step()
        chain.error = None
        assert "committed" in (alice.step() or "")


def test_neither_ends_the_worker(world: GaslessWorld, home: Path) -> None:
    """A dead relay and no gas: the round is missed, in plain words, and the next one goes well."""
    first = world.launch()
    chain = Counting(world.key_chain("alice"), POOR)
    said: list[str] = []
    clock = iter(range(100))

    def pass_time(_: float) -> None:
        next(clock)
        world.ledger.advance(20)

    with hostile(answer("500 Oh No")) as (url, _):
        alice = world.client("alice", home, Relay(url), chain, rounds=1, say=said.append)
        run_worker(alice, poll_seconds=0.1, stopped=lambda: False, say=said.append, sleep=pass_time)
    assert alice.outbox.entries()[0].stage is Stage.MISSED
    assert sum("cannot pay for its own" in line for line in said) == 1
    assert any("closed before the update was on chain" in line for line in said)
    world.close(first)
    world.launch()
    chain.error = None
    assert "committed" in (world.client("alice", home, None, chain).step() or "")


def test_a_chain_that_cannot_sign_is_named(world: GaslessWorld, home: Path) -> None:
    world.launch()
    with pytest.raises(KeyError_):
        world.client("alice", home, Relay("http://127.0.0.1:1"), world.chain(address_of("alice"))).step()


# --- rounds through acme's relay ---


def test_a_round_without_a_transaction_of_ones_own(world: GaslessWorld, home: Path) -> None:
    round_id = world.launch()
    chain = Counting(world.key_chain("alice"), POOR)
    relay = world.acmes_relay()
    relay.step()
    said: list[str] = []
    with served(world, relay) as url:
        alice = world.client("alice", home, Relay(url), chain, say=said.append, claims=False)
        [line] = steps(alice.step)
        [entry] = alice.outbox.entries()
        assert f"handed {directory_cid(entry.digest)} to the relay" in line and "it says pending" in line
        world.ledger.advance_to(world.round(round_id).training_ends - 25)  # the relay does not wait any longer
        assert relay.step()
        assert steps(alice.step) == []
    assert any("is on chain, 700 ms" in line for line in said)
    assert world.digests("alice") == [entry.digest]
    world.close(round_id)
    assert "published" in steps(alice.step)[0]
    world.settle(round_id)
    assert "merged" in steps(alice.step)[0]
    # Anyone may send what pays her.
    due = 3 * min(700, TERMS.max_millis, 10 * 5 * 4)
    rewards = alice._artifacts.rewards(world.round(round_id), world.ledger.state())
    assert rewards == [(address_of("alice"), due)]
    world.chain(PAYER).claim(round_id, address_of("alice"), due, ())
    paid = [one.event for one in world.ledger.logs if isinstance(one.event, RewardPaid)]
    assert [(one.client, one.amount) for one in paid] == [(address_of("alice"), due)]


def test_a_client_that_is_started_again_hands_in_the_same(world: GaslessWorld, home: Path) -> None:
    world.launch()
    relay = world.acmes_relay()
    relay.step()
    with served(world, relay) as url:
        world.client("alice", home, Relay(url)).step()
        world.client("alice", home, Relay(url)).step()
        world.client("alice", home, Relay(url)).step()
    assert relay.totals().pending == 1
    assert world.trainings == 1


def test_a_relay_that_was_killed_gets_it_again(world: GaslessWorld, home: Path) -> None:
    world.launch()
    clock = [0.0]
    first, second = (world.acmes_relay(clock=lambda: clock[0]) for _ in range(2))
    first.step()
    with served(world, first) as url:
        world.client("alice", home, Relay(url)).step()
    second.step()
    with served(world, second) as url:
        assert "handed" in (world.client("alice", home, Relay(url)).step() or "")
    clock[0] += 5
    assert second.step()
    assert len(world.digests("alice")) == 1
