"""Re-derivation of one round: the merge, the verdicts, the credit and the rewards, from chain and content store alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

from auditor.compare import Difference, chain_differences, report_differences
from auditor.sources import (
    GONE,
    ReportCopy,
    Undecided,
    load_base,
    load_past_or_undecided,
    load_report,
    load_task,
    open_update_or_undecided,
)
from network.chain import Chain
from network.past import hold
from network.processors import usable_processors
from network.progress import Watch, unwatched
from network.store import ContentStore
from processor.round import Derivation, derive_round, facts
from processor.runs import Threads
from protocol.cid import directory_cid
from protocol.errors import ArithmeticRefused, ArtifactRefused
from protocol.hashing import witness
from protocol.report import derived_hash
from protocol.state import FederationState, RoundState, State
from protocol.task import Task
from protocol.terms import Phase
from protocol.types import Address, Digest, Hash, RoundId


class Verdict(StrEnum):
    """What an audit says, with its exit code."""

    MATCH = "match"  # 0
    MISMATCH = "mismatch"  # 1
    UNDECIDED = "undecided"  # 2

    @property
    def exit_code(self) -> int:
        """0 match, 1 mismatch, 2 could not decide."""
        return list(Verdict).index(self)


@dataclass(frozen=True)
class Audit:
    """The outcome of one audit.

    Args:
        audited: Whether the federation names auditors; where not, the organization's word alone decides pay.
        differences: Where report or chain say something else than what follows; empty for a match.
        reason: What is missing: why nothing could be decided, or that the result follows although the report is gone.
        copied: Auditors that attested the same result without having recomputed it.
        result_hash: What an honest auditor attests, None where undecided.
        merge_digest: Proof of work done (see ``protocol.hashing.witness``), None where undecided.
        stated: Whether the model is the organization's word, and only what it must fit was recomputed (rule "distilled");
            None where nothing was derived.
    """

    round: RoundId
    index: int
    verdict: Verdict
    audited: bool
    differences: tuple[Difference, ...] = ()
    reason: str = ""
    result_hash: Hash | None = None
    merge_digest: Hash | None = None
    copied: tuple[Address, ...] = ()
    stated: bool | None = None
    derivation: Derivation | None = None

    def witness_of(self, auditor: Address) -> Hash:
        """keccak256(auditor, round, mergeDigest) (SPECIFICATION S5). Only for decided audits."""
        if self.merge_digest is None:
            raise ValueError("an undecided audit has no witness")
        return witness(auditor, self.round, self.merge_digest)


def audit_round(
    chain: Chain,
    store: ContentStore,
    round_id: RoundId,
    *,
    report_copy: Path | None = None,
    fetched_in_time: frozenset[Address] = frozenset(),
    watch: Watch = unwatched,
) -> Audit:
    """Audit one round.

    Args:
        report_copy: A folder to read the report from instead of the store.
        fetched_in_time: Clients whose bytes this auditor itself fetched within the publication window; only for them
            can it contest a verdict ``unavailable`` (SPECIFICATION D3).
        watch: Shows how far large fetches are.

    Raises:
        ChainError: The chain does not answer, or knows no such round.
    """
    state = chain.state()
    round_ = state.rounds[round_id]
    try:
        return _decide(chain, store, state, round_, report_copy, fetched_in_time, watch)
    except Undecided as undecided:
        return Audit(round_id, round_.index, Verdict.UNDECIDED, _audited(state, round_), reason=str(undecided))


def _decide(
    chain: Chain,
    store: ContentStore,
    state: State,
    round_: RoundState,
    report_copy: Path | None,
    fetched_in_time: frozenset[Address],
    watch: Watch,
) -> Audit:
    if round_.settled is None:
        raise Undecided(_why_unsettled(round_.phase))
    federation = state.federations[round_.federation]
    try:
        task = load_task(store, federation)
        base = load_base(store, round_, task, watch)
    except ArtifactRefused as refusal:
        # What the organization published to begin with is not an artifact: no result can follow from it.
        raise Undecided(f"Task or base model is not usable: {refusal.what}") from refusal
    report, missing = _report_or_reason(store, round_, report_copy)
    early = _unavailable_too_early(round_, task, report)
    absent = frozenset() if early else _unavailable(report) - fetched_in_time
    what = facts(chain.chain_id, chain.contract, round_)
    try:
        with hold(store, round_, base):
            past = load_past_or_undecided(store, state, round_, task, base, watch)
            read = partial(open_update_or_undecided, store, task=task, watch=watch)
            derivation = derive_round(what, task, base, read, absent, past, Threads(usable_processors()))
    except (ArtifactRefused, ArithmeticRefused) as refusal:
        raise Undecided(f"No result follows from base, task and terms: {refusal.what}") from refusal
    except GONE as error:
        raise Undecided(f"What was there when it was opened is gone: {error.what}") from error
    if missing and derivation.result_hash != round_.settled.result_hash:
        # On another availability set the settled result might follow: only the report could say which.
        raise Undecided(missing)
    found = () if missing else (*early, *_differences(round_, federation, state, report, derivation))
    return Audit(
        round_.id,
        round_.index,
        Verdict.MISMATCH if found else Verdict.MATCH,
        federation.terms.is_audited,
        found,
        reason=missing,
        result_hash=derivation.result_hash,
        merge_digest=derivation.merge_digest,
        copied=_copied(round_, derivation),
        stated=derivation.derived.stated,
        derivation=derivation,
    )


def _audited(state: State, round_: RoundState) -> bool:
    return state.federations[round_.federation].terms.is_audited


def _report_or_reason(store: ContentStore, round_: RoundState, report_copy: Path | None) -> tuple[ReportCopy, str]:
    """The report, or an empty one and why it cannot be had: what pays may follow without it."""
    try:
        return load_report(store, round_, report_copy), ""
    except Undecided as undecided:
        return ReportCopy(None, str(undecided)), str(undecided)


def _copied(round_: RoundState, derivation: Derivation) -> tuple[Address, ...]:
    """Who attested this result with a witness that no recomputation gives (SPECIFICATION S5, D4)."""
    return tuple(
        auditor
        for auditor, (attested, said) in round_.attestations.items()
        if attested == derivation.result_hash and said != witness(auditor, round_.id, derivation.merge_digest)
    )


def _why_unsettled(phase: Phase) -> str:
    reasons = {
        Phase.TRAINING: "The round is still in training.",
        Phase.SETTLEMENT: "The round is not settled yet.",
        Phase.VOID: "The round is void: no update came, nothing is owed, nothing was settled.",
        Phase.ABANDONED: "The organization never settled the round; clients are paid by time.",
    }
    return reasons.get(phase, "The round is not settled.")


def _unavailable(report: ReportCopy) -> frozenset[Address]:
    if report.derived is None:
        return frozenset()
    return frozenset(update.client for update in report.derived.updates if update.verdict == "unavailable")


def _unavailable_too_early(round_: RoundState, task: Task, report: ReportCopy) -> list[Difference]:
    """A settlement before the publication window is over may hold no ``unavailable`` verdict (SPECIFICATION S6)."""
    settled, closed = round_.settled, round_.training_closed_at
    if settled is None or closed is None or not _unavailable(report):
        return []
    allowed_from = closed + task.publication_seconds
    if settled.settled_at >= allowed_from:
        return []
    return [
        Difference(
            "report.updates[].verdict",
            f"unavailable, settled at {settled.settled_at}",
            f"no such verdict before {allowed_from}, when the publication window ends",
        )
    ]


def _differences(
    round_: RoundState,
    federation: FederationState,
    state: State,
    report: ReportCopy,
    derivation: Derivation,
) -> tuple[Difference, ...]:
    settled = round_.settled
    assert settled is not None  # noqa: S101 - checked by the caller; tells the type checker
    found: list[Difference] = []
    if report.derived is None:
        found.append(Difference("report", report.problem, "a canonical report"))
    else:
        found += report_differences(report.derived, derivation.derived)
    found += chain_differences(settled.settlement, derivation, derived_hash(derivation.derived))
    expected_base = base_by_lineage(federation, state, round_)
    if expected_base != round_.base:
        found.append(Difference("chain.base", str(directory_cid(round_.base)), str(directory_cid(expected_base))))
    return tuple(found)


def base_by_lineage(federation: FederationState, state: State, round_: RoundState) -> Digest:
    """The model that the federation's rounds before this one lead to, digest of 32 bytes."""
    head = federation.terms.model
    for earlier in federation.rounds[: round_.index - 1]:
        before = state.rounds[earlier]
        if before.phase.moves_head and before.settled is not None:
            head = before.settled.settlement.model
    return head
