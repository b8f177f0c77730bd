"""Training one round on one machine: TensorFlow's step, then the penalty's; exactly the planned number of steps."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.data import Dataset, check_dataset
from client.importance import measure_importance
from client.keras_model import KerasModel, build
from client.penalty import ProximalStep, anchor_weights, pull_strengths
from network.keras_loader import import_keras
from protocol.errors import RondoError
from protocol.model import Model
from protocol.task import Task, Training
from protocol.types import Address, RoundId


class TrainingStopped(Exception):
    """The caller asked to stop; nothing of this training is kept."""


class TrainingFailed(RondoError):
    """TensorFlow or Keras cannot train this model on these data; later rounds may be different."""

    exit_code = 65


@dataclass(frozen=True)
class Trained:
    """What a training yields.

    Args:
        weights: float32 of each trainable and statistic tensor.
        importance: float32 diagonal Fisher of each trainable tensor where the task asks for it: at the base, or at ``weights``.
        examples: Examples trained on, at most the task's cap. steps: Optimizer steps, exactly the plan's.
        millis: Milliseconds of all steps but the first, which compiles; rounded down.
    """

    weights: Mapping[str, NDArray[np.float32]]
    importance: Mapping[str, NDArray[np.float32]] | None
    examples: int
    steps: int
    millis: int


def seed_of(round_id: RoundId, account: Address) -> int:
    """The 32-bit seed of one client's training of one round: sha-256 of both, so that neither repeats another's order."""
    return int.from_bytes(hashlib.sha256(round_id + bytes.fromhex(account[2:])).digest()[:4], "big")


def train(
    base: Model,
    anchor: Mapping[str, NDArray[np.int32]] | None,
    task: Task,
    dataset: Dataset,
    *,
    seed: int,
    consolidate: bool,
    clock: Callable[[], float] = time.monotonic,
    should_stop: Callable[[], bool] = lambda: False,
) -> Trained:
    """Train ``base`` on ``dataset`` as ``task`` says.

    The same seed on the same machine and software gives the same weights (GPUs may differ: some of their kernels add in
    no fixed order). Nobody relies on it: what counts is the artifact on disk.

    Args:
        anchor: Mantissas of the anchor's tensors; needed where ``base`` carries importance and the strength is not 0.
        consolidate: What the round's terms say; with the task it decides whether and where importance is measured.
        clock: Monotonic seconds.
        should_stop: Asked before each step.

    Raises:
        UnsafeArchitecture, WrongTensor: The base cannot be built. InvalidInput: The data do not fit the model.
        TrainingFailed: They seem to fit, but Keras or TensorFlow fails with them.
        TrainingStopped: ``should_stop`` said so.
    """
    with _failures_named():
        return _train(base, anchor, task, dataset, seed, consolidate, clock, should_stop)


@contextmanager
def _failures_named() -> Iterator[None]:
    """Architectures and data are other people's, and Keras and TensorFlow raise whatever they like."""
    try:
        yield
    except (RondoError, TrainingStopped):
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise TrainingFailed(
            "The round's model cannot be trained on these data.",
            f"{type(error).__name__}: {' '.join(lines)[:300]}",
            "Compare the data with what the federation asks for; if they are right, tell the organization.",
        ) from error


def _train(
    base: Model,
    anchor: Mapping[str, NDArray[np.int32]] | None,
    task: Task,
    dataset: Dataset,
    seed: int,
    consolidate: bool,
    clock: Callable[[], float],
    should_stop: Callable[[], bool],
) -> Trained:
    import_keras().utils.set_random_seed(seed)
    network = build(base)
    dataset = check_dataset(
        dataset, network.input_shape, network.output_shape, network.integer_input, network.vocabulary
    )
    generator = np.random.default_rng(seed)
    rows = generator.permutation(len(dataset))[: task.merge.examples_cap]
    dataset = dataset.take(np.sort(rows))
    importance, at = None, task.importance_at(consolidate)
    if at == "base":
        importance = measure_importance(network, dataset, task.consolidation.examples, seed)
    step = _compile_step(network, task, dataset, _penalty(network, base, anchor, task))
    batches = _batches(len(dataset), task.training, generator)
    steps, millis = _run(step, batches, clock, should_stop)
    if at == "reached":
        importance = measure_importance(network, dataset, task.consolidation.examples, seed)
    return Trained(network.weights(base), importance, len(dataset), steps, millis)


def _penalty(
    network: KerasModel, base: Model, anchor: Mapping[str, NDArray[np.int32]] | None, task: Task
) -> ProximalStep | None:
    strengths = pull_strengths(base, task)
    if strengths is None or anchor is None:
        return None
    return ProximalStep(network.variables, strengths, anchor_weights(base, anchor))


def _optimizer(training: Training) -> Any:
    import keras

    rate = float(training.learning_rate)
    if training.optimizer == "adam":
        return keras.optimizers.Adam(rate)
    return keras.optimizers.SGD(rate, momentum=float(training.momentum))


def _compile_step(
    network: KerasModel, task: Task, dataset: Dataset, penalty: ProximalStep | None
) -> Callable[[NDArray[np.int64]], Any]:
    """One optimizer step over the examples at given rows, traced once for every batch size."""
    import tensorflow as tf

    variables = [network.variables[name] for name in network.trainable]
    optimizer = _optimizer(task.training)
    optimizer.build(variables)
    x, y = tf.constant(dataset.x), tf.constant(dataset.y)

    def step(rows: Any) -> Any:
        with tf.GradientTape() as tape:
            log_p = network.log_probabilities(tf.gather(x, rows), training=True)
            right = tf.gather(log_p, tf.gather(y, rows), batch_dims=len(y.shape))
            loss = tf.add_n([-tf.reduce_mean(right), *network.network.losses])
        gradients = tape.gradient(loss, [v.value for v in variables], unconnected_gradients="zero")
        optimizer.apply(gradients, variables)
        if penalty is not None:
            penalty.apply()
        return loss

    compiled: Callable[[NDArray[np.int64]], Any] = tf.function(
        step, input_signature=[tf.TensorSpec([None], tf.int64)], autograph=False
    )
    return compiled


def _batches(examples: int, training: Training, generator: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    for _ in range(training.epochs):
        order = generator.permutation(examples)
        for start in range(0, examples, training.batch_size):
            yield order[start : start + training.batch_size]


def _run(
    step: Callable[[NDArray[np.int64]], Any],
    batches: Iterator[NDArray[np.int64]],
    clock: Callable[[], float],
    should_stop: Callable[[], bool],
) -> tuple[int, int]:
    """Run all steps; return (steps, milliseconds after the first step)."""
    steps, started = 0, 0.0
    loss = None
    for rows in batches:
        if should_stop():
            raise TrainingStopped
        loss = step(rows)
        steps += 1
        if steps == 1:
            float(loss)  # wait for the device: the first step compiles, and its time is nobody's work
            started = clock()
    if loss is None:
        return 0, 0
    float(loss)
    return steps, int((clock() - started) * 1000)
