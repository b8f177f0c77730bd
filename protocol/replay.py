"""The reference model of the contract: ``state = replay(logs, now)``, since time alone moves phases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from protocol.events import ResultRevealed, RoundSettled
from protocol.terms import FederationTerms, PayBasis, Phase, RoundTerms
from protocol.types import Address, Digest, FederationId, Hash, RoundId


@dataclass(frozen=True, slots=True)
class UpdateState:
    """One client's update of a round, in chain order."""

    client: Address
    digest: Digest
    millis: int
    index: int  # position in the round, from 0
    paid: int | None = None  # base units, None while unpaid


@dataclass(frozen=True)
class RoundState:
    """A round at one moment. Derived: phase, basis, training_closed_at; the rest is from its events."""

    id: RoundId
    federation: FederationId
    index: int
    base: Digest
    admission_root: Hash
    terms: RoundTerms
    terms_hash: Hash
    launched_at: int
    training_ends: int
    settlement_ends: int
    escrow: int
    phase: Phase
    basis: PayBasis
    training_closed_at: int | None  # when the last update could come, None while training is open
    updates: tuple[UpdateState, ...]
    updates_hash: Hash
    settled: RoundSettled | None
    attestations: Mapping[Address, tuple[Hash, Hash]]  # auditor -> (result hash, witness)
    quorum_hash: Hash | None
    revealed: ResultRevealed | None
    reveal_ends: int | None
    paid_clients: int
    paid_auditors: Mapping[Address, int]
    returned: int
    forfeited: int
    withdrawable: int

    def update_of(self, client: Address) -> UpdateState | None:
        """The client's update, or None."""
        return next((update for update in self.updates if update.client == client), None)


@dataclass(frozen=True)
class FederationState:
    """A federation at one moment."""

    id: FederationId
    organization: Address
    offered_to: Address | None
    terms: FederationTerms
    head: Digest  # the model that the next round starts from
    admission_root: Hash
    joined: frozenset[tuple[Hash, Address]]
    rounds: tuple[RoundId, ...]


@dataclass(frozen=True)
class State:
    """Everything on the contract at one moment, ``now`` in chain seconds."""

    now: int
    federations: Mapping[FederationId, FederationState] = field(default_factory=dict)
    rounds: Mapping[RoundId, RoundState] = field(default_factory=dict)
