"""What of a federation must stay on IPFS, and why: a function of the chain's state and the task's promises.

Kept are the task, the head model and the first, every report, whatever an audit of an open round or of one of the last
K settled rounds reads, accepted updates for as long as the task's retention promises them (the promise outranks K), the
records that standings follow from, and what clients still need to claim by. The first model and the retained updates
together lead to every later model, so an old one is let go without anything being lost. Everything else that the log
names can be released, and nothing that it does not name ever is.

With a model goes what its ``model.json`` names: the anchor of its importance, the state of the server's step, and the
committee with the artifacts that its members are made of. What the chain does not hold is given: that, and the verdicts,
which stand in reports.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from protocol import canonical_json
from protocol.cid import RAW, Cid, directory_cid, parse_cid
from protocol.committee import MAX_COMMITTEE_BYTES
from protocol.errors import NotCanonical, TooLarge
from protocol.fields import Field
from protocol.merge_terms import MAX_STANDING_WINDOW, Standing
from protocol.model import MANIFEST, MANIFEST_FIELDS, MAX_MANIFEST_BYTES
from protocol.report import MAX_REPORT_BYTES, RECORD_UPDATES, Derived
from protocol.server_state import state_limit
from protocol.standing import counts, deciding
from protocol.state import FederationState, RoundState, State
from protocol.task import MAX_TASK_BYTES, Task
from protocol.terms import PayBasis
from protocol.types import Address, Digest, FederationId, RoundId
from protocol.unixfs import CHUNK

ROUNDS_KEPT = 3  # K, where nobody says otherwise
_NO_TREE = frozenset({NotCanonical.rule, TooLarge.rule})  # refusals of what may not even be a tree that can be kept


class Kind(StrEnum):
    """What a CID names."""

    TASK = "task"
    MODEL = "model"
    ANCHOR = "anchor"  # the weights file that a model's importance is anchored at
    STATE = "state"  # of the server's step, that a model goes on with
    COMMITTEE = "committee"  # the manifest of the ensemble that is kept beside a model
    UPDATE = "update"
    REPORT = "report"
    RECORD = "record"  # the auditors' derived.json of a rejected round, one raw block


# Named by models alone, so whoever lets go of the model first can never tell what they were.
ATTACHED = frozenset({Kind.ANCHOR, Kind.STATE, Kind.COMMITTEE})


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something is needed.

    Args:
        text: A short stable name, such as ``head model`` or ``update of open round 7``.
        limit: Content bytes that it has at most; None where they stand in a task that nobody could read.
        if_there: Whether it is kept where it is there, and its absence is nobody's fault: an update of an open round
            may never be published, and one that is called unavailable may still be contested.
    """

    text: str
    kind: Kind
    limit: int | None
    if_there: bool = False


# By the digest of a model: what it names of `ATTACHED`, and what its committee's members are made of.
Attached = Mapping[Digest, Mapping[Cid, Kind]]


@dataclass(frozen=True, slots=True)
class Mention:
    """One place where the log names a CID: ``round`` and ``client`` where it is a round's, or a client's update."""

    kind: Kind
    federation: FederationId
    round: RoundId | None = None
    client: Address | None = None


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What the record that decides on a round says of its updates; those in neither set may be gone for good."""

    accepted: frozenset[Digest]
    refused: frozenset[Digest]


def verdicts_of(record: Derived) -> Verdicts:
    """Return the verdicts of ``record``; refusals of what is no canonical tree count as absent: nobody can keep it."""
    refused = (one for one in record.updates if one.verdict == "refused" and one.rule not in _NO_TREE)
    return Verdicts(
        frozenset(one.digest for one in record.updates if one.verdict == "accepted"),
        frozenset(one.digest for one in refused),
    )


def attached_to(manifest: bytes) -> dict[Cid, Kind]:
    """Return what the bytes of a ``model.json`` name of `ATTACHED`.

    Raises:
        NotCanonical, WrongField, TooLarge: They are no model.json, as far as can be seen without the weights.
    """
    fields = Field(canonical_json.loads(manifest, MAX_MANIFEST_BYTES), MANIFEST).object(MANIFEST_FIELDS)
    anchor, state, committee = (fields[name] for name in ("anchor", "server_state", "committee"))
    found: dict[Cid, Kind] = {}
    if anchor.value is not None:
        found[parse_cid(anchor.cid())] = Kind.ANCHOR
    for field, kind in ((state, Kind.STATE), (committee, Kind.COMMITTEE)):
        if field.value is not None:
            found[directory_cid(field.digest())] = kind
    return found


def is_open(round_: RoundState) -> bool:
    """Whether it is undecided what the round pays: it is live, or rejected with the auditors' result not yet revealed."""
    return round_.basis is PayBasis.UNDECIDED


