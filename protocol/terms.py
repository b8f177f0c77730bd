"""The records that go to the contract, field for field as ``ITrainingRounds.sol`` has them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from protocol.types import Address, Digest, Hash


class Phase(IntEnum):
    """What a round is in; see the enum of the same name in ITrainingRounds.sol."""

    NONE = 0
    TRAINING = 1
    SETTLEMENT = 2
    CHALLENGE = 3
    VOID = 4
    FINAL = 5
    UNCONFIRMED = 6
    REJECTED = 7
    ABANDONED = 8

    @property
    def is_live(self) -> bool:
        """Whether the round can still change its outcome."""
        return self in (Phase.TRAINING, Phase.SETTLEMENT, Phase.CHALLENGE)

    @property
    def moves_head(self) -> bool:
        """Whether the settled model becomes the head."""
        return self in (Phase.FINAL, Phase.UNCONFIRMED)


class PayBasis(IntEnum):
    """How the clients of a round are paid."""

    UNDECIDED = 0
    NOTHING = 1
    RESULT = 2
    TIME = 3


class SkipReason(IntEnum):
    """Why ``submitUpdates`` passed over one signed update."""

    ALREADY_SUBMITTED = 0
    TOO_MANY_MILLIS = 1
    NOT_JOINED = 2
    ZERO_DIGEST = 3
    INVALID_SIGNATURE = 4
    ROUND_FULL = 5


@dataclass(frozen=True, slots=True)
class FederationTerms:
    """Fixed terms of a federation; ``auditors`` strictly ascending, ``quorum`` 0 exactly where there are none."""

    token: Address
    task: Digest
    model: Digest
    forfeit_to: Address
    quorum: int
    admission_root: Hash
    auditors: tuple[Address, ...]

    @property
    def is_audited(self) -> bool:
        """Whether anybody but the organization decides on pay."""
        return self.quorum > 0


@dataclass(frozen=True, slots=True)
class RoundTerms:
    """Terms of one round. Amounts in base units of the token, windows in seconds."""

    reward_per_milli: int
    max_millis: int
    time_cap_millis: int
    max_updates: int
    training_seconds: int
    settlement_seconds: int
    challenge_seconds: int
    bond: int
    attestation_fee: int
    consolidate: bool

    @property
    def reward_pool(self) -> int:
        """Most base units that clients can earn: rate x maxMillis x maxUpdates."""
        return self.reward_per_milli * self.max_millis * self.max_updates

    def escrow(self, auditors: int) -> int:
        """Base units that a launch takes with ``auditors`` named auditors."""
        return self.reward_pool + self.bond + self.attestation_fee * auditors


@dataclass(frozen=True, slots=True)
class SignedUpdate:
    """A client's update of one round that anyone may send for it; ``signature`` is over `hashing.update_typed_data`."""

    client: Address
    digest: Digest
    millis: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class Settlement:
    """The organization's statement of a round's result."""

    updates_hash: Hash
    model: Digest
    report: Digest
    derived_hash: Hash
    rewards_root: Hash
    rewards_total: int
