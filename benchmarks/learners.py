"""Clients that train with `benchmarks.mlp` and do everything else as `client` does: seeds, batches, integers, what they owe.

`train_locally` mirrors `client.trainer.train` line by line; tests hold the two against each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks import mlp
from client.data import Dataset
from client.penalty import anchor_weights, pull_strengths
from client.quantise import quantise, quantise_importance
from client.trainer import Trained, seed_of
from protocol.errors import InvalidInput
from protocol.grid import grid_exponent, snap, to_float32
from protocol.model import Model, TensorClass, TensorSpec
from protocol.task import Task, Training
from protocol.types import Address, Digest, FederationId, RoundId, address
from protocol.update import Update

# What a client posts as its importance: nothing; the Fisher information at the round's base or at the weights it reached,
# as `client.trainer` does (Task.importance_at); or the same for every coordinate, which makes the penalty plain L2.
Importance = Literal["none", "at_base", "at_reached", "flat"]

HEADROOM_BITS = 5  # organization.model_builder.TRAINABLE_HEADROOM_BITS, which cannot be had without TensorFlow
SOFTWARE = "rondo benchmarks.mlp"


@dataclass(frozen=True)
class Assignment:
    """What one client is to do in one round.

    Args:
        pull: The penalty's proximal step, None where there is none.
        importance: What it posts. allowed: Which logits take part, None for all.
    """

    pull: mlp.Pull | None = None
    importance: Importance = "none"
    allowed: mlp.Allowed = None


@dataclass
class Learner:
    """One client: its account, its data, and the residual that rounding left of its last merged update."""

    account: Address
    data: Dataset
    kept: tuple[int, Mapping[str, NDArray[np.int64]]] | None = None  # with the index of the round that merged it

    def residual(self, index: int, task: Task) -> Mapping[str, NDArray[np.int64]] | None:
        """Return what is to be added in round ``index``: nothing where too many rounds were missed since."""
        if self.kept is None:
            return None
        merged, residual = self.kept
        return None if index - merged - 1 >= task.feedback.drop_after else residual

    def update(self, base: Model, task: Task, trained: Trained, round_id: RoundId, index: int) -> Update:
        """Return the integers of ``trained`` and keep what they left out; every round here merges what it gets."""
        quantised = quantise(base, trained.weights, task.delta_type, self.residual(index, task))
        limit = task.feedback.clip_steps  # as client.feedback.encode_residual, without the file
        self.kept = index, {name: np.clip(left, -limit, limit) for name, left in quantised.residual.items()}
        posted = None
        if trained.importance is not None:
            posted = {name: quantise_importance(value) for name, value in trained.importance.items()}
        return Update(
            federation=FederationId(bytes(32)),
            round=round_id,
            author=self.account,
            base=Digest(hashlib.sha256(round_id).digest()),
            examples=trained.examples,
            steps=trained.steps,
            software=SOFTWARE,
            exponents=quantised.exponents,
            deltas=quantised.deltas,
            importance=None if posted is None else {name: value for name, (value, _) in posted.items()},
            importance_exponents=None if posted is None else {name: exponent for name, (_, exponent) in posted.items()},
        )


def learners(shares: Sequence[Dataset]) -> list[Learner]:
    """Return one client for each share of data."""
    return [Learner(_account(number), share) for number, share in enumerate(shares)]


def first_model(sizes: Sequence[int], seed: int) -> Model:
    """Return the model before the first round: Glorot weights on their grids, named as Keras names Dense layers.

    Args:
        sizes: Inputs, units of each hidden layer, classes.
    """
    weights = mlp.first_weights(sizes, np.random.default_rng(seed))
    specs, mantissas = [], {}
    for place, values in enumerate(weights):
        layer = "dense" if place < 2 else f"dense_{place // 2}"
        name = f"{place:05d}.{layer}/{'bias' if place % 2 else 'kernel'}"
        spec = TensorSpec(name, values.shape, TensorClass.TRAINABLE, grid_exponent(values, HEADROOM_BITS))
        specs.append(spec)
        mantissas[name] = snap(values, spec.grid)
    return Model(b"{}", 0, (), tuple(specs), mantissas)


def weights_of(model: Model) -> mlp.Weights:
    """Return fresh float32 weights of ``model``, exact, in its order."""
    return [to_float32(model.mantissas[spec.name], spec.grid) for spec in model.specs]


def round_id_of(name: str, index: int) -> RoundId:
    """Return the identifier of round ``index`` of the run ``name``; a client's seed is made of it and its account."""
    return RoundId(hashlib.sha256(f"{name} {index}".encode("ascii")).digest())


