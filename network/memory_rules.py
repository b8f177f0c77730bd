"""What the contract refuses, in its order and with its names; each function returns or raises `TransactionReverted`."""

from __future__ import annotations

from collections.abc import Container
from typing import NoReturn

from network.chain import RewardClaim
from protocol import hashing, merkle
from protocol.errors import TransactionReverted
from protocol.state import FederationState, RoundState
from protocol.terms import FederationTerms, PayBasis, Phase, RoundTerms, Settlement, SkipReason
from protocol.types import ZERO_ADDRESS, ZERO_HASH, Address, Digest, Hash

DAY = 24 * 60 * 60
MAX_AUDITORS = 32
MAX_TIME_MILLIS = 2**56 - 1


def refuse(name: str, *arguments: object) -> NoReturn:
    """Raise the contract's custom error ``name``."""
    raise TransactionReverted(name, arguments)


def check_federation(terms: FederationTerms) -> None:
    """ZeroForfeitTo, ZeroModel, InvalidQuorum, AuditorsNotAscending."""
    if terms.forfeit_to == ZERO_ADDRESS:
        refuse("ZeroForfeitTo")
    if not any(terms.model):
        refuse("ZeroModel")
    count = len(terms.auditors)
    majority = terms.quorum <= count < 2 * terms.quorum or count == terms.quorum == 0
    if count > MAX_AUDITORS or not majority:
        refuse("InvalidQuorum", terms.quorum, count)
    previous = 0
    for position, auditor in enumerate(terms.auditors):
        if int(auditor, 16) <= previous:
            refuse("AuditorsNotAscending", position, auditor)
        previous = int(auditor, 16)


def check_terms(terms: RoundTerms, *, audited: bool) -> None:
    """TermOutOfRange; the terms are numbered as the interface's ``Term``."""
    bounds = [
        (terms.max_millis, 1, 2**40 - 1),
        (terms.time_cap_millis, 0, terms.max_millis),
        (terms.max_updates, 1, 2**24 - 1),
        (terms.training_seconds, 1, 90 * DAY),
        (terms.settlement_seconds, 1, 30 * DAY),
        (terms.challenge_seconds, int(audited), 30 * DAY),
        (terms.time_cap_millis * terms.max_updates, 0, MAX_TIME_MILLIS),
    ]
    for term, (actual, minimum, maximum) in enumerate(bounds):
        if not minimum <= actual <= maximum:
            refuse("TermOutOfRange", term, actual, minimum, maximum)


def check_escrow(escrow: int) -> None:
    """SafeCastOverflowedUintDowncast: all amounts of a round fit in 96 bits."""
    if escrow >= 2**96:
        refuse("SafeCastOverflowedUintDowncast", 96, escrow)


def check_organization(federation: FederationState, account: Address) -> None:
    """NotOrganization."""
    if account != federation.organization:
        refuse("NotOrganization", federation.id, account, federation.organization)


def check_phase(round: RoundState, required: Phase) -> None:
    """WrongPhase."""
    if round.phase is not required:
        refuse("WrongPhase", round.id, round.phase, required)


def check_training(round: RoundState, now: int) -> None:
    """WrongPhase where time is in the way, RoundFull."""
    if now >= round.training_ends:
        refuse("WrongPhase", round.id, round.phase, Phase.TRAINING)
    if len(round.updates) == round.terms.max_updates:
        refuse("RoundFull", round.id, round.terms.max_updates)


def skip_reason(
    round: RoundState,
    federation: FederationState,
    client: Address,
    digest: Digest,
    millis: int,
    *,
    now: int,
    taken: Container[Address] = (),
    full: bool = False,
) -> SkipReason | None:
    """Return why an update cannot be taken, its signature apart.

    Args:
        taken: Clients whose updates this transaction has recorded so far.
        full: Whether it has filled the round.
    """
    if full:
        return SkipReason.ROUND_FULL
    if round.update_of(client) is not None or client in taken:
        return SkipReason.ALREADY_SUBMITTED
    if not any(digest):
        return SkipReason.ZERO_DIGEST
    if millis > _most_millis(round, now):
        return SkipReason.TOO_MANY_MILLIS
    if round.admission_root != ZERO_HASH and (round.admission_root, client) not in federation.joined:
        return SkipReason.NOT_JOINED
    return None


