"""The ways of learning one task after another that are compared, each through the real integers of updates and models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks import mlp
from benchmarks.learners import (
    Assignment,
    Importance,
    Learner,
    pull_of,
    round_id_of,
    seed_for,
    train_locally,
    weights_of,
)
from benchmarks.merging import Outcome, merge_encoded, merge_round
from protocol.merge_terms import RuleName
from protocol.model import Model, weights_cid
from protocol.task import Task
from protocol.update import Update


@dataclass(frozen=True)
class Method:
    """One way.

    Args:
        rule: The task's merge rule; fisher-weighted and fedcurv want importance in every round.
        importance: What clients post where importance is wanted.
        consolidates: Whether rounds consolidate where the campaign asks for it.
        anchor: Where the penalty pulls: to what the model carries, or to every round's own base.
    """

    rule: RuleName = "fedavg"
    importance: Importance = "at_base"
    consolidates: bool = False
    anchor: Literal["carried", "base"] = "carried"


METHODS: Mapping[str, Method] = {
    "fedavg": Method(),
    "l2": Method(importance="flat", consolidates=True),
    "fedcurv": Method("fedcurv", importance="at_reached"),
    "ewc_moving_base": Method(consolidates=True, anchor="base"),
    "fisher_merge": Method("fisher-weighted", importance="at_reached"),
    "rondo": Method(consolidates=True),
}


@dataclass
class Campaign:
    """A federation that learns: its model, its clients, and what its model is held by.

    Args:
        name: Of the run; seeds of every client and round come from it.
        task: The terms; `protocol.task.Consolidation.strength` is the strength of every method's penalty.
        index: Rounds played.
        anchor: Mantissas that the model's importance is anchored at, None before there is any.
        proved: Whether a round was merged by the whole path too, with the same integers.
    """

    name: str
    task: Task
    model: Model
    learners: Sequence[Learner]
    method: Method
    index: int = 0
    anchor: Mapping[str, NDArray[np.int32]] | None = None
    proved: bool = False

    def __post_init__(self) -> None:
        self.task = replace(self.task, merge=replace(self.task.merge, rule=self.method.rule))

    def play_round(self, takers: Sequence[int], consolidate: bool = False, allowed: mlp.Allowed = None) -> None:
        """Train one round with the learners numbered ``takers``; merge; consolidate where asked and the method does."""
        self.index += 1
        consolidate = consolidate and self.method.consolidates
        updates = [self._train(self.learners[taker], consolidate, allowed) for taker in takers]
        outcome = self._merge(updates, consolidate)
        if outcome.importance is not None:
            self.anchor = self.model.mantissas if outcome.anchor is None else outcome.anchor
            anchored = str(weights_cid(replace(self.model, mantissas=self.anchor)))
            self.model = replace(self.model, importance=outcome.importance, anchor=anchored)
        self.model = replace(self.model, mantissas=outcome.mantissas, round=self.index)

    def accuracy(self, x: mlp.Floats, y: NDArray[np.int64], allowed: mlp.Allowed = None) -> float:
        """Return the share of examples that the model labels right."""
        return mlp.count_correct(weights_of(self.model), x, y, allowed) / len(y)

    def _train(self, learner: Learner, consolidate: bool, allowed: mlp.Allowed) -> Update:
        round_id = round_id_of(self.name, self.index)
        anchor = self.model.mantissas if self.method.anchor == "base" else self.anchor
        posts = self.method.importance if self.task.needs_importance(consolidate) else "none"
        assignment = Assignment(pull_of(self.model, anchor, self.task), posts, allowed)
        trained = train_locally(self.model, self.task, learner.data, seed_for(round_id, learner), assignment)
        return learner.update(self.model, self.task, trained, round_id, self.index)

    def _merge(self, updates: Sequence[Update], consolidate: bool) -> Outcome:
        outcome = merge_round(self.task, self.model, updates, consolidate)
        if not self.proved:
            if not outcome.same(merge_encoded(self.task, self.model, updates, consolidate)):
                raise AssertionError("The merge in memory and the one of encoded updates differ")
            self.proved = True
        return outcome
