"""The JSON bodies of the service: amounts are decimal strings in base units, times chain seconds, digests CIDs."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from organization.status import next_deadline
from protocol.admission import AdmissionProof, proof_document
from protocol.cid import directory_cid
from protocol.replay import FederationState, RoundState, UpdateState
from protocol.report import Derived, Outcome, Statement, UpdateVerdict
from protocol.terms import PayBasis, Phase
from protocol.types import Hash, hex32

UNAUDITED = "Unaudited: the organization's word alone decides on pay."

Amount = str  # base units of the token, decimal: JSON numbers end at 2^53


class View(BaseModel):
    """What all bodies share: they never change once made."""

    model_config = ConfigDict(frozen=True)


class Problem(View):
    """Why a request failed: what happened, why, and what to do."""

    what: str
    why: str
    do: str


class Health(View):
    """That the service reads the chain. ``now`` is the latest block's time."""

    status: Literal["ok"] = "ok"
    chain_id: int
    contract: str
    now: int
    federations: int


class FederationView(View):
    """A federation. ``audited`` false: the organization's word alone decides pay."""

    id: str
    organization: str
    token: str
    task: str
    head: str
    audited: bool
    warning: str | None = Field(description="What a client should know before it trusts this federation.")
    auditors: list[str]
    quorum: int
    forfeit_to: str
    open_admission: bool
    admission_root: str | None
    rounds: int

    @classmethod
    def of(cls, state: FederationState) -> FederationView:
        """The view of one federation."""
        terms = state.terms
        return cls(
            id=hex32(state.id),
            organization=state.organization,
            token=terms.token,
            task=str(directory_cid(terms.task)),
            head=str(directory_cid(state.head)),
            audited=terms.is_audited,
            warning=None if terms.is_audited else UNAUDITED,
            auditors=list(terms.auditors),
            quorum=terms.quorum,
            forfeit_to=terms.forfeit_to,
            open_admission=not any(state.admission_root),
            admission_root=_root(state.admission_root),
            rounds=len(state.rounds),
        )


class AdmissionView(View):
    """A client's proof under the federation's present root, as `rondo client join --proof` takes it."""

    federation: str
    root: str
    client: str
    proof: list[str]
    joined: bool

    @classmethod
    def of(cls, proof: AdmissionProof, joined: bool) -> AdmissionView:
        """The view of one proof."""
        return cls(**proof_document(proof), joined=joined)


class TermsView(View):
    """A round's terms: windows in seconds, ``*_millis`` compute milliseconds, the rest base units."""

    reward_per_milli: Amount
    max_millis: int
    time_cap_millis: int
    max_updates: int
    training_seconds: int
    settlement_seconds: int
    challenge_seconds: int
    bond: Amount
    attestation_fee: Amount
    consolidate: bool


class SettlementView(View):
    """What the organization stated."""

    model: str
    report: str
    derived_hash: str
    rewards_root: str
    rewards_total: Amount
    result_hash: str
    settled_at: int
    challenge_ends: int


class AttestationView(View):
    """One auditor's verdict; ``agrees`` where it is the settled result."""

    auditor: str
    result_hash: str
    agrees: bool