def needed(
    state: State,
    federation: FederationState,
    task: Task | None,
    *,
    rounds_kept: int = ROUNDS_KEPT,
    verdicts: Mapping[RoundId, Verdicts] | None = None,
    attached: Attached | None = None,
) -> dict[Cid, Reason]:
    """Return what must be kept of ``federation`` at ``state.now``, each with its first reason.

    Args:
        task: Its task; None where nobody could read it: then updates count as promised for ever.
        rounds_kept: K, how many of the settled rounds that are over stay auditable.
        verdicts: By round, as far as they are known; where they are not, every update counts as accepted if it is there.
        attached: What goes with a model, by its digest, as far as it is known.
    """
    needs = _Needs(state, federation, task, verdicts or {}, attached or {})
    rounds = [state.rounds[round_id] for round_id in federation.rounds]
    over = [round_ for round_ in rounds if round_.settled is not None and not is_open(round_)]
    last = {round_.id for round_ in over[len(over) - min(rounds_kept, len(over)) :]}
    needs.add(federation.terms.task, Kind.TASK, "task")
    needs.add(federation.head, Kind.MODEL, "head model")
    for round_ in reversed(rounds):
        if is_open(round_):
            needs.whole(round_, f"open round {round_.index}")
        elif round_.id in last:
            needs.whole(round_, f"round {round_.index}")
        needs.promised(round_)
    needs.records(rounds, [round_ for round_ in rounds if is_open(round_) or round_.id in last])
    if all(map(needs.is_promised, over)):
        needs.add(federation.terms.model, Kind.MODEL, "first model")
    return needs.found


def needed_by_all(each: Mapping[FederationId, Mapping[Cid, Reason]]) -> dict[Cid, Reason]:
    """Return what any of several federations needs, by CID; a strict reason goes before one of ``if_there``."""
    found: dict[Cid, Reason] = {}
    for reasons in each.values():
        for cid, reason in reasons.items():
            _add(found, cid, reason)
    return found


def named(
    state: State, federation: FederationState, attached: Attached | None = None
) -> dict[Cid, tuple[Mention, ...]]:
    """Return everything that the log names of ``federation``, with what is known to go with its models."""
    found: dict[Cid, dict[Mention, None]] = {}

    def mention(digest: Digest, kind: Kind, round_: RoundId | None = None, client: Address | None = None) -> None:
        cid = Cid(RAW, digest) if kind is Kind.RECORD else directory_cid(digest)
        found.setdefault(cid, {})[Mention(kind, federation.id, round_, client)] = None
        if kind is Kind.MODEL:
            for other, what in (attached or {}).get(digest, {}).items():
                if what in ATTACHED:  # a committee's members are the log's own
                    found.setdefault(other, {})[Mention(what, federation.id, round_)] = None

    mention(federation.terms.task, Kind.TASK)
    mention(federation.terms.model, Kind.MODEL)
    for round_id in federation.rounds:
        round_ = state.rounds[round_id]
        mention(round_.base, Kind.MODEL, round_id)
        for update in round_.updates:
            mention(update.digest, Kind.UPDATE, round_id, update.client)
        if round_.settled is not None:
            mention(round_.settled.settlement.model, Kind.MODEL, round_id)
            mention(round_.settled.settlement.report, Kind.REPORT, round_id)
        if round_.revealed is not None:
            mention(round_.revealed.model, Kind.MODEL, round_id)
            mention(Digest(round_.revealed.derived_hash), Kind.RECORD, round_id)
    return {cid: tuple(mentions) for cid, mentions in found.items()}


