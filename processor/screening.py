"""Screening: which updates take part. A deterministic rule of the task, so an auditor reaches the same verdicts.

Updates are judged in chain order. The first rule that an update breaks is its verdict, in this order: the artifact's own
(fetching and decoding), foreign-author, foreign-round, foreign-base, wrong-field (examples), wrong-steps, those of
`protocol.update.check_update` (tensors, windows, importance, statistics), duplicate-delta.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from processor.facts import RoundFacts
from processor.updates import Accepted, Load
from protocol.errors import (
    ArtifactRefused,
    DuplicateDelta,
    ForeignAuthor,
    ForeignBase,
    ForeignRound,
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
    facts: RoundFacts, task: Task, base: Model, load: Load, unavailable: frozenset[Address]
) -> Iterator[Screened]:
    """Yield the verdict on every update of the round, in chain order.

    Args:
        facts: The round. task: Its federation's task. base: Its base model.
        load: Gives an update by its digest; raises ArtifactRefused where its bytes are wrong.
        unavailable: Clients whose bytes could not be had; they are not loaded.

    Raises:
        Whatever ``load`` raises beside ArtifactRefused, such as BlockMissing: no verdict, the caller decides.
    """
    seen: dict[bytes, Address] = {}
    for state in facts.updates:
        if state.client in unavailable:
            yield Screened(state, "unavailable")
            continue
        try:
            update = load(state.digest)
            _require_belongs(update, state, facts)
            _require_work(update, task)
            check_update(update, base=base, delta_type=task.delta_type, consolidate=facts.terms.consolidate)
            _require_new(update, seen)
        except ArtifactRefused as refusal:
            yield Screened(state, "refused", refusal.rule, str(refusal))
        else:
            yield Screened(state, "accepted", accepted=_accept(update, state, task))


def delta_hash(update: Update) -> bytes:
    """Return the sha-256 of an update's change alone: its deltas and exponents, not what else it says.

    Over the tensors in name order: name (ASCII), exponent (int64, little-endian), deltas (little-endian, C order). All
    updates of a round have the task's delta type and the base's shapes, so equal hashes are equal deltas.
    """
    hasher = hashlib.sha256()
    for name in sorted(update.deltas):
        delta = update.deltas[name]
        hasher.update(name.encode("ascii"))
        hasher.update(update.exponents[name].to_bytes(8, "little", signed=True))
        hasher.update(np.ascontiguousarray(delta, dtype=delta.dtype.newbyteorder("<")).data)
    return hasher.digest()


def _accept(update: Update, state: UpdateState, task: Task) -> Accepted:
    weight = update.examples if task.merge.weighting == "examples" else 1
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


def _require_new(update: Update, seen: dict[bytes, Address]) -> None:
    """Refuse a delta that an earlier accepted update holds; refused ones do not count, or a refused copy could void it."""
    key = delta_hash(update)
    if key in seen:
        raise DuplicateDelta(
            f"The update of {update.author} holds the delta of {seen[key]}.",
            "The first on chain counts; the same change twice would weigh twice.",
            "Train on your own data.",
        )
    seen[key] = update.author
