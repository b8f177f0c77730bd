"""What is on the contract at one moment, as `protocol.replay` derives it from the events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

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
    """A round at one moment. Derived: phase, basis, training_closed_at, withdrawable; the rest is from its events.

    Times are chain seconds, amounts base units of the federation's token.
    """

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

    @cached_property
    def _updates_by_client(self) -> dict[Address, UpdateState]:
        return {update.client: update for update in self.updates}

    def update_of(self, client: Address) -> UpdateState | None:
        """The client's update, or None."""
        return self._updates_by_client.get(client)

    @cached_property
    def time_millis(self) -> int:
        """Milliseconds paid where pay is by time: the sum of min(recorded, time cap)."""
        return sum(min(update.millis, self.terms.time_cap_millis) for update in self.updates)

    @property
    def challenge_ends(self) -> int | None:
        """When attesting ends, None until settled."""
        return self.settled.challenge_ends if self.settled else None

    @property
    def result(self) -> Digest | None:
        """The model that this round makes the head, None where it makes none (so far)."""
        return self.settled.settlement.model if self.settled and self.phase.moves_head else None

    @property
    def rewards(self) -> tuple[Hash, int] | None:
        """Root and total of the rewards that clients claim by result, None where pay is not by result."""
        if self.basis is not PayBasis.RESULT:
            return None
        if self.revealed:
            return self.revealed.rewards_root, self.revealed.rewards_total
        assert self.settled is not None  # noqa: S101 - the basis is Result only after a settlement
        return self.settled.settlement.rewards_root, self.settled.settlement.rewards_total


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