class RoundView(View):
    """A round as the chain has it now. ``until``: when its phase changes by itself at the latest."""

    id: str
    federation: str
    index: int
    phase: str = Field(description=" | ".join(phase.name.lower() for phase in Phase if phase))
    pay: str = Field(description=" | ".join(basis.name.lower() for basis in PayBasis))
    until: int | None
    audited: bool
    warning: str | None = Field(description="What a client should know before it takes part.")
    admission_root: str | None = Field(description="Only who joined under it may take part; null where anybody may.")
    base: str
    terms: TermsView
    launched_at: int
    training_ends: int
    settlement_ends: int
    updates: int
    updates_hash: str
    settlement: SettlementView | None
    attestations: list[AttestationView]
    escrow: Amount
    paid_clients: Amount
    paid_auditors: Amount
    returned: Amount
    forfeited: Amount

    @classmethod
    def of(cls, state: RoundState, federation: FederationState) -> RoundView:
        """The view of one round of ``federation``."""
        terms = state.terms
        settled = None if state.settled is None else state.settled.result_hash
        return cls(
            id=hex32(state.id),
            federation=hex32(state.federation),
            index=state.index,
            phase=state.phase.name.lower(),
            pay=state.basis.name.lower(),
            until=next_deadline(state),
            audited=federation.terms.is_audited,
            warning=None if federation.terms.is_audited else UNAUDITED,
            admission_root=_root(state.admission_root),
            base=str(directory_cid(state.base)),
            terms=TermsView(
                reward_per_milli=str(terms.reward_per_milli),
                max_millis=terms.max_millis,
                time_cap_millis=terms.time_cap_millis,
                max_updates=terms.max_updates,
                training_seconds=terms.training_seconds,
                settlement_seconds=terms.settlement_seconds,
                challenge_seconds=terms.challenge_seconds,
                bond=str(terms.bond),
                attestation_fee=str(terms.attestation_fee),
                consolidate=terms.consolidate,
            ),
            launched_at=state.launched_at,
            training_ends=state.training_ends,
            settlement_ends=state.settlement_ends,
            updates=len(state.updates),
            updates_hash=hex32(state.updates_hash),
            settlement=_settlement(state),
            attestations=[
                AttestationView(auditor=auditor, result_hash=hex32(result), agrees=result == settled)
                for auditor, (result, _witness) in state.attestations.items()
            ],
            escrow=str(state.escrow),
            paid_clients=str(state.paid_clients),
            paid_auditors=str(sum(state.paid_auditors.values())),
            returned=str(state.returned),
            forfeited=str(state.forfeited),
        )


def _root(root: Hash) -> str | None:
    return hex32(root) if any(root) else None


def _settlement(state: RoundState) -> SettlementView | None:
    if state.settled is None:
        return None
    stated = state.settled.settlement
    return SettlementView(
        model=str(directory_cid(stated.model)),
        report=str(directory_cid(stated.report)),
        derived_hash=hex32(stated.derived_hash),
        rewards_root=hex32(stated.rewards_root),
        rewards_total=str(stated.rewards_total),
        result_hash=hex32(state.settled.result_hash),
        settled_at=state.settled.settled_at,
        challenge_ends=state.settled.challenge_ends,
    )


class UpdateView(View):
    """One update as the chain has it. ``paid`` is null while it is not."""

    index: int
    client: str
    update: str
    millis: int
    paid: Amount | None

    @classmethod
    def of(cls, state: UpdateState) -> UpdateView:
        """The view of one update."""
        paid = None if state.paid is None else str(state.paid)
        update = str(directory_cid(state.digest))
        return cls(index=state.index, client=state.client, update=update, millis=state.millis, paid=paid)


class VerdictView(View):
    """What became of one update."""

    client: str
    update: str
    verdict: Literal["accepted", "refused", "unavailable"]
    rule: str
    examples: int
    steps: int
    weight: int
    agreement: int
    millis: int
    credit_millis: int
    reward: Amount

    @classmethod
    def of(cls, verdict: UpdateVerdict) -> VerdictView:
        """The view of one verdict."""
        return cls(
            client=verdict.client,
            update=str(directory_cid(verdict.digest)),
            verdict=verdict.verdict,
            rule=verdict.rule,
            examples=verdict.examples,
            steps=verdict.steps,
            weight=verdict.weight,
            agreement=verdict.agreement,
            millis=verdict.millis,
            credit_millis=verdict.credit_millis,
            reward=str(verdict.reward),
        )


class MetricView(View):
    """``correct`` out of ``total``, as the organization says."""

    correct: int
    total: int


class ReportView(View):
    """A settled round's report. ``metrics`` and ``software`` are said; everything else anyone recomputes, the model's weights
    only unless it is ``stated``.
    """

    round: str
    model: str
    rule: str
    outcome: Outcome
    stated: bool
    merged: int
    saturated: int
    consolidated: bool
    rewards_total: Amount
    updates: list[VerdictView]
    metrics: dict[str, MetricView]
    software: str

    @classmethod
    def of(cls, derived: Derived, statement: Statement) -> ReportView:
        """The view of one report."""
        return cls(
            round=hex32(derived.round),
            model=str(directory_cid(derived.model)),
            rule=derived.rule,
            outcome=derived.outcome,
            stated=derived.stated,
            merged=derived.merged,
            saturated=derived.saturated,
            consolidated=derived.consolidated,
            rewards_total=str(derived.rewards_total),
            updates=[VerdictView.of(verdict) for verdict in derived.updates],
            metrics={name: MetricView(correct=hit, total=of) for name, (hit, of) in statement.metrics.items()},
            software=statement.software,
        )
