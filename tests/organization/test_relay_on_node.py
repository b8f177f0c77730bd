"""The relay on the contract itself: what a batch costs, what is skipped, and a payer without a wei."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from network.node import LocalNode
from organization.relay import Progress, Relay, RelayBusy
from protocol.types import Digest
from tests.network.chain_game import Game
from tests.network.chain_world import EvmWorld, address_of, key_of, some_hash

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def node() -> Iterator[LocalNode]:
    with LocalNode(block_time=None) as running:
        yield running


class Table:
    """A round on the node, and a relay that mallory pays for."""

    def __init__(self, node: LocalNode, chain: Any = None, **terms: int) -> None:
        self.world, self.clock = EvmWorld(node), 0.0
        self.game = Game(self.world)
        self.game.launch(**terms)
        self.world.advance(100)
        self.said: list[str] = []
        self.relay = Relay(
            self.world.chain("mallory") if chain is None else chain(self.world),
            self.game.id,
            anyone=True,
            clock=lambda: self.clock,
            say=self.said.append,
        )
        self.relay.step()

    def hand_in(self, *names: str) -> None:
        for name in names:
            update = self.world.chain(name).sign_update(self.game.state, Digest(some_hash(name)), 20_000)
            self.relay.accept(self.game.round, update)
        self.clock += 5

    def progress(self, name: str) -> Progress:
        return self.relay.find(self.game.round, address_of(name)).progress


def test_a_batch_of_clients_without_a_wei(node: LocalNode) -> None:
    table = Table(node)
    names = ("alice", "bob", "carol")
    for name in names:
        node.fund(address_of(name), 0)
    table.hand_in(*names)
    assert table.relay.step()
    assert [update.client for update in table.game.state.updates] == [address_of(name) for name in names]
    assert {table.progress(name) for name in names} == {Progress.SUBMITTED}
    totals = table.relay.totals()
    assert totals.transactions == 1 and totals.gas_used < 250_000
    assert all(int(node.rpc("eth_getBalance", address_of(name), "latest"), 16) == 0 for name in names)
    for name in names:
        node.fund(address_of(name))


class Raced:
    """mallory's chain; alice's own transaction gets in just before mallory's."""

    def __init__(self, world: EvmWorld) -> None:
        self._world, self._chain = world, world.chain("mallory")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chain, name)

    def submit_updates(self, round: Any, updates: Any) -> Any:
        self._world.chain("alice").submit_update(round, Digest(some_hash("mine")), 1)
        return self._chain.submit_updates(round, updates)


def test_what_the_contract_skips_is_not_sent_again(node: LocalNode) -> None:
    table = Table(node, Raced)
    table.hand_in("alice", "bob")
    assert table.relay.step()
    assert (table.progress("alice"), table.progress("bob")) == (Progress.SKIPPED, Progress.SUBMITTED)
    table.clock += 1000
    assert not table.relay.step()


def test_a_round_that_filled_meanwhile_costs_nothing(node: LocalNode) -> None:
    table = Table(node, max_updates=1)
    table.hand_in("bob")
    balance = node.rpc("eth_getBalance", address_of("mallory"), "latest")
    table.world.chain("alice").submit_update(table.game.round, Digest(some_hash("mine")), 1)
    assert not table.relay.step()
    assert table.progress("bob") is Progress.SKIPPED
    assert node.rpc("eth_getBalance", address_of("mallory"), "latest") == balance


def test_a_payer_without_a_wei_says_so_and_goes_on_when_it_has_some(node: LocalNode) -> None:
    table = Table(node)
    node.fund(address_of("mallory"), 0)
    table.hand_in("alice")
    assert table.relay.step()
    assert any("holds 0 wei" in line for line in table.said)
    with pytest.raises(RelayBusy, match="holds 0 wei"):
        table.hand_in("bob")
    node.fund(address_of("mallory"))
    table.clock += 11
    table.hand_in("bob")
    assert table.relay.step()
    assert len(table.game.state.updates) == 2
    assert all(str(key_of(name).key.hex()) not in line for name in ("alice", "mallory") for line in table.said)
