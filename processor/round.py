"""A whole round, from facts and updates to everything that is settled and attested; organization and auditor both call it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from processor import ewc
from processor.facts import RoundFacts, facts
from processor.merge import Merged, apply, merge_digest
from processor.rules import rule_of
from processor.screening import Screened, screen
from processor.updates import Fetch, UpdateReader
from protocol.errors import TooLarge
from protocol.hashing import result_hash
from protocol.merkle import MerkleTree
from protocol.model import Model, encode_model, weights_cid
from protocol.report import Derived, UpdateVerdict, derived_hash
from protocol.rewards import floor_credit_millis, reward, rewards_tree
from protocol.task import Task, check_bounds
from protocol.types import Address, Digest, Hash
from protocol.unixfs import directory_digest

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
    """

    derived: Derived
    model: Model | None
    model_files: dict[str, bytes] | None
    merge_digest: Hash
    rewards: MerkleTree
    result_hash: Hash
    refusals: Mapping[Address, str]


@dataclass(frozen=True)
class _Result:
    """The model that a merge made, and what the record says of it."""

    model: Model | None
    files: dict[str, bytes] | None
    digest: Digest
    saturated: int = 0
    consolidated: bool = False


def derive_round(
    facts: RoundFacts, task: Task, base: Model, fetch_update: Fetch, unavailable: frozenset[Address]
) -> Derivation:
    """Screen, merge, consolidate and reckon a round: a pure function of its arguments, to the byte.

    Args:
        facts: What the chain says of the round.
        task: The federation's task.
        base: The model whose digest is ``facts.base``; the caller has verified that when loading it.
        fetch_update: The verified files behind an update's digest. An ArtifactRefused that it raises is a verdict;
            anything else, such as BlockMissing, ends the derivation and is the caller's to decide. It may be asked for
            one digest several times: memory does not grow with the number of updates.
        unavailable: Clients whose bytes could not be had; they get that verdict without a fetch.

    Raises:
        ArithmeticRefused: The task and terms allow sums that could overflow.
        WrongField: The task names an unknown merge rule.
    """
    rule = rule_of(task)
    check_bounds(task, facts.terms.max_updates)
    load = UpdateReader(fetch_update)
    screened = tuple(screen(facts, task, base, load, unavailable))
    accepted = [one.accepted for one in screened if one.accepted is not None]
    enough = len(accepted) >= max(1, task.min_updates)
    merged = rule(task, base, accepted, load) if enough else None
    consolidates = enough and facts.terms.consolidate
    importance = ewc.consolidate(task.consolidation, base, accepted, load) if consolidates else None
    result = _result(facts, task, base, merged, importance)
    merged = merged if result.model is not None else None

    verdicts = tuple(_verdict(one, task, facts.terms.reward_per_milli) for one in screened)
    rewards = rewards_tree(facts.round, [(one.client, one.reward) for one in verdicts])
    derived = Derived(
        federation=facts.federation,
        round=facts.round,
        base=facts.base,
        updates_hash=facts.updates_hash,
        rule=task.merge.rule,
        model=result.digest,
        merged=len(accepted) if merged else 0,
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
        merge_digest=merge_digest(merged),
        rewards=rewards,
        result_hash=_result_hash(facts, derived),
        refusals=_refusals(screened),
    )


def _result(
    facts: RoundFacts,
    task: Task,
    base: Model,
    merged: Merged | None,
    importance: Mapping[str, NDArray[np.uint32]] | None,
) -> _Result:
    """Make the merged model. Without a merge, or where nobody could fetch its result, the base stays, under its digest."""
    stays = _Result(None, None, facts.base)
    if merged is None:
        return stays
    mantissas, saturated = apply(base, merged)
    model = replace(base, round=facts.index, parents=(facts.base,), mantissas=mantissas)
    if importance is not None:
        model = replace(model, importance=importance, anchor=str(weights_cid(base)))
    try:
        files = encode_model(model)
    except TooLarge:
        return stays
    if sum(map(len, files.values())) > task.limits.model_bytes:
        return stays
    return _Result(model, files, directory_digest(files), saturated, importance is not None)


def _verdict(screened: Screened, task: Task, reward_per_milli: int) -> UpdateVerdict:
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
        weight=accepted.weight if accepted else 0,
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
