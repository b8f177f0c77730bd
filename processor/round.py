"""A whole round, from facts and updates to everything that is settled and attested; organization and auditor both call it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from processor import committee as committees
from processor.agreement import agreements
from processor.blocks import Member
from processor.consolidation import renew
from processor.engine import Merged, merge_updates
from processor.facts import RoundFacts, facts
from processor.merge import merge_digest
from processor.result import make_result
from processor.rules import rule_name
from processor.runs import Run, serial
from processor.screening import Screened, screen
from processor.stated import Demand, is_stated
from processor.updates import Fetch, UpdateReader
from protocol.bounds import check_bounds
from protocol.content import Content, Files
from protocol.hashing import result_hash
from protocol.merkle import MerkleTree
from protocol.model import Model
from protocol.past import NOTHING, Moments, Past
from protocol.report import Derived, UpdateVerdict, derived_hash
from protocol.rewards import floor_credit_millis, reward, rewards_tree
from protocol.task import Task
from protocol.types import Address, Hash

__all__ = ["Derivation", "RoundFacts", "derive_round", "facts"]


@dataclass(frozen=True)
class Derivation:
    """Everything that follows from a round's facts and its updates' bytes.

    Args:
        derived: The record that is settled by its hash.
        model: The merged model; None where nothing was merged and the base stays.
        model_files: Its artifact's files; None likewise.
        merge_digest: What an auditor's witness is made of.
        rewards: The tree that clients claim from.
        result_hash: What auditors attest.
        refusals: For each refused update, by client, why: text for people.
        artifacts: The files of what the model names beside its own: they are published with it.
        anchors: Files that the model names by their CIDs and that are no other model's: published likewise.
        moments: What ``model.server_state`` holds; None likewise, and for a step without a state.
        demand: What the organization's stated model has to fit, under a rule that leaves the model to its word.
    """

    derived: Derived
    model: Model | None
    model_files: dict[str, bytes] | None
    merge_digest: Hash
    rewards: MerkleTree
    result_hash: Hash
    refusals: Mapping[Address, str]
    artifacts: tuple[Mapping[str, bytes] | Files, ...] = ()
    anchors: tuple[Content, ...] = ()
    moments: Moments | None = None
    demand: Demand | None = None


def derive_round(
    facts: RoundFacts,
    task: Task,
    base: Model,
    fetch_update: Fetch,
    unavailable: frozenset[Address],
    past: Past = NOTHING,
    run: Run = serial,
) -> Derivation:
    """Screen, merge, consolidate and reckon a round: a pure function of its arguments, to the byte.

    Args:
        facts: What the chain says of the round.
        task: The federation's task.
        base: The model whose digest is ``facts.base``; the caller has verified that when loading it.
        fetch_update: The verified files behind an update's digest, asked for once each. An ArtifactRefused that it raises
            is a verdict; anything else, such as BlockMissing, ends the derivation and is the caller's to decide. Where it
            gives contents that lie on disk, memory does not grow with the number of updates.
        unavailable: Clients whose bytes could not be had; they get that verdict without a fetch.
        past: What the task goes on from beside the base.
        run: Who does the work; the result is the same.

    Raises:
        ArithmeticRefused: The task and terms allow sums that could overflow.
        WrongField: The task names an unknown merge rule.
        ValueError: ``past`` is not the past that ``base`` names.
    """
    check_bounds(task, facts.terms.max_updates)
    committees.check_past(task.committee, base, past.committee)
    if (base.server_state is None) != (past.moments is None):
        raise ValueError("the past is not that of this base: one has a server state, the other has none")
    load = UpdateReader(fetch_update)
    screened = tuple(screen(facts, task, base, load, unavailable, past.standing, run))
    members = [Member(one.accepted, load(one.update.digest)) for one in screened if one.accepted is not None]
    counted = [member for member in members if member.accepted.weight]  # 0 by a bad standing: paid, but never heard
    left = task.after_losses(len(screened) - len(counted))
    merged = merge_updates(left, base, counted, past.moments, run) if len(counted) >= left.least_updates() else None
    renewed = renew(task, facts.terms.consolidate, base, merged, counted, run) if merged is not None else None
    result = make_result(facts, task, base, merged, renewed, [member.accepted for member in counted], past)
    merged = merged if result.outcome == "merged" else None

    weights, agreement = _shares(base, merged, members, run)
    verdicts = tuple(_verdict(one, task, facts.terms.reward_per_milli, weights, agreement) for one in screened)
    rewards = rewards_tree(facts.round, [(one.client, one.reward) for one in verdicts])
    derived = Derived(
        federation=facts.federation,
        round=facts.round,
        base=facts.base,
        updates_hash=facts.updates_hash,
        rule=rule_name(task),
        outcome=result.outcome,
        stated=is_stated(task.merge.rule) and result.outcome == "merged",
        model=result.digest,
        merged=sum(weight > 0 for weight in weights.values()) if merged else 0,
        saturated=result.saturated,
        consolidated=result.consolidated,
        updates=verdicts,
        rewards_root=rewards.root,
        rewards_total=sum(one.reward for one in verdicts),
    )
    return Derivation(
        derived=derived,
        model=result.model,
        model_files=result.files,
        merge_digest=(merged.digest if merged else None) or merge_digest(None),
        rewards=rewards,
        result_hash=_result_hash(facts, derived),
        refusals=_refusals(screened),
        artifacts=result.artifacts,
        anchors=result.anchors,
        moments=result.moments,
        demand=result.demand,
    )


def _shares(
    base: Model, merged: Merged | None, members: Sequence[Member], run: Run
) -> tuple[Mapping[Address, int], Mapping[Address, int]]:
    """Each accepted client's weight and agreement; without a merge the weight it would have had, and no agreement."""
    clients = [member.accepted.client for member in members]
    if merged is None:
        return {client: member.accepted.weight for client, member in zip(clients, members, strict=True)}, {}
    found = agreements(base, merged, members, run)
    return {client: merged.weights.get(client, 0) for client in clients}, dict(zip(clients, found, strict=True))


def _verdict(
    screened: Screened,
    task: Task,
    reward_per_milli: int,
    weights: Mapping[Address, int],
    agreement: Mapping[Address, int],
) -> UpdateVerdict:
    """Reckon one update's credit and reward: its recorded milliseconds up to the plan's, and 0 unless accepted."""
    update, accepted = screened.update, screened.accepted
    credit = floor_credit_millis(update.millis, accepted.steps, task.credit) if accepted else 0
    return UpdateVerdict(
        client=update.client,
        digest=update.digest,
        millis=update.millis,
        verdict=screened.verdict,
        rule=screened.rule,
        examples=accepted.examples if accepted else 0,
        steps=accepted.steps if accepted else 0,
        weight=weights[update.client] if accepted else 0,
        agreement=agreement.get(update.client, 0) if accepted else 0,
        credit_millis=credit,
        reward=reward(credit, reward_per_milli),
    )


def _result_hash(facts: RoundFacts, derived: Derived) -> Hash:
    return result_hash(
        facts.chain_id,
        facts.contract,
        facts.round,
        facts.base,
        facts.updates_hash,
        derived.model,
        derived_hash(derived),
        derived.rewards_root,
        derived.rewards_total,
    )


def _refusals(screened: Iterable[Screened]) -> dict[Address, str]:
    return {one.update.client: one.reason for one in screened if one.verdict == "refused"}
