"""Attack: strangers flood the relay, to burn the organization's gas, fill its memory, or crowd honest clients out.

Verdict: nothing is sent that was not signed by a joined client for this very round; memory is bounded; one source is
slowed down (429) while another gets through; and no request makes the service ask the chain.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from network.memory_chain import MemoryChain
from organization.relay import Progress, RelayBusy, RelayRefused
from protocol.types import Digest
from tests.network.chain_world import address_of, some_hash
from tests.organization.relays import CLIENTS, Door, RelayWorld, body


@pytest.fixture
def world(tmp_path: Path) -> RelayWorld:
    return RelayWorld(tmp_path)


def test_a_flood_from_one_source_costs_no_gas_and_stops_nobody(world: RelayWorld) -> None:
    relay = world.relay()
    door, block = Door(world, relay), world.ledger.block
    junk = [{"round": 7}, body(world, world.signed("mallory")), body(world, replace(world.signed("bob"), millis=7))]
    statuses = [
        door.request("POST", "/relay/updates", "6.6.6.6", json=junk[number % 3]).status_code for number in range(300)
    ]
    assert statuses[:3] == [400, 403, 400]
    assert statuses.count(429) >= 50 and set(statuses) == {400, 403, 429}
    assert door.hand_in(world.signed("alice"), "10.0.0.7").status_code == 202
    world.clock += 5
    relay.step()
    assert world.clients == ["alice"]
    assert (world.ledger.block, world.skips) == (block + 1, [])


def test_many_addresses_of_one_network_are_one_source(world: RelayWorld) -> None:
    door = Door(world, world.relay())
    statuses = [
        door.request("POST", "/relay/updates", f"2001:db8::{number:x}", content=b"{}").status_code
        for number in range(260)
    ]
    assert statuses[-1] == 429
    assert door.request("POST", "/relay/updates", "2001:db8:0:1::1", content=b"{}").status_code == 400


def test_made_up_accounts_pay_for_themselves(world: RelayWorld, tmp_path: Path) -> None:
    """In a round that admits anyone, 50 fresh accounts with valid signatures get nothing out of the relay."""
    open_world = RelayWorld(tmp_path / "open", listed=False)
    relay = open_world.relay()
    door = Door(open_world, relay)
    assert {door.hand_in(open_world.signed(f"sybil {number}")).status_code for number in range(50)} == {403}
    open_world.clock += 5
    assert not relay.step()
    assert relay.totals().pending == 0


def test_told_to_pay_for_anyone_it_pays_for_a_round_at_most(tmp_path: Path) -> None:
    world = RelayWorld(tmp_path, listed=False, max_updates=5)
    relay = world.relay(anyone=True)
    door = Door(world, relay)
    statuses = [door.hand_in(world.signed(f"sybil {number}")).status_code for number in range(20)]
    assert statuses == [202] * 5 + [409] * 15
    for _ in range(5):
        world.clock += 5
        relay.step()
    assert (relay.totals().transactions, len(world.round.updates), world.skips) == (1, 5, [])


def test_a_client_that_signs_many_updates_has_one(world: RelayWorld) -> None:
    relay = world.relay()
    relay.accept(world.round.id, world.signed("alice"))
    for number in range(20):
        with pytest.raises(RelayRefused):
            relay.accept(world.round.id, world.signed("alice", digest=Digest(some_hash(str(number)))))
    assert relay.totals().pending == 1


def test_clients_that_outrun_their_own_updates_cost_one_transaction_a_round(world: RelayWorld) -> None:
    """They hand in and send the same themselves, so that the relay's comes to nothing; it does not try again."""

    class Outrun(MemoryChain):
        def submit_updates(self, round, updates):  # type: ignore[no-untyped-def]
            for one in updates:
                MemoryChain(self.ledger, one.client).submit_update(round, one.digest, one.millis)
            return super().submit_updates(round, updates)

    relay = world.relay(Outrun(world.ledger, world.chain("payer").account))
    for name in CLIENTS:
        relay.accept(world.round.id, world.signed(name))
    for _ in range(50):
        world.clock += 5
        relay.step()
        for name in CLIENTS:
            assert relay.accept(world.round.id, world.signed(name)).progress is not Progress.PENDING
    assert (relay.totals().transactions, len(world.skips)) == (1, 5)


def test_memory_is_bounded(world: RelayWorld) -> None:
    relay = world.relay(capacity=3)
    for name in CLIENTS[:3]:
        relay.accept(world.round.id, world.signed(name))
    with pytest.raises(RelayBusy):
        relay.accept(world.round.id, world.signed(CLIENTS[3]))


def test_no_request_asks_the_chain(world: RelayWorld) -> None:
    class Watched(MemoryChain):
        asked = 0

        def state(self):  # type: ignore[no-untyped-def]
            Watched.asked += 1
            return super().state()

    relay = world.relay(Watched(world.ledger, world.chain("payer").account))
    door, before = Door(world, relay), Watched.asked
    for name in (*CLIENTS, "mallory"):
        door.hand_in(world.signed(name))
        door.look(name)
        door.request("GET", "/relay")
    assert Watched.asked == before
    assert address_of("mallory") not in {update.client for update in world.round.updates}
