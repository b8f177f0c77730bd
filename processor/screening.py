"""Screening: which updates take part. A deterministic rule of the task, so an auditor reaches the same verdicts.

Updates are judged in chain order. The first rule that an update breaks is its verdict, in this order: low-standing, the
artifact's own (fetching and decoding), foreign-author, foreign-round, foreign-base, wrong-field (examples), wrong-steps, those of
`protocol.update.check_update` (tensors, windows, importance, statistics), duplicate-delta.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from processor.facts import RoundFacts
from processor.runs import Run, serial
from processor.seen_deltas import SeenDeltas
from processor.standing import weight_factor
from processor.updates import Accepted, Load
from protocol.errors import (
    ArtifactRefused,
    DuplicateDelta,
    ForeignAuthor,
    ForeignBase,
    ForeignRound,
    LowStanding,
    WrongField,
    WrongSteps,
)
from protocol.model import Model
from protocol.replay import UpdateState
from protocol.report import Verdict
from protocol.task import Task
from protocol.types import Address, hex32
from protocol.update import Update, check_update


@dataclass(frozen=True, slots=True)
class Screened:
    """The verdict on one update. ``rule`` and ``reason`` (for people) are "" unless it is refused."""

    update: UpdateState
    verdict: Verdict
    rule: str = ""
    reason: str = ""
    accepted: Accepted | None = None


def screen(
    facts: RoundFacts,
    task: Task,
    base: Model,
    load: Load,
    unavailable: frozenset[Address],
    standing: Mapping[Address, int] | None = None,
    run: Run = serial,
) -> Iterator[Screened]:
    """Yield the verdict on every update of the round, in chain order.

    Args:
        facts: The round. task: Its federation's task. base: Its base model.
        load: Gives an update by its digest; raises ArtifactRefused where its bytes are wrong.
        unavailable: Clients whose bytes could not be had; they are not loaded.
        standing: Of clients before this round, in thousandths (processor.standing); 0 for those that are not in it.
        run: Who looks at the updates, each by itself.

    Raises:
        Whatever ``load`` raises beside ArtifactRefused, such as BlockMissing: no verdict, the caller decides.
    """

    def judge(state: UpdateState) -> Update | Screened:
        return _judge(state, facts, task, base, load, unavailable, standing or {})

    seen = SeenDeltas()
    for state, judged in zip(facts.updates, run(judge, facts.updates), strict=True):
        if isinstance(judged, Screened):
            yield judged
            continue
        try:
            _require_new(judged, seen)
        except DuplicateDelta as refusal:
            yield _refused(state, refusal)
        else:
            yield Screened(state, "accepted", accepted=_accept(judged, state, task, standing or {}))


def _judge(
    state: UpdateState,
    facts: RoundFacts,
    task: Task,
    base: Model,
    load: Load,
    unavailable: frozenset[Address],
    standing: Mapping[Address, int],
) -> Update | Screened:
    """Return the update where nothing is wrong with it by itself, or the verdict on it."""
    if state.client in unavailable:
        return Screened(state, "unavailable")
    try:
        _require_standing(state.client, task, standing)
        update = load(state.digest)
        _require_belongs(update, state, facts)
        _require_work(update, task)
        importance = task.needs_importance(facts.terms.consolidate)
        check_update(update, base=base, delta_type=task.delta_type, importance=importance)
    except ArtifactRefused as refusal:
        return _refused(state, refusal)
    return update


def _refused(state: UpdateState, refusal: ArtifactRefused) -> Screened:
    return Screened(state, "refused", refusal.rule, str(refusal))


def _accept(update: Update, state: UpdateState, task: Task, standing: Mapping[Address, int]) -> Accepted:
    weight = update.examples if task.merge.weighting == "examples" else 1
    if task.standing.use == "weight":
        weight *= weight_factor(standing.get(state.client, 0))
    return Accepted(state.client, state.digest, update.examples, update.steps, weight)


def _require_belongs(update: Update, state: UpdateState, facts: RoundFacts) -> None:
    """Refuse an update of somebody else, of elsewhere, or from another base."""
    if update.author != state.client:
        raise ForeignAuthor(
            f"The update of {state.client} names {update.author} as its author.",
            "Only the account that commits an update may be its author: anything else is a copy.",
            "Build the update with the account that submits it.",
        )
    if (update.federation, update.round) != (facts.federation, facts.round):
        raise ForeignRound(
            f"The update of {state.client} is for round {hex32(update.round)} of {hex32(update.federation)}.",
            f"It was committed in round {hex32(facts.round)} of {hex32(facts.federation)}.",
            "Train for the round that you submit to.",
        )
    if update.base != facts.base:
        raise ForeignBase(
            f"The update of {state.client} starts from model {hex32(update.base)}.",
            f"The round's base is {hex32(facts.base)}.",
            "Fetch the round's base model and train from it.",
        )


def _require_work(update: Update, task: Task) -> None:
    """Refuse examples out of range, and steps that are not the plan's: both decide on weight and credit."""
    cap = task.merge.examples_cap
    if not 1 <= update.examples <= cap:
        raise WrongField(
            f"The update of {update.author} states {update.examples} examples.",
            f"The task counts 1 to {cap}.",
            f"Train on at most {cap} examples and state how many.",
        )
    planned = task.training.planned_steps(update.examples)
    if update.steps != planned:
        raise WrongSteps(
            f"The update of {update.author} states {update.steps} steps.",
            f"{update.examples} examples are ceil(examples / batch) x epochs = {planned} steps.",
            "Train exactly the task's plan.",
        )


def _require_standing(client: Address, task: Task, standing: Mapping[Address, int]) -> None:
    """Refuse a client whose record is worse than the task admits; it needs no look at the update."""
    if task.standing.use == "admit" and standing.get(client, 0) < task.standing.least:
        raise LowStanding(
            f"The standing of {client} is {standing.get(client, 0)}.",
            f"The task admits {task.standing.least} and more.",
            "Wait until the refusals in its record have decayed.",
        )


def _require_new(update: Update, seen: SeenDeltas) -> None:
    """Refuse a delta that an earlier accepted update holds; refused ones do not count, or a refused copy could void it."""
    earlier = seen.add(update)
    if earlier is not None:
        raise DuplicateDelta(
            f"The update of {update.author} holds the delta of {earlier}.",
            "The first on chain counts; the same change twice would weigh twice.",
            "Train on your own data.",
        )
