"""The contract's events as frozen records: the audit log that ``replay`` reads."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.terms import FederationTerms, PayBasis, RoundTerms, Settlement, SkipReason
from protocol.types import Address, Digest, FederationId, Hash, RoundId


@dataclass(frozen=True, slots=True)
class FederationCreated:
    federation: FederationId
    organization: Address
    salt: Hash
    terms: FederationTerms


@dataclass(frozen=True, slots=True)
class OrganizationOffered:
    federation: FederationId
    organization: Address
    offered_to: Address


@dataclass(frozen=True, slots=True)
class OrganizationChanged:
    federation: FederationId
    previous: Address
    organization: Address


@dataclass(frozen=True, slots=True)
class AdmissionChanged:
    federation: FederationId
    admission_root: Hash


@dataclass(frozen=True, slots=True)
class Joined:
    federation: FederationId
    admission_root: Hash
    client: Address


@dataclass(frozen=True, slots=True)
class RoundLaunched:
    round: RoundId
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


@dataclass(frozen=True, slots=True)
class UpdateSubmitted:
    round: RoundId
    client: Address
    digest: Digest
    millis: int


@dataclass(frozen=True, slots=True)
class UpdateSkipped:
    round: RoundId
    client: Address
    digest: Digest
    reason: SkipReason


@dataclass(frozen=True, slots=True)
class TrainingClosed:
    round: RoundId
    closed_at: int


@dataclass(frozen=True, slots=True)
class RoundSettled:
    round: RoundId
    settlement: Settlement
    result_hash: Hash
    settled_at: int
    challenge_ends: int


@dataclass(frozen=True, slots=True)
class Attested:
    round: RoundId
    auditor: Address
    result_hash: Hash
    witness: Hash


@dataclass(frozen=True, slots=True)
class QuorumReached:
    round: RoundId
    result_hash: Hash


@dataclass(frozen=True, slots=True)
class ResultRevealed:
    round: RoundId
    model: Digest
    derived_hash: Hash
    rewards_root: Hash
    rewards_total: int


@dataclass(frozen=True, slots=True)
class RewardPaid:
    round: RoundId
    client: Address
    amount: int
    basis: PayBasis


@dataclass(frozen=True, slots=True)
class RoundPayment:
    """What a batch paid for one round: ``amount`` in base units, ``index`` the round's within its federation."""

    index: int
    amount: int
    basis: PayBasis


@dataclass(frozen=True, slots=True)
class RewardsPaid:
    """One transfer of a batch, with what it paid for each round; rounds that were paid before are not in it."""

    federation: FederationId
    client: Address
    payments: tuple[RoundPayment, ...]


@dataclass(frozen=True, slots=True)
class AttestationFeePaid:
    round: RoundId
    auditor: Address
    amount: int


@dataclass(frozen=True, slots=True)
class EscrowReturned:
    round: RoundId
    to: Address
    amount: int


@dataclass(frozen=True, slots=True)
class BondForfeited:
    round: RoundId
    to: Address
    amount: int


Event = (
    FederationCreated
    | OrganizationOffered
    | OrganizationChanged
    | AdmissionChanged
    | Joined
    | RoundLaunched
    | UpdateSubmitted
    | UpdateSkipped
    | TrainingClosed
    | RoundSettled
    | Attested
    | QuorumReached
    | ResultRevealed
    | RewardPaid
    | RewardsPaid
    | AttestationFeePaid
    | EscrowReturned
    | BondForfeited
)


@dataclass(frozen=True, slots=True)
class Logged:
    """An event with its place in the chain."""

    event: Event
    block: int
    log_index: int
    transaction: Hash
