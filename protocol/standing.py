"""What earlier rounds say of each client: which records count, what they are worth, and their decayed sum.

All of it follows from chain and reports alone, in integers, so the organization, its clients and its auditors reach the
same standings. A round counts that was decided by a result, through the record (``derived.json``) that it was decided by:

- final and unconfirmed rounds: the settled report's;
- rejected rounds whose result was revealed: the auditors', from the moment on at which no reveal can come any more (until
  then different readers of the chain could see different sets), and only where it is a block under its own hash;
- void and abandoned rounds have none and pass by as if they had not been.

Points of one client in one round, in thousandths: the agreement of its update where it was accepted; -1000 where it was
refused, as much as pulling straight against everybody; -1000 where its bytes could not be had, which costs the others a
place and the publication window's time; 0 where it posted nothing, and where it was refused for its standing alone, or one
bad spell could never end. Standing: over the last ``window`` records, oldest first, s <- trunc(s * decay) + points.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from protocol.cid import RAW, Cid, directory_cid
from protocol.errors import LowStanding
from protocol.merge_terms import Standing
from protocol.report import MAX_AGREEMENT, RECORD_UPDATES, Derived, UpdateVerdict
from protocol.state import FederationState, RoundState, State
from protocol.terms import Phase
from protocol.types import Address, Digest, Hash

PENALTY = -MAX_AGREEMENT  # points of an update that is refused or whose bytes are not there


@dataclass(frozen=True, slots=True)
class Deciding:
    """Which record decided a round: ``derived_hash`` is its sha-256; ``revealed`` where it is the auditors'."""

    round: RoundState
    derived_hash: Hash
    revealed: bool

    @property
    def cid(self) -> Cid:
        """What it is fetched by: as one raw block, whose CID a sha-256 of bytes is too, or else as part of its report."""
        if self.revealed:
            return Cid(RAW, Digest(self.derived_hash))
        assert self.round.settled is not None  # noqa: S101 - see `decided_by`; tells the type checker
        return directory_cid(self.round.settled.settlement.report)


@dataclass(frozen=True, slots=True)
class ClientRecord:
    """What the records that count say of one client.

    Args:
        rounds: Records in which it has an update. accepted, unavailable: So many of these updates.
        refused: The others, by the rule that refused them.
        agreement: Mean of the accepted updates' agreements in thousandths, cut towards 0; 0 where there are none.
        standing: In thousandths.
    """

    client: Address
    rounds: int = 0
    accepted: int = 0
    unavailable: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    agreement: int = 0
    standing: int = 0


def counts(terms: Standing) -> bool:
    """Whether standing decides anything under ``terms``: only then are the records part of what a round follows from."""
    return terms.use != "record"


def deciding(
    state: State, federation: FederationState, terms: Standing, before: RoundState | None = None
) -> list[Deciding]:
    """Return the records that count, oldest first, at most ``terms.window``.

    Args:
        before: For the standings that this round of ``federation`` is derived with, whenever they are asked for; None for
            those of a round that would be launched at ``state.now``.
    """
    moment = state.now if before is None else before.launched_at
    rounds = federation.rounds if before is None else federation.rounds[: before.index - 1]
    found: list[Deciding] = []
    for round_id in reversed(rounds):
        if len(found) == terms.window:
            break
        one = decided_by(state.rounds[round_id], moment)
        if one is not None:
            found.append(one)
    return found[::-1]


def decided_by(round_: RoundState, moment: int) -> Deciding | None:
    """Return which record of ``round_`` counts in rounds that are launched at ``moment`` (chain seconds), None where none does."""
    if round_.settled is None:
        return None
    if round_.phase.moves_head:
        return Deciding(round_, round_.settled.settlement.derived_hash, revealed=False)
    if round_.phase is not Phase.REJECTED or round_.revealed is None or round_.reveal_ends is None:
        return None
    if moment < round_.reveal_ends or len(round_.updates) > RECORD_UPDATES:
        return None
    return Deciding(round_, round_.revealed.derived_hash, revealed=True)


def is_record_of(derived: Derived, round_: RoundState) -> bool:
    """Whether ``derived`` speaks of exactly the updates that the chain has of ``round_``; any other counts for nothing.

    An organization can settle nonsense where nobody contests it, and a verdict on somebody who took no part is none.
    """
    said = [(one.client, one.digest, one.millis) for one in derived.updates]
    return derived.round == round_.id and said == [(one.client, one.digest, one.millis) for one in round_.updates]


def points(verdict: UpdateVerdict) -> int:
    """Return what one update is worth, from -1000 to 1000."""
    if verdict.verdict == "accepted":
        return verdict.agreement
    return 0 if verdict.rule == LowStanding.rule else PENALTY


def decayed(standing: int, decay: Fraction) -> int:
    """Return trunc(standing * decay): rounded towards 0, so that good and bad alike end at 0 and none lingers at -1."""
    size = abs(standing) * decay.numerator // decay.denominator
    return -size if standing < 0 else size


def standings(records: Iterable[Derived], terms: Standing) -> dict[Address, int]:
    """Return each client's standing in thousandths; who is in no record has 0 and is left out.

    Args:
        records: At most ``terms.window``, oldest first. Each client has one update at most in each (`is_record_of`), so
            that |standing| <= 1000 * window.
    """
    found: dict[Address, int] = {}
    for record in records:
        found = {client: decayed(standing, terms.decay) for client, standing in found.items()}
        for one in record.updates:
            found[one.client] = found.get(one.client, 0) + points(one)
    return found


def client_records(records: Sequence[Derived], terms: Standing) -> list[ClientRecord]:
    """Return what ``records`` say of every client in them, best standing first, ties by address."""
    verdicts: dict[Address, list[UpdateVerdict]] = {}
    for record in records:
        for one in record.updates:
            verdicts.setdefault(one.client, []).append(one)
    standing = standings(records, terms)
    found = [_client_record(client, of, standing[client]) for client, of in verdicts.items()]
    return sorted(found, key=lambda one: (-one.standing, one.client))


def _client_record(client: Address, verdicts: Sequence[UpdateVerdict], standing: int) -> ClientRecord:
    agreements = [one.agreement for one in verdicts if one.verdict == "accepted"]
    refused = Counter(one.rule for one in verdicts if one.verdict == "refused")
    mean = decayed(sum(agreements), Fraction(1, len(agreements))) if agreements else 0
    return ClientRecord(
        client=client,
        rounds=len(verdicts),
        accepted=len(agreements),
        unavailable=sum(one.verdict == "unavailable" for one in verdicts),
        refused=dict(sorted(refused.items())),
        agreement=mean,
        standing=standing,
    )