class _Needs:
    """Collects one federation's needs; the first reason for a CID stays unless a later one is stricter."""

    def __init__(
        self,
        state: State,
        federation: FederationState,
        task: Task | None,
        verdicts: Mapping[RoundId, Verdicts],
        attached: Attached,
    ) -> None:
        self._state, self._federation, self._task = state, federation, task
        self._verdicts, self._attached = verdicts, attached
        model_bytes = None if task is None else task.limits.model_bytes
        self._limits = {
            Kind.TASK: MAX_TASK_BYTES,
            Kind.MODEL: model_bytes,
            Kind.ANCHOR: model_bytes,
            Kind.STATE: None if model_bytes is None else state_limit(model_bytes),
            Kind.COMMITTEE: MAX_COMMITTEE_BYTES,
            Kind.UPDATE: None if task is None else task.limits.update_bytes,
            Kind.REPORT: MAX_REPORT_BYTES,
            Kind.RECORD: CHUNK,
        }
        self.found: dict[Cid, Reason] = {}

    def add(self, digest: Digest, kind: Kind, text: str, if_there: bool = False) -> None:
        cid = Cid(RAW, digest) if kind is Kind.RECORD else directory_cid(digest)
        _add(self.found, cid, Reason(text, kind, self._limits[kind], if_there))
        if kind is Kind.MODEL:
            for other, what in self._attached.get(digest, {}).items():
                of = "of" if what in ATTACHED else "in the committee of"
                _add(self.found, other, Reason(f"{what} {of} {text}", what, self._limits[what], if_there))

    def whole(self, round_: RoundState, name: str) -> None:
        """Add all that an audit of the round reads, and the model that it leads or may lead to."""
        self.add(round_.base, Kind.MODEL, f"base of {name}")
        if round_.settled is not None and (is_open(round_) or round_.phase.moves_head):
            self.add(round_.settled.settlement.model, Kind.MODEL, f"result of {name}")
        known = self._verdicts.get(round_.id)
        for update in round_.updates:
            served = known is not None and update.digest in known.accepted | known.refused
            if served or known is None or is_open(round_):
                self.add(update.digest, Kind.UPDATE, f"update of {name}", if_there=not served)

    def promised(self, round_: RoundState) -> None:
        """Add the round's report, the accepted updates that the task promises, and what unclaimed pay is proved by."""
        if round_.settled is not None:
            self.add(round_.settled.settlement.report, Kind.REPORT, f"report of round {round_.index}")
            if self.is_promised(round_):
                known = self._verdicts.get(round_.id)
                for update in round_.updates:
                    if known is None or update.digest in known.accepted:
                        text = f"retained update of round {round_.index}"
                        self.add(update.digest, Kind.UPDATE, text, if_there=known is None)
        if round_.revealed is not None and round_.paid_clients < round_.revealed.rewards_total:
            name = f"unclaimed pay of round {round_.index}"
            if len(round_.updates) <= RECORD_UPDATES:
                self.add(Digest(round_.revealed.derived_hash), Kind.RECORD, f"record for {name}")
            else:  # no block may hold the record: clients compute it again
                self.whole(round_, name)

    def records(self, rounds: Iterable[RoundState], audited: Iterable[RoundState]) -> None:
        """Add the auditors' records that standings follow from: of rounds to come, and of those that stay auditable.

        The other rounds' records stand in their reports, which are all kept.
        """
        if self._task is not None and not counts(self._task.standing):
            return
        terms = Standing(window=MAX_STANDING_WINDOW) if self._task is None else self._task.standing
        wanted = {
            one.round.id
            for before in (None, *audited)
            for one in deciding(self._state, self._federation, terms, before)
            if one.revealed
        }
        for round_ in rounds:
            if round_.revealed is None or len(round_.updates) > RECORD_UPDATES:
                continue
            if round_.id in wanted or self._state.now < (round_.reveal_ends or 0):  # later it counts too
                self.add(Digest(round_.revealed.derived_hash), Kind.RECORD, f"record of round {round_.index}")

    def is_promised(self, round_: RoundState) -> bool:
        """Whether the task's retention holds the round's accepted updates: it counts from the end of the challenge."""
        seconds = None if self._task is None else self._task.retention_seconds
        return seconds is None or round_.challenge_ends is None or self._state.now < round_.challenge_ends + seconds


def _add(found: dict[Cid, Reason], cid: Cid, reason: Reason) -> None:
    if cid not in found or (found[cid].if_there and not reason.if_there):
        found[cid] = reason
