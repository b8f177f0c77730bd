"""The relay: first what it refuses before any gas is spent, then how it batches, and what it does when the chain fails."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest

from network.memory_chain import MemoryChain
from organization.gate import Gate
from organization.relay import NotPaidFor, Progress, RelayBusy, RelayRefused, UnknownUpdate
from protocol.errors import (
    ChainUnavailable,
    InsufficientFunds,
    InvalidInput,
    KeyError_,
    TransactionReverted,
    UnknownRound,
)
from protocol.terms import SkipReason
from protocol.types import Digest, RoundId, hex32
from tests.network.chain_world import address_of, some_hash
from tests.organization.relays import Door, RelayWorld, body

NOWHERE = RoundId(some_hash("no round"))


@pytest.fixture
def world(tmp_path):
    return RelayWorld(tmp_path)


@pytest.fixture
def relay(world):
    return world.relay()


@pytest.fixture
def door(world, relay):
    return Door(world, relay)


def problem(response, status):
    assert response.status_code == status, response.text
    assert set(response.json()) == {"what", "why", "do"} and response.json()["what"]
    return response.json()


# --- refused before any gas is spent ---


def test_without_an_account_nobody_pays(world):
    with pytest.raises(KeyError_):
        world.relay(MemoryChain(world.ledger))


def test_without_a_relay_there_is_nothing_to_hand_in_to(world):
    problem(Door(world, None).hand_in(world.signed("alice")), 404)


def test_unknown_rounds(world, relay, door):
    with pytest.raises(UnknownRound, match=hex32(NOWHERE)):
        relay.accept(NOWHERE, world.signed("alice"))
    problem(door.hand_in(world.signed("alice"), round=hex32(NOWHERE)), 404)


def test_other_federations(world, relay):
    terms, update, other = world.federation.terms, world.signed("alice"), world.chain("other")
    world.ledger.mint(terms.token, other.account, 10**9)
    another = other.create_federation(some_hash("other"), terms)
    round_id = other.launch_round(another, terms.model, world.terms)
    relay.step()
    with pytest.raises(NotPaidFor, match="not of the federation"):
        relay.accept(round_id, update)


def test_clients_that_have_not_joined(world, relay, door):
    with pytest.raises(NotPaidFor, match="has not joined"):
        relay.accept(world.round.id, world.signed("mallory"))
    assert "Join" in problem(door.hand_in(world.signed("mallory")), 403)["do"]


def test_rounds_that_admit_anyone_unless_told_otherwise(tmp_path):
    world = RelayWorld(tmp_path, listed=False)
    with pytest.raises(NotPaidFor, match="admits anyone"):
        world.relay().accept(world.round.id, world.signed("mallory"))
    relay = world.relay(anyone=True)
    assert relay.accept(world.round.id, world.signed("mallory")).progress is Progress.PENDING


@pytest.mark.parametrize("forged", ["digest", "millis", "client", "signature"])
def test_signatures_over_anything_else(world, relay, forged):
    good = world.signed("alice")
    changed = {
        "digest": replace(good, digest=Digest(some_hash("another"))),
        "millis": replace(good, millis=999),
        "client": replace(good, client=address_of("bob")),
        "signature": replace(good, signature=bytes(65)),
    }[forged]
    with pytest.raises(InvalidInput, match="signature is not by the key"):
        relay.accept(world.round.id, changed)


def test_wallet_contracts_are_told_to_send_their_own(world, relay, door):
    long = replace(world.signed("alice"), signature=b"whatever a wallet takes")
    with pytest.raises(InvalidInput, match=r"23 bytes.*wallet contract"):
        relay.accept(world.round.id, long)
    assert "submitUpdateFor" in problem(door.hand_in(long), 400)["do"]


def test_values_that_the_contract_refuses(world, relay):
    with pytest.raises(InvalidInput, match="5001 ms"):
        relay.accept(world.round.id, world.signed("alice", 5001))
    with pytest.raises(InvalidInput, match="digest is zero"):
        relay.accept(world.round.id, world.signed("alice", digest=Digest(bytes(32))))


def test_another_update_of_the_same_client(world, relay, door):
    relay.accept(world.round.id, world.signed("alice"))
    other = world.signed("alice", digest=Digest(some_hash("other")))
    with pytest.raises(RelayRefused, match="another update"):
        relay.accept(world.round.id, other)
    problem(door.hand_in(other), 409)
    MemoryChain(world.ledger, address_of("bob")).submit_update(world.round.id, Digest(some_hash("other")), 1)
    relay.step()
    with pytest.raises(RelayRefused, match="another update"):
        relay.accept(world.round.id, world.signed("bob"))


def test_the_last_seconds_of_training(world, relay):
    ends = world.round.training_ends
    world.pass_time(ends - world.ledger.now - 31)
    relay.step()
    relay.accept(world.round.id, world.signed("alice"))
    world.clock += 1  # nothing was read since: the relay's own clock tells
    with pytest.raises(RelayRefused, match="too late"):
        relay.accept(world.round.id, world.signed("bob"))


def test_a_full_round(tmp_path):
    world = RelayWorld(tmp_path, max_updates=2)
    relay = world.relay()
    relay.accept(world.round.id, world.signed("alice"))
    relay.accept(world.round.id, world.signed("bob"))
    with pytest.raises(RelayRefused, match="all the updates"):
        relay.accept(world.round.id, world.signed("carol"))
    assert relay.step()  # what fills the round does not wait
    with pytest.raises(RelayRefused, match="too late"):
        relay.accept(world.round.id, world.signed("carol"))
    assert world.clients == ["alice", "bob"] and not world.skips


def test_a_full_queue(world):
    relay = world.relay(capacity=2)
    for name in ("alice", "bob"):
        relay.accept(world.round.id, world.signed(name))
    with pytest.raises(RelayBusy, match="queue is full"):
        relay.accept(world.round.id, world.signed("carol"))


def test_a_chain_that_was_not_seen(world, door, relay):
    with pytest.raises(RelayBusy, match="does not see the chain"):
        world.relay(look=False).accept(world.round.id, world.signed("alice"))
    world.clock += 301
    problem(door.hand_in(world.signed("alice")), 503)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"round": "7"}, "round"),
        ({"round": "0x" + "AA" * 32}, "round"),
        ({"client": "alice"}, "client"),
        ({"client": "0x" + "aB" * 20}, "not an address"),
        ({"update": "bafy"}, "update"),
        ({"update": "b" * 59}, "not a CID"),
        ({"update": "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"}, "file"),
        ({"millis": -1}, "millis"),
        ({"millis": 2**40}, "millis"),
        ({"millis": "5"}, "millis"),
        ({"millis": 1.0}, "millis"),
        ({"millis": True}, "millis"),
        ({"signature": "0x123"}, "signature"),
        ({"signature": "0x" + "aa" * 1025}, "signature"),
        ({"more": 1}, "more"),
    ],
)
def test_malformed_requests(world, door, changes, where):
    told = problem(door.hand_in(world.signed("alice"), **changes), 400)
    assert where in told["what"]


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{" * 4000, b"\xff", b'{"millis": 1e999}', b"1" * 4000])
def test_garbage(door, content):
    problem(door.request("POST", "/relay/updates", content=content), 400)


def test_large_and_slow_bodies(world, relay):
    door = Door(world, relay)
    problem(door.request("POST", "/relay/updates", content=b" " * 4097), 413)
    problem(door.request("POST", "/relay/updates", content=iter_async([b" " * 1000] * 1000)), 413)


def test_a_body_that_drips_has_seconds(world, relay):
    async def app(scope, receive, send):
        raise AssertionError("the application never sees it")

    async def receive():
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b" ", "more_body": True}

    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "client": ("10.0.0.1", 1)}
    asyncio.run(Gate(app, seconds=0.2)(scope, receive, send))
    assert sent[0]["status"] == 408


def test_a_sender_that_leaves_is_not_answered():
    async def app(scope, receive, send):
        raise AssertionError("the application never sees it")

    async def receive():
        return {"type": "http.disconnect"}

    asyncio.run(Gate(app)({"type": "http", "method": "POST", "client": None}, receive, app))


def test_sources_are_forgotten_and_forgiven():
    now = [0.0]
    gate = Gate(None, burst=2, per_second=1, sources=2, clock=lambda: now[0])
    assert [gate._admits("a") for _ in range(4)] == [True, True, False, False]
    now[0] = 1.5
    assert [gate._admits("a") for _ in range(2)] == [True, False]
    assert gate._admits("b") and gate._admits("c")
    assert len(gate._left) == 2


async def iter_async(parts):
    for part in parts:
        yield part


def test_what_was_never_handed_in(world, relay, door):
    with pytest.raises(UnknownUpdate, match="no update"):
        relay.find(world.round.id, address_of("alice"))
    problem(door.look("alice"), 404)


# --- batches ---


def test_an_update_from_hand_to_chain(world, relay, door):
    taken = door.hand_in(world.signed("alice"))
    assert taken.status_code == 202
    assert taken.json() == {key: body(world, world.signed("alice"))[key] for key in ("round", "client", "update")} | {
        "state": "pending",
        "transaction": None,
        "reason": None,
    }
    assert door.request("GET", taken.headers["location"]).json() == taken.json()
    assert not relay.step()  # it waits for others
    world.clock += 3
    assert relay.step()
    shown = door.look("alice").json()
    assert shown["state"] == "submitted"
    assert shown["transaction"] == hex32(world.ledger.logs[-1].transaction)
    assert world.clients == ["alice"]
    again = door.hand_in(world.signed("alice"))
    assert (again.status_code, again.json()) == (202, shown)
    world.clock += 100
    assert not relay.step()


def test_one_transaction_for_all_who_came_in_time(world, relay):
    for name in ("alice", "bob", "carol"):
        relay.accept(world.round.id, world.signed(name))
        world.clock += 1
        relay.step()
    block = world.ledger.block
    relay.step()
    assert world.clients == ["alice", "bob", "carol"] and world.ledger.block <= block + 1
    assert relay.totals().transactions == 1


def test_a_full_batch_does_not_wait(world):
    relay = world.relay(batch=2)
    for name in ("alice", "bob", "carol"):
        relay.accept(world.round.id, world.signed(name))
    assert relay.step() and not relay.step()
    assert world.clients == ["alice", "bob"]


def test_the_end_of_training_does_not_wait(world, relay):
    world.pass_time(world.round.training_ends - world.ledger.now - 31)
    relay.step()
    relay.accept(world.round.id, world.signed("alice"))
    world.ledger.advance(1)
    assert relay.step()
    assert world.clients == ["alice"]


def test_time_that_has_not_passed_yet_is_waited_for(tmp_path):
    world = RelayWorld(tmp_path)
    relay = world.relay()
    world.ledger.advance_to(world.round.training_ends)
    world.close_training()
    world.launch()
    world.ledger.advance(2)
    relay.step()
    relay.accept(world.round.id, world.signed("alice", 5000))
    relay.accept(world.round.id, world.signed("bob", 1000))
    world.clock += 10
    assert relay.step() and world.clients == ["bob"]
    world.ledger.advance(3)
    assert relay.step() and world.clients == ["bob", "alice"]
    assert not world.skips


def test_a_client_that_came_first_by_itself_is_left_out(world, relay, door):
    relay.accept(world.round.id, world.signed("alice"))
    alice = MemoryChain(world.ledger, address_of("alice"))
    alice.submit_update(world.round.id, world.signed("alice").digest, 1000)
    world.clock += 5
    assert not relay.step()
    assert door.look("alice").json()["state"] == "submitted"
    assert door.hand_in(world.signed("alice")).json()["state"] == "submitted"


def test_a_client_that_slips_in_between_is_skipped_with_the_reason(world):
    class Racing(MemoryChain):
        def submit_updates(self, round, updates):
            alice = MemoryChain(self.ledger, address_of("alice"))
            alice.submit_update(round, Digest(some_hash("other")), 1)
            return super().submit_updates(round, updates)

    relay = world.relay(Racing(world.ledger, world.chain("payer").account))
    for name in ("alice", "bob"):
        relay.accept(world.round.id, world.signed(name))
    world.clock += 5
    relay.step()
    assert world.skips == [SkipReason.ALREADY_SUBMITTED]
    assert relay.find(world.round.id, address_of("alice")).progress is Progress.SKIPPED
    assert "another update" in relay.find(world.round.id, address_of("alice")).reason
    assert relay.find(world.round.id, address_of("bob")).progress is Progress.SUBMITTED
    world.clock += 1000
    assert not relay.step()


def test_what_training_closed_on_is_not_sent(world, relay):
    relay.accept(world.round.id, world.signed("alice"))
    world.pass_time(world.round.training_ends - world.ledger.now - 5)  # the relay was held up
    assert not relay.step()
    found = relay.find(world.round.id, address_of("alice"))
    assert (found.progress, "training closed" in found.reason) == (Progress.SKIPPED, True)


def test_a_new_round_makes_it_forget(world, relay):
    relay.accept(world.round.id, world.signed("alice"))
    before = world.round.id
    world.close_training()
    world.launch()
    relay.step()
    with pytest.raises(UnknownUpdate):
        relay.find(before, address_of("alice"))


# --- the chain fails ---


def test_no_gas_money_is_said_and_costs_no_attempt(world):
    poor = InsufficientFunds("0x… holds 0 wei, but the transaction can cost 9 wei.", "Gas.", "Send it some.")
    relay = world.relay(world.faulty_payer(3, poor))  # 1 and 2 look at the chain
    relay.accept(world.round.id, world.signed("alice"))
    world.clock += 5
    assert relay.step()
    assert any("holds 0 wei" in line for line in world.said)
    assert "holds 0 wei" in (relay.totals().problem or "")
    with pytest.raises(RelayBusy, match="cannot send now"):
        relay.accept(world.round.id, world.signed("bob"))
    assert not relay.step()
    world.clock += 11
    relay.accept(world.round.id, world.signed("bob"))
    assert relay.step()
    assert world.clients == ["alice", "bob"] and relay.totals().problem is None


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_lost_answer_makes_no_second_update(world, after):
    lost = ChainUnavailable("No block took it.", "", "Look at the state.")
    relay = world.relay(world.faulty_payer(3, lost, after=after))
    relay.accept(world.round.id, world.signed("alice"))
    world.clock += 5
    relay.step()
    world.clock += 11
    assert relay.step() is not after
    assert world.clients == ["alice"] and not world.skips
    assert relay.find(world.round.id, address_of("alice")).progress is Progress.SUBMITTED


def test_what_is_never_taken_is_given_up(world):
    class Refusing(MemoryChain):
        sent = 0

        def submit_updates(self, round, updates):
            Refusing.sent += 1
            raise TransactionReverted("NoReason")

    relay = world.relay(Refusing(world.ledger, world.chain("payer").account))
    relay.accept(world.round.id, world.signed("alice"))
    for _ in range(20):
        world.clock += 20
        relay.step()
    found = relay.find(world.round.id, address_of("alice"))
    assert (Refusing.sent, found.progress) == (3, Progress.SKIPPED)
    assert "3 attempts" in found.reason and "NoReason" in found.reason


def test_a_transaction_that_a_reorganisation_took_back_is_sent_again(world, relay):
    relay.accept(world.round.id, world.signed("alice"))
    world.clock += 5
    shorter, replay = world.ledger.logs[:], type(world.ledger._replay)(world.ledger.chain_id, world.ledger.contract)
    relay.step()
    replay.feed(shorter)
    world.ledger.logs[:], world.ledger._replay = shorter, replay
    assert not world.clients
    relay.step()
    world.clock += 5
    relay.step()
    assert world.clients == ["alice"]
    assert relay.totals().transactions == 2


def test_a_relay_that_was_killed_knows_nothing_and_does_no_harm(world, relay):
    relay.accept(world.round.id, world.signed("alice"))
    relay.accept(world.round.id, world.signed("bob"))
    world.clock += 5
    relay.step()
    again = world.relay()
    with pytest.raises(UnknownUpdate):
        again.find(world.round.id, address_of("alice"))
    assert again.accept(world.round.id, world.signed("alice")).progress is Progress.SUBMITTED
    assert again.accept(world.round.id, world.signed("carol")).progress is Progress.PENDING
    world.clock += 5
    again.step()
    assert world.clients == ["alice", "bob", "carol"] and not world.skips


def test_its_worker_survives_everything(world):
    stopped, calls = threading.Event(), []

    class Odd(MemoryChain):
        def state(self):
            calls.append(1)
            if len(calls) < 4:
                raise (ChainUnavailable("gone"), RuntimeError("odd"), RuntimeError("odd"))[len(calls) - 1]
            stopped.set()
            return super().state()

    relay = world.relay(Odd(world.ledger, world.chain("payer").account), look=False)
    relay.run(stopped, poll_seconds=0.001)
    assert len(calls) == 4
    assert sum("RuntimeError: odd" in line for line in world.said) == 1


# --- what it says of itself ---


def test_about(world, relay, door):
    relay.accept(world.round.id, world.signed("alice"))
    world.clock += 5
    relay.step()
    about = door.request("GET", "/relay").json()
    assert about == about | {
        "account": world.chain("payer").account,
        "federation": hex32(world.federation_id),
        "chain_id": 31337,
        "contract": world.ledger.contract,
        "domain": "Rondo TrainingRounds 1",
        "admits": "joined",
        "batch": 100,
        "pending": 0,
        "submitted": 1,
        "skipped": 0,
        "transactions": 1,
        "problem": None,
    }
    assert about["signs"].startswith("Update(bytes32 federation,")


def test_everything_is_described(door):
    paths = door.request("GET", "/openapi.json").json()["paths"]
    assert set(paths["/relay/updates"]) == {"post"} and "/relay" in paths and "/relay/updates/{round}/{client}" in paths
