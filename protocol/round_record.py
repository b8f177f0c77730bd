"""One round as its events tell it, and the contract's rules of phase, pay and return as functions of time."""

from __future__ import annotations

from dataclasses import replace

from protocol import hashing
from protocol.errors import LogsIncomplete
from protocol.events import (
    AttestationFeePaid,
    Attested,
    BondForfeited,
    EscrowReturned,
    Event,
    QuorumReached,
    ResultRevealed,
    RewardPaid,
    RoundLaunched,
    RoundSettled,
    TrainingClosed,
    UpdateSubmitted,
)
from protocol.state import RoundState, UpdateState
from protocol.terms import FederationTerms, PayBasis, Phase, Settlement
from protocol.types import Address, Hash, hex32


class RoundRecord:
    """Takes a round's events in order and answers for any moment from the last of them on.

    Args:
        launched: The event that began the round.
        federation: The terms of its federation.
        chain_id: The chain that the contract is on.
        contract: Its address.

    Raises:
        LogsIncomplete: By every method that takes an event, where the event cannot follow those before it.
    """

    def __init__(self, launched: RoundLaunched, federation: FederationTerms, chain_id: int, contract: Address) -> None:
        self.launched, self.federation, self.chain_id, self.contract = launched, federation, chain_id, contract
        self.terms = launched.terms
        self.updates: list[UpdateState] = []
        self.position: dict[Address, int] = {}
        self.updates_hash = hashing.seed_hash(chain_id, contract, launched.round, launched.base, launched.terms_hash)
        self.time_millis = 0
        self.closed_at: int | None = None
        self.settled: RoundSettled | None = None
        self.attestations: dict[Address, tuple[Hash, Hash]] = {}
        self.quorum_hash: Hash | None = None
        self.revealed: ResultRevealed | None = None
        self.paid_clients = 0
        self.paid_auditors: dict[Address, int] = {}
        self.returned = 0
        self.forfeited = 0
        self._cached: tuple[tuple[bool, ...], RoundState] | None = None

    # --- events ---

    def take(self, event: Event) -> None:
        """Take the round's next event."""
        self._cached = None
        match event:
            case UpdateSubmitted():
                self._submitted(event)
            case TrainingClosed():
                self._require(len(self.updates) == self.terms.max_updates, "training closed before its last update")
                self.closed_at = event.closed_at
            case RoundSettled():
                self._settled(event)
            case Attested():
                self._attested(event)
            case QuorumReached():
                agreed = sum(result == event.result_hash for result, _ in self.attestations.values())
                fresh = self.quorum_hash is None and agreed == self.federation.quorum
                self._require(fresh, "a quorum without its attestations, or a second one")
                self.quorum_hash = event.result_hash
            case ResultRevealed():
                self._revealed(event)
            case RewardPaid():
                self.pay(event.client, event.amount)
            case AttestationFeePaid():
                owed = event.auditor in self.attestations and event.auditor not in self.paid_auditors
                self._require(owed, f"a fee for {event.auditor} without its attestation, or twice")
                self.paid_auditors[event.auditor] = event.amount
            case EscrowReturned():
                self.returned += event.amount
            case BondForfeited():
                self.forfeited += event.amount

    def _submitted(self, event: UpdateSubmitted) -> None:
        self._require(event.client not in self.position, f"a second update of {event.client}")
        self._require(self.closed_at is None and self.settled is None, "an update after training closed")
        self.position[event.client] = len(self.updates)
        self.updates.append(UpdateState(event.client, event.digest, event.millis, len(self.updates)))
        self.updates_hash = hashing.next_hash(self.updates_hash, event.client, event.digest, event.millis)
        self.time_millis += min(event.millis, self.terms.time_cap_millis)

    def _settled(self, event: RoundSettled) -> None:
        self._require(self.settled is None, "a second settlement")
        self._require(
            event.settlement.updates_hash == self.updates_hash,
            f"the round settled on updates hash {hex32(event.settlement.updates_hash)}, "
            f"its {len(self.updates)} updates hash to {hex32(self.updates_hash)}",
        )
        self._require(event.result_hash == self.result_hash(event.settlement), "a result hash of another settlement")
        self.settled = event

    def _attested(self, event: Attested) -> None:
        self._require(self.settled is not None, "an attestation before any settlement")
        known = event.auditor in self.federation.auditors and event.auditor not in self.attestations
        self._require(known, f"an attestation of {event.auditor}, who is no auditor or attested before")
        self.attestations[event.auditor] = (event.result_hash, event.witness)

    def _revealed(self, event: ResultRevealed) -> None:
        stated = Settlement(
            self.updates_hash, event.model, event.model, event.derived_hash, event.rewards_root, event.rewards_total
        )
        rejected = self.settled is not None and self.quorum_hash not in (None, self.settled.result_hash)
        fits = rejected and self.revealed is None and self.result_hash(stated) == self.quorum_hash
        self._require(fits, "a revealed result that no quorum agreed on, or a second one")
        self.revealed = event

    def pay(self, client: Address, amount: int) -> None:
        """Take a payment of ``amount`` base units to ``client``, alone or as one of a batch."""
        self._cached = None
        position = self.position.get(client)
        self._require(position is not None, f"a payment to {client}, who has no update")
        assert position is not None  # noqa: S101 - said to the type checker
        self._require(self.updates[position].paid is None, f"a second payment to {client}")
        self.updates[position] = replace(self.updates[position], paid=amount)
        self.paid_clients += amount

    def _require(self, condition: bool, found: str) -> None:
        if not condition:
            raise LogsIncomplete(f"The events of round {hex32(self.launched.round)} hold {found}.")

    def result_hash(self, settlement: Settlement) -> Hash:
        """Return what auditors attest who agree with ``settlement``; its report is not part of it."""
        return hashing.result_hash(
            self.chain_id,
            self.contract,
            self.launched.round,
            self.launched.base,
            settlement.updates_hash,
            settlement.model,
            settlement.derived_hash,
            settlement.rewards_root,
            settlement.rewards_total,
        )

    # --- rules ---

    @property
    def reveal_ends(self) -> int | None:
        """Until when a rejected round's result can be revealed: settled + 2 x challenge; None until settled."""
        return self.settled.settled_at + 2 * self.terms.challenge_seconds if self.settled else None

    def closed_by(self, now: int) -> int | None:
        """Return when training closed, None where it is open at ``now``."""
        if self.closed_at is not None:
            return self.closed_at
        return self.launched.training_ends if now >= self.launched.training_ends else None

    def phase(self, now: int) -> Phase:
        """Return the phase at ``now``; the contract's own rule, in its order."""
        if self.settled is None:
            if self.closed_by(now) is None:
                return Phase.TRAINING
            if not self.updates:
                return Phase.VOID
            return Phase.SETTLEMENT if now < self.launched.settlement_ends else Phase.ABANDONED
        if self.quorum_hash is not None:
            return Phase.FINAL if self.quorum_hash == self.settled.result_hash else Phase.REJECTED
        if now < self.settled.challenge_ends:
            return Phase.CHALLENGE
        return Phase.UNCONFIRMED if self.federation.is_audited else Phase.FINAL

    def basis(self, now: int) -> PayBasis:
        """Return how clients are paid, as known at ``now``."""
        match self.phase(now):
            case Phase.VOID:
                return PayBasis.NOTHING
            case Phase.FINAL:
                return PayBasis.RESULT
            case Phase.UNCONFIRMED | Phase.ABANDONED:
                return PayBasis.TIME
            case Phase.REJECTED if self.revealed:
                return PayBasis.RESULT
            case Phase.REJECTED if self.reveal_ends is not None and now >= self.reveal_ends:
                return PayBasis.TIME
        return PayBasis.UNDECIDED

    def withdrawable(self, now: int) -> int:
        """Return the base units that ``withdraw`` returns at ``now``: the escrow less all that can still be owed."""
        phase = self.phase(now)
        if phase.is_live:
            return 0
        held_bond = self.terms.bond if phase in (Phase.REJECTED, Phase.ABANDONED) else 0
        return self.launched.escrow - self._rewards_owed(now) - self._fees_owed(now) - held_bond - self.returned

    def _rewards_owed(self, now: int) -> int:
        """Return what clients are or can be owed in all, paid or not."""
        match self.basis(now):
            case PayBasis.UNDECIDED:
                return self.terms.reward_pool
            case PayBasis.NOTHING:
                return 0
            case PayBasis.TIME:
                return self.terms.reward_per_milli * self.time_millis
        if self.revealed:
            return self.revealed.rewards_total
        return self.settled.settlement.rewards_total if self.settled else 0

    def _fees_owed(self, now: int) -> int:
        """Return what auditors are or can be owed in all: each can still attest until the challenge ends."""
        if self.settled is None:
            return 0
        may_attest = now < self.settled.challenge_ends
        return self.terms.attestation_fee * len(self.federation.auditors if may_attest else self.attestations)

    # --- snapshot ---

    def at(self, now: int) -> RoundState:
        """Return the round at ``now``; costs nothing while neither an event nor a deadline came since the last call."""
        ends = [self.launched.training_ends, self.launched.settlement_ends]
        if self.settled is not None and self.reveal_ends is not None:
            ends += [self.settled.challenge_ends, self.reveal_ends]
        passed = tuple(now >= end for end in ends)
        if self._cached is None or self._cached[0] != passed:
            self._cached = (passed, self._snapshot(now))
        return self._cached[1]

    def _snapshot(self, now: int) -> RoundState:
        launched = self.launched
        return RoundState(
            id=launched.round,
            federation=launched.federation,
            index=launched.index,
            base=launched.base,
            admission_root=launched.admission_root,
            terms=launched.terms,
            terms_hash=launched.terms_hash,
            launched_at=launched.launched_at,
            training_ends=launched.training_ends,
            settlement_ends=launched.settlement_ends,
            escrow=launched.escrow,
            phase=self.phase(now),
            basis=self.basis(now),
            training_closed_at=self.closed_by(now),
            updates=tuple(self.updates),
            updates_hash=self.updates_hash,
            settled=self.settled,
            attestations=dict(self.attestations),
            quorum_hash=self.quorum_hash,
            revealed=self.revealed,
            reveal_ends=self.reveal_ends,
            paid_clients=self.paid_clients,
            paid_auditors=dict(self.paid_auditors),
            returned=self.returned,
            forfeited=self.forfeited,
            withdrawable=self.withdrawable(now),
        )
