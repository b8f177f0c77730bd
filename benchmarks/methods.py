"""The ways of learning one task after another that are compared, each through the real integers of updates and models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

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
from benchmarks.merging import merge_encoded, merge_round, rescaled_importance
from protocol.grid import to_float32
from protocol.model import Model, weights_cid
from protocol.task import Task
from protocol.tensors import whole
from protocol.update import Update


@dataclass(frozen=True)
class Method:
    """One way.

    Args:
        importance: What clients post in consolidation rounds.
        anchor: Where the penalty pulls: to what the last consolidation anchored, or to every round's own base.
        every_round: What clients post in every round, for rules that need it there.
        rule: "mean" is the task's own; "fisher" and "fedcurv" see `_fisher_weighted` and `Campaign._curvature`.
    """

    importance: Importance = "none"
    anchor: Literal["consolidated", "base"] = "consolidated"
    every_round: Importance = "none"
    rule: Literal["mean", "fisher", "fedcurv"] = "mean"


METHODS: Mapping[str, Method] = {
    "fedavg": Method(),
    "l2": Method(importance="flat"),
    "fedcurv": Method(every_round="at_end", rule="fedcurv"),
    "ewc_moving_base": Method(importance="at_base", anchor="base"),
    "fisher_merge": Method(every_round="at_base", rule="fisher"),
    "rondo": Method(importance="at_base"),
}


@dataclass
class Campaign:
    """A federation that learns: its model, its clients, and what the method keeps between rounds.

    Args:
        name: Of the run; seeds of every client and round come from it.
        task: The terms; `protocol.task.Consolidation.strength` is the strength of every method's penalty.
        floor: What Fisher-weighted merging adds to every importance, whose mean is 1.
        index: Rounds played.
    """

    name: str
    task: Task
    model: Model
    learners: Sequence[Learner]
    method: Method
    floor: float = 0.1
    index: int = 0
    anchor: Mapping[str, NDArray[np.int32]] | None = None
    proved: bool = False
    _posted: dict[str, tuple[list[NDArray[np.float64]], mlp.Weights]] = field(default_factory=dict)

    def play_round(self, takers: Sequence[int], consolidate: bool = False, allowed: mlp.Allowed = None) -> None:
        """Train one round with the learners numbered ``takers``; merge; consolidate where asked and the method does."""
        self.index += 1
        consolidate = consolidate and self.method.importance != "none"
        updates = [self._train(self.learners[taker], consolidate, allowed) for taker in takers]
        mantissas, importance = self._merge(updates, consolidate)
        if importance is not None:
            self.anchor = self.model.mantissas
            anchor = str(weights_cid(self.model))
            self.model = replace(self.model, importance=importance, anchor=anchor)
        self.model = replace(self.model, mantissas=mantissas, round=self.index)

    def accuracy(self, x: mlp.Floats, y: NDArray[np.int64], allowed: mlp.Allowed = None) -> float:
        """Return the share of examples that the model labels right."""
        return mlp.count_correct(weights_of(self.model), x, y, allowed) / len(y)

    def _train(self, learner: Learner, consolidate: bool, allowed: mlp.Allowed) -> Update:
        round_id = round_id_of(self.name, self.index)
        posts = self.method.importance if consolidate else self.method.every_round
        assignment = Assignment(self._pull(learner), posts, allowed)
        trained = train_locally(self.model, self.task, learner.data, seed_for(round_id, learner), assignment)
        return learner.update(self.model, self.task, trained, round_id, self.index)

    def _pull(self, learner: Learner) -> mlp.Pull | None:
        if self.method.rule == "fedcurv":
            return self._curvature(learner)
        anchor = self.model.mantissas if self.method.anchor == "base" else self.anchor
        return pull_of(self.model, anchor, self.task)

    def _merge(self, updates: Sequence[Update], consolidate: bool) -> tuple[Any, Any]:
        if self.method.rule == "fedcurv":
            self._keep_posted(updates)
        if self.method.rule == "fisher":
            return _fisher_weighted(self.model, updates, self.floor), None
        merged = merge_round(self.task, self.model, updates, consolidate)
        if not self.proved:
            _same(merged, merge_encoded(self.task, self.model, updates, consolidate))
            self.proved = True
        return merged

    def _curvature(self, learner: Learner) -> mlp.Pull | None:
        """FedCurv (Shoham et al. 2019, eq. 5): lambda sum over the *others* j of F_j (theta - theta_j)^2, last round's."""
        others = [posted for account, posted in self._posted.items() if account != learner.account]
        if not others:
            return None
        scale = float(self.task.training.learning_rate * self.task.consolidation.strength)
        strengths, anchors = [], []
        for place in range(len(self.model.specs)):
            total = np.sum([fisher[place] for fisher, _ in others], axis=0)
            weighted = np.sum([fisher[place] * weights[place] for fisher, weights in others], axis=0)
            strengths.append((scale * total).astype(np.float32))
            anchors.append((weighted / np.where(total > 0, total, 1.0)).astype(np.float32))
        return mlp.Pull(strengths, anchors)

    def _keep_posted(self, updates: Sequence[Update]) -> None:
        for update in updates:
            fisher = [value / 2.0**16 for value in rescaled_importance(self.model, update).values()]
            changes = {name: whole(delta) * 2.0 ** update.exponents[name] for name, delta in update.deltas.items()}
            grids = {spec.name: to_float32(self.model.mantissas[spec.name], spec.grid) for spec in self.model.specs}
            weights = [(grids[name] + changes[name]).astype(np.float32) for name in grids]
            self._posted[update.author] = (fisher, weights)


def _fisher_weighted(base: Model, updates: Sequence[Update], floor: float) -> dict[str, NDArray[np.int32]]:
    """Fisher-weighted mean (Matena and Raffel 2022, eq. 3) of the changes, each F_k of mean 1 and ``floor`` added."""
    total = {spec.name: np.zeros(spec.shape) for spec in base.specs}
    change = {spec.name: np.zeros(spec.shape) for spec in base.specs}
    for update in updates:
        for spec in base.specs:
            weight = update.examples * (rescaled_importance(base, update)[spec.name] / 2.0**16 + floor)
            total[spec.name] += weight
            change[spec.name] += (
                weight * whole(update.deltas[spec.name]) * 2.0 ** (update.exponents[spec.name] - spec.grid)
            )
    return {
        name: (mantissas + np.rint(change[name] / total[name])).astype(np.int32)
        for name, mantissas in base.mantissas.items()
    }


def _same(ours: tuple[Any, Any], whole_path: tuple[Any, Any]) -> None:
    for mine, other in zip(ours, whole_path, strict=True):
        if (mine is None) != (other is None) or (mine and any(not np.array_equal(mine[n], other[n]) for n in mine)):
            raise AssertionError("The merge in memory and the one of encoded updates differ")
