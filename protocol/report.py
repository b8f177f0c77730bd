"""A report: ``derived.json`` (integers that anyone recomputes to the byte) and ``statement.json`` (said, not recomputed)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from protocol.types import Address, Digest, FederationId, Hash, RoundId

Verdict = Literal["accepted", "refused", "unavailable"]


@dataclass(frozen=True, slots=True)
class UpdateVerdict:
    """What became of one update, in chain order. ``rule`` is "" where accepted; numbers are 0 where not accepted."""

    client: Address
    digest: Digest
    millis: int
    verdict: Verdict
    rule: str
    examples: int
    steps: int
    weight: int
    credit_millis: int
    reward: int  # base units of the token


@dataclass(frozen=True, slots=True)
class Derived:
    """Everything of a round that follows from the chain and the updates' bytes alone."""

    federation: FederationId
    round: RoundId
    base: Digest
    updates_hash: Hash
    rule: str
    model: Digest
    merged: int  # updates in the merge
    saturated: int  # coordinates that left the grid's range and were saturated
    consolidated: bool
    updates: tuple[UpdateVerdict, ...]
    rewards_root: Hash
    rewards_total: int


@dataclass(frozen=True, slots=True)
class Statement:
    """What the organization says beside it. ``metrics`` maps a name to (correct, total)."""

    metrics: Mapping[str, tuple[int, int]]
    software: str