def pull_of(base: Model, anchor: Mapping[str, NDArray[np.int32]] | None, task: Task) -> mlp.Pull | None:
    """Return the penalty that ``base`` carries, towards ``anchor``; None before the first consolidation."""
    strengths = pull_strengths(base, task)
    if strengths is None or anchor is None:
        return None
    targets = anchor_weights(base, anchor)
    return mlp.Pull(list(strengths.values()), [targets[name] for name in strengths])


def train_locally(base: Model, task: Task, data: Dataset, seed: int, assignment: Assignment) -> Trained:
    """Do what `client.trainer.train` does, without TensorFlow.

    Raises:
        InvalidInput: The task wants momentum, which is not built here.
    """
    names = [spec.name for spec in base.specs]
    weights = weights_of(base)
    importance, examples, steps = train_weights(weights, task, data, seed, assignment)
    measured = None if importance is None else dict(zip(names, importance, strict=True))
    return Trained(dict(zip(names, weights, strict=True)), measured, examples, steps, 0)


def train_weights(
    weights: mlp.Weights, task: Task, data: Dataset, seed: int, assignment: Assignment
) -> tuple[mlp.Weights | None, int, int]:
    """Train ``weights`` in place; return the importance, where one is wanted, and the numbers of examples and steps."""
    generator = np.random.default_rng(seed)
    rows = generator.permutation(len(data))[: task.merge.examples_cap]
    data, allowed = data.take(np.sort(rows)), assignment.allowed
    importance = None
    if assignment.importance == "at_base":
        importance = measure_importance(weights, data, task.consolidation.examples, seed, allowed)
    elif assignment.importance == "flat":
        importance = [np.ones_like(each) for each in weights]
    batches = _batches(len(data), task.training, generator)
    steps = mlp.train(weights, _pixels(data), data.y, batches, _optimizer(task.training), assignment.pull, allowed)
    if assignment.importance == "at_reached":
        importance = measure_importance(weights, data, task.consolidation.examples, seed, allowed)
    return importance, len(data), steps


def measure_importance(
    weights: mlp.Weights, data: Dataset, examples: int, seed: int, allowed: mlp.Allowed = None
) -> mlp.Weights:
    """Do what `client.importance.measure_importance` does; only the labels are drawn by another generator."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(data))[:examples])
    x = _pixels(data)[chosen]
    return mlp.fisher(weights, x, mlp.sample_labels(weights, x, np.random.default_rng([seed, 1]), allowed), allowed)


def seed_for(round_id: RoundId, learner: Learner) -> int:
    """Return the seed of one client's training of one round, as `client.trainer.seed_of` does."""
    return seed_of(round_id, learner.account)


def _account(number: int) -> Address:
    return address("0x" + hashlib.sha256(f"client {number}".encode("ascii")).hexdigest()[:40])


def _pixels(data: Dataset) -> mlp.Floats:
    return np.asarray(data.x, dtype=np.float32)


def _batches(examples: int, training: Training, generator: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    for _ in range(training.epochs):
        order = generator.permutation(examples)
        for start in range(0, examples, training.batch_size):
            yield order[start : start + training.batch_size]


def _optimizer(training: Training) -> mlp.Optimizer:
    if training.momentum:
        raise InvalidInput("The benchmark's trainer has no momentum.", "No experiment needs it.", "Leave it at 0.")
    rate = float(training.learning_rate)
    return mlp.Adam(rate) if training.optimizer == "adam" else mlp.Sgd(rate)
