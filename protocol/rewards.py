"""What clients earn: credit in compute milliseconds, and the reward for it in base units of the token."""

from __future__ import annotations

import math
from collections.abc import Iterable

from protocol.merkle import MerkleTree, leaf
from protocol.task import CreditRule
from protocol.types import Address, RoundId


def floor_credit_millis(recorded: int, steps: int, rule: CreditRule) -> int:
    """Return min(recorded, floor(steps * reference milliseconds per step * kappa)) (SPECIFICATION M6).

    Args:
        recorded: Milliseconds that the chain has of the client. steps: Optimizer steps, equal to the plan's.
    """
    return min(recorded, math.floor(steps * rule.reference_millis_per_step * rule.kappa))


def reward(credit_millis: int, reward_per_milli: int) -> int:
    """Return base units of the token for ``credit_millis`` at the round's rate; exact, so nothing is left to floor."""
    return credit_millis * reward_per_milli


def rewards_tree(round: RoundId, rewards: Iterable[tuple[Address, int]]) -> MerkleTree:
    """Return the tree that clients claim from: a leaf for each (client, base units) above 0, in any order.

    Where nobody earned anything its root is ``ZERO_HASH``.
    """
    return MerkleTree(leaf(round, client, amount) for client, amount in rewards if amount > 0)