def check_update(
    round: RoundState, federation: FederationState, client: Address, digest: Digest, millis: int, *, now: int
) -> None:
    """As `check_training`; then AlreadySubmitted, ZeroDigest, TooManyMillis, NotJoined."""
    check_training(round, now)
    match skip_reason(round, federation, client, digest, millis, now=now):
        case SkipReason.ALREADY_SUBMITTED:
            refuse("AlreadySubmitted", round.id, client)
        case SkipReason.ZERO_DIGEST:
            refuse("ZeroDigest", round.id)
        case SkipReason.TOO_MANY_MILLIS:
            refuse("TooManyMillis", round.id, millis, _most_millis(round, now))
        case SkipReason.NOT_JOINED:
            refuse("NotJoined", federation.id, round.admission_root, client)


def _most_millis(round: RoundState, now: int) -> int:
    return min(round.terms.max_millis, 1000 * (now - round.launched_at))


def check_settlement(round: RoundState, settlement: Settlement) -> None:
    """WrongPhase, StaleUpdates, ZeroModel, InvalidRewards."""
    check_phase(round, Phase.SETTLEMENT)
    if settlement.updates_hash != round.updates_hash:
        refuse("StaleUpdates", round.id, settlement.updates_hash, round.updates_hash)
    if not any(settlement.model):
        refuse("ZeroModel")
    check_rewards(round, settlement.rewards_root, settlement.rewards_total)


def check_rewards(round: RoundState, root: Hash, total: int) -> None:
    """InvalidRewards: the root is 0 exactly where the total is, and the total is within the pool."""
    if total > round.terms.reward_pool or (root == ZERO_HASH) != (total == 0):
        refuse("InvalidRewards", round.id, root, total, round.terms.reward_pool)


def check_attestation(
    round: RoundState, federation: FederationState, auditor: Address, result_hash: Hash, now: int
) -> None:
    """WrongPhase, NotAuditor, AlreadyAttested, ZeroResult; attesting goes on after a quorum."""
    if round.challenge_ends is None or now >= round.challenge_ends:
        refuse("WrongPhase", round.id, round.phase, Phase.CHALLENGE)
    if auditor not in federation.terms.auditors:
        refuse("NotAuditor", federation.id, auditor)
    if auditor in round.attestations:
        refuse("AlreadyAttested", round.id, auditor)
    if result_hash == ZERO_HASH:
        refuse("ZeroResult", round.id)


def check_reveal(round: RoundState, result_hash: Hash, now: int) -> None:
    """WrongPhase, AlreadyRevealed, RevealTooLate, RevealMismatch."""
    check_phase(round, Phase.REJECTED)
    if round.revealed is not None:
        refuse("AlreadyRevealed", round.id)
    if round.reveal_ends is not None and now >= round.reveal_ends:
        refuse("RevealTooLate", round.id, now, round.reveal_ends)
    if result_hash != round.quorum_hash:
        refuse("RevealMismatch", round.id, result_hash, round.quorum_hash)


def amount_due(round: RoundState, claim: RewardClaim, required: PayBasis, paid: int) -> int:
    """Return the base units to pay; NotPayable, NoUpdate, AlreadyPaid, AmountAboveRecord, AmountAboveRemaining, InvalidProof.

    Args:
        round: The round as it is before this transaction.
        claim: Whom to pay, and by result what.
        required: The basis that the caller asks for.
        paid: Base units paid to clients of the round so far, this transaction included.
    """
    if round.basis is not required or required not in (PayBasis.RESULT, PayBasis.TIME):
        refuse("NotPayable", round.id, round.basis, required)
    update = round.update_of(claim.client)
    if update is None:
        refuse("NoUpdate", round.id, claim.client)
    if update.paid is not None:
        refuse("AlreadyPaid", round.id, claim.client)
    if required is PayBasis.TIME:
        return round.terms.reward_per_milli * min(update.millis, round.terms.time_cap_millis)
    record = round.terms.reward_per_milli * update.millis
    if claim.amount > record:
        refuse("AmountAboveRecord", round.id, claim.client, claim.amount, record)
    root, total = round.rewards or (ZERO_HASH, 0)
    if claim.amount > total - paid:
        refuse("AmountAboveRemaining", round.id, claim.amount, total - paid)
    leaf = merkle.leaf(round.id, claim.client, claim.amount)
    if claim.amount == 0 or not merkle.verify(root, leaf, claim.proof):
        refuse("InvalidProof", root, leaf)
    return claim.amount


def stated_hash(chain_id: int, contract: Address, round: RoundState, settlement: Settlement) -> Hash:
    """Return the result hash of ``settlement`` for ``round``."""
    return hashing.result_hash(
        chain_id,
        contract,
        round.id,
        round.base,
        settlement.updates_hash,
        settlement.model,
        settlement.derived_hash,
        settlement.rewards_root,
        settlement.rewards_total,
    )
