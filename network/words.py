"""The packed words of batches of claims, as contracts/libraries/Words.sol has them. From the lowest bit:

a claim: amount (96), levels of its proof (8), index of the round (64); a payment: amount (96), basis (8), index (64).
"""

from __future__ import annotations

from network.chain import ClientClaims, RoundClaim
from protocol.events import RoundPayment
from protocol.terms import PayBasis
from protocol.types import Address, Hash

_AMOUNT, _MIDDLE, _INDEX = 96, 8, 64


def claims_argument(claims: ClientClaims) -> tuple[Address, list[int], list[Hash]]:
    """Return the contract's ``ClientClaims``: client, one word a round, and all proofs one after another.

    Raises:
        ValueError: A claim does not fit its word; no round has such an index, amount or proof.
    """
    siblings = [sibling for claim in claims.rounds for sibling in claim.proof]
    return claims.client, [_claim_word(claim) for claim in claims.rounds], siblings


def payment_of(word: int) -> RoundPayment:
    """Return what a word of ``RewardsPaid`` says; the index counts from 1, the amount is in base units.

    Raises:
        ValueError: It is wider than its fields, or names no basis.
    """
    if word >> (_AMOUNT + _MIDDLE + _INDEX):
        raise ValueError(f"a payment is {word:#x}, wider than its fields")
    return RoundPayment(word >> (_AMOUNT + _MIDDLE), word % 2**_AMOUNT, PayBasis((word >> _AMOUNT) % 2**_MIDDLE))


def _claim_word(claim: RoundClaim) -> int:
    levels = len(claim.proof)
    fits = 0 <= claim.index < 2**_INDEX and 0 <= claim.amount < 2**_AMOUNT and levels < 2**_MIDDLE
    if not fits:
        raise ValueError(f"a claim of {claim.amount} for round {claim.index} with {levels} siblings fits no word")
    return (claim.index << (_AMOUNT + _MIDDLE)) | (levels << _AMOUNT) | claim.amount
