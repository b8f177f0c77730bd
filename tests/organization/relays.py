"""A relay of acme's in memory, its clock and its service; clients with keys of their own and no gas."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx

from network.memory_chain import MemoryChain
from network.signatures import sign_update
from organization.relay import Limits, Relay
from organization.service import create_app
from protocol.cid import directory_cid
from protocol.events import UpdateSkipped
from protocol.merkle import MerkleTree, admission_leaf
from protocol.state import RoundState
from protocol.terms import SignedUpdate, SkipReason
from protocol.types import Digest, hex32
from tests.network.chain_world import address_of, key_of, some_hash
from tests.organization.faults import Faulty
from tests.organization.world import World

CLIENTS = ("alice", "bob", "carol", "dave", "erin")


class RelayWorld(World):
    """acme's federation, which admits `CLIENTS` by list, one round in training for 100 seconds, and a relay."""

    def __init__(self, home: Path, *, listed: bool = True, **terms: int) -> None:
        super().__init__()
        self.found(home)
        if listed:
            self.admit()
        self.launch(**terms)
        self.ledger.advance(100)
        self.clock = 0.0

    def admit(self) -> None:
        """Set the list, and join everybody on it."""
        tree = MerkleTree(admission_leaf(address_of(name)) for name in CLIENTS)
        self.chain().set_admission(self.federation_id, tree.root)
        for name in CLIENTS:
            self.chain().join(self.federation_id, address_of(name), tree.proof(admission_leaf(address_of(name))))

    def relay(self, chain: Any = None, *, look: bool = True, anyone: bool = False, **limits: float) -> Relay:
        """A relay that ``payer`` pays for; it has looked at the chain."""
        relay = Relay(
            chain or self.chain("payer"),
            self.federation_id,
            anyone=anyone,
            limits=Limits(**limits),  # type: ignore[arg-type]
            clock=lambda: self.clock,
            say=self.said.append,
        )
        if look:
            relay.step()
        return relay

    def pass_time(self, seconds: int) -> None:
        """On the chain and on the relay's machine."""
        self.ledger.advance(seconds)
        self.clock += seconds

    def signed(
        self, name: str, millis: int = 1000, digest: Digest | None = None, round_: RoundState | None = None
    ) -> SignedUpdate:
        """What ``name`` signs for the last round, or for another."""
        digest = Digest(some_hash(name)) if digest is None else digest
        return sign_update(
            key_of(name), self.ledger.chain_id, self.ledger.contract, round_ or self.round, digest, millis
        )

    @property
    def clients(self) -> list[str]:
        """Names of those whose update is on chain, in order."""
        names = {address_of(name): name for name in CLIENTS}
        return [names.get(update.client, update.client) for update in self.round.updates]

    @property
    def skips(self) -> list[SkipReason]:
        events = (log.event for log in self.ledger.logs)
        return [event.reason for event in events if isinstance(event, UpdateSkipped)]

    def faulty_payer(self, call: int, error: BaseException, *, after: bool = False) -> Any:
        """The payer's chain, whose ``call``-th call fails."""
        return Faulty(call, after, error).wrap(MemoryChain(self.ledger, self.chain("payer").account))


class Door:
    """Requests to the service with a relay, each from a source address that can be named."""

    def __init__(self, world: RelayWorld, relay: Relay | None) -> None:
        self.world = world
        self.app = create_app(MemoryChain(world.ledger), world.store, relay=relay)

    def request(self, method: str, path: str, source: str = "10.0.0.1", **more: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=(source, 1))

        async def send() -> httpx.Response:
            async with httpx.AsyncClient(transport=transport, base_url="http://acme") as client:
                return await client.request(method, path, **more)

        return asyncio.run(send())

    def hand_in(self, update: SignedUpdate, source: str = "10.0.0.1", /, **changes: Any) -> httpx.Response:
        return self.request("POST", "/relay/updates", source, json=body(self.world, update) | changes)

    def look(self, name: str) -> httpx.Response:
        return self.request("GET", f"/relay/updates/{hex32(self.world.round.id)}/{address_of(name)}")


def body(world: RelayWorld, update: SignedUpdate) -> dict[str, Any]:
    """The request's JSON for an update of the last round."""
    return {
        "round": hex32(world.round.id),
        "client": update.client,
        "update": str(directory_cid(update.digest)),
        "millis": update.millis,
        "signature": "0x" + update.signature.hex(),
    }
