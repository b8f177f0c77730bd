"""A federation of acme's with three auditors (quorum two), and one round of it, on any `World`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from protocol import hashing, merkle
from protocol.merkle import MerkleTree
from protocol.state import FederationState, RoundState
from protocol.terms import FederationTerms, RoundTerms, Settlement
from protocol.types import ZERO_HASH, Digest, Hash, RoundId
from tests.network.chain_world import AUDITORS, World, address_of, some_hash

FIRST_MODEL, NEXT_MODEL = Digest(some_hash("first model")), Digest(some_hash("next model"))
TERMS = RoundTerms(
    reward_per_milli=3,
    max_millis=60_000,
    time_cap_millis=20_000,
    max_updates=4,
    training_seconds=1000,
    settlement_seconds=500,
    challenge_seconds=300,
    bond=5_000,
    attestation_fee=70,
    consolidate=False,
)
REWARDS = {"alice": 30_000, "bob": 60_000}  # base units, less than rate x recorded


class Game:
    """Creates the federation; the methods are the moves that most tests share."""

    def __init__(self, world: World, *, audited: bool = True, admission_root: Hash = ZERO_HASH, salt: str = "") -> None:
        self.world, self.acme = world, world.chain("acme")
        auditors = tuple(address_of(name) for name in AUDITORS) if audited else ()
        self.terms = FederationTerms(
            token=world.token,
            task=Digest(some_hash("task")),
            model=FIRST_MODEL,
            forfeit_to=address_of("treasury"),
            quorum=2 if audited else 0,
            admission_root=admission_root,
            auditors=auditors,
        )
        self.id = self.acme.create_federation(some_hash(salt), self.terms)
        self.round = RoundId(b"")

    @property
    def federation(self) -> FederationState:
        return self.world.check().federations[self.id]

    @property
    def state(self) -> RoundState:
        """The last round launched, after all checks."""
        return self.world.check().rounds[self.round]

    def launch(self, **changes: Any) -> RoundState:
        self.round = self.acme.launch_round(self.id, self.federation.head, replace(TERMS, **changes))
        return self.state

    def train(self, **millis: int) -> RoundState:
        """Each named client submits; then training ends, unless it is full."""
        self.world.advance(100)
        for name, recorded in millis.items():
            self.world.chain(name).submit_update(self.round, Digest(some_hash(name)), recorded)
            state = self.state
        if state.training_closed_at is None:
            self.world.advance_to(state.training_ends)
        return self.state

    def settlement(self, rewards: dict[str, int] | None = None, model: Digest = NEXT_MODEL) -> Settlement:
        tree = self.tree(REWARDS if rewards is None else rewards)
        total = sum((REWARDS if rewards is None else rewards).values())
        updates_hash = self.state.updates_hash
        return Settlement(updates_hash, model, Digest(some_hash("report")), some_hash("derived"), tree.root, total)

    def tree(self, rewards: dict[str, int]) -> MerkleTree:
        return MerkleTree(merkle.leaf(self.round, address_of(name), amount) for name, amount in rewards.items())

    def proof(self, name: str, rewards: dict[str, int] | None = None) -> tuple[Hash, ...]:
        rewards = REWARDS if rewards is None else rewards
        return self.tree(rewards).proof(merkle.leaf(self.round, address_of(name), rewards[name]))

    def settle(self, rewards: dict[str, int] | None = None) -> RoundState:
        self.acme.settle(self.round, self.settlement(rewards))
        return self.state

    def result_hash(self, settlement: Settlement) -> Hash:
        return hashing.result_hash(
            self.acme.chain_id,
            self.acme.contract,
            self.round,
            self.state.base,
            settlement.updates_hash,
            settlement.model,
            settlement.derived_hash,
            settlement.rewards_root,
            settlement.rewards_total,
        )

    def attest(self, result: Hash, *names: str) -> RoundState:
        for name in names:
            made = hashing.witness(address_of(name), self.round, some_hash("merge"))
            self.world.chain(name).attest(self.round, result, made)
            state = self.state
        return state
