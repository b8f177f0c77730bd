"""The numpy trainer computes what the client's trainer computes: TensorFlow is the oracle."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from benchmarks import mlp
from benchmarks.learners import Assignment, first_model, measure_importance, pull_of, train_locally, weights_of
from client.data import Dataset
from protocol.errors import InvalidInput
from protocol.grid import to_float32
from protocol.model import Model
from protocol.task import Consolidation, MergeRule, Task, Training

SIZES = (30, 12, 8, 5)
TASK = Task(
    "oracle",
    merge=MergeRule(examples_cap=40),
    training=Training(learning_rate=Fraction(1, 2), batch_size=8, epochs=2),
    consolidation=Consolidation(strength=Fraction(1, 20), examples=32),
)


def dataset(examples: int = 50) -> Dataset:
    """More examples than the cap, in batches with a smaller last one; some pixels are always 0."""
    generator = np.random.default_rng(7)
    x = generator.random((examples, SIZES[0])).astype(np.float32)
    x[:, ::4] = 0
    return Dataset(x, generator.integers(0, SIZES[-1], examples))


def keras_model() -> Model:
    """The network above as the organization makes it of a Keras model."""
    import keras

    from organization.model_builder import from_keras

    keras.utils.set_random_seed(3)
    hidden = [keras.layers.Dense(units, activation="relu") for units in SIZES[1:-1]]
    return from_keras(keras.Sequential([keras.Input((SIZES[0],)), *hidden, keras.layers.Dense(SIZES[-1])]))


def with_penalty(model: Model) -> tuple[Model, dict[str, np.ndarray]]:
    """``model`` with an importance from 0 to large, and an anchor elsewhere."""
    generator = np.random.default_rng(11)
    importance = {
        name: (generator.pareto(1.0, q.shape) * 2**14).astype(np.uint32) for name, q in model.mantissas.items()
    }
    anchor = {name: q + generator.integers(-(2**17), 2**17, q.shape, np.int32) for name, q in model.mantissas.items()}
    return replace(model, importance=importance, anchor="somewhere"), anchor


@pytest.mark.slow
@pytest.mark.parametrize(
    ("training", "penalty"),
    [
        (TASK.training, False),
        (TASK.training, True),
        (replace(TASK.training, optimizer="adam", learning_rate=Fraction(1, 100)), False),
        (replace(TASK.training, optimizer="adam", learning_rate=Fraction(1, 100)), True),
    ],
)
def test_weights_are_those_of_the_clients_trainer(training: Training, penalty: bool) -> None:
    from client.trainer import train

    base, anchor, task = keras_model(), None, replace(TASK, training=training)
    if penalty:
        base, anchor = with_penalty(base)
    theirs = train(base, anchor, task, dataset(), seed=99, consolidate=False)
    ours = train_locally(base, task, dataset(), 99, Assignment(pull_of(base, anchor, task)))
    assert (ours.steps, ours.examples) == (theirs.steps, theirs.examples) == (10, 40)
    for name, weight in theirs.weights.items():
        moved = np.abs(weight - to_float32(base.mantissas[name], base.specs[int(name[:5])].grid)).max()
        assert moved > 0.01  # far more than the tolerance
        np.testing.assert_allclose(ours.weights[name], weight, rtol=0, atol=2e-5)


@pytest.mark.slow
def test_the_fisher_is_the_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both draw labels from the model, by generators of their own: given TensorFlow's labels, all must be equal."""
    import tensorflow as tf

    from client.importance import measure_importance as theirs_measured
    from client.keras_model import build

    base, data, seed = keras_model(), dataset(), 5
    theirs = theirs_measured(build(base), data, 32, seed)

    def their_labels(weights: mlp.Weights, x: mlp.Floats, *_: Any) -> np.ndarray:
        logits = mlp.forward(weights, x)[1]
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return tf.random.stateless_categorical(log_p, 1, [seed, 0], dtype=tf.int32).numpy()[:, 0]

    monkeypatch.setattr(mlp, "sample_labels", their_labels)
    ours = measure_importance(weights_of(base), data, 32, seed)
    for mine, (name, other) in zip(ours, theirs.items(), strict=True):
        assert other.max() > 1e-4, name
        np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-7)


def test_labels_are_drawn_from_the_model() -> None:
    weights = weights_of(first_model(SIZES, 1))
    weights[-1] += np.array([0, 1, 2, -1, 0], np.float32)
    x = np.repeat(dataset(1).x, 20_000, axis=0)
    drawn = np.bincount(mlp.sample_labels(weights, x, np.random.default_rng(1)), minlength=5) / len(x)
    logits = mlp.forward(weights, x[:1])[1][0].astype(np.float64)
    np.testing.assert_allclose(drawn, np.exp(logits) / np.exp(logits).sum(), atol=0.01)


def test_masked_logits_have_no_part() -> None:
    weights, data = weights_of(first_model(SIZES, 1)), dataset()
    allowed = np.array([True, True, False, True, False])
    before = [each.copy() for each in weights]
    labels = np.where(allowed[data.y], data.y, 0)
    mlp.train(weights, data.x, labels, [np.arange(20)], mlp.Sgd(0.5), allowed=allowed)
    assert np.array_equal(weights[-2][:, ~allowed], before[-2][:, ~allowed])
    assert not np.array_equal(weights[-2][:, allowed], before[-2][:, allowed])
    assert set(mlp.sample_labels(weights, data.x, np.random.default_rng(1), allowed)) <= {0, 1, 3}
    weights[-1][2] = 100.0
    assert mlp.count_correct(weights, data.x, np.full(len(data), 2)) == len(data)
    assert mlp.count_correct(weights, data.x, np.full(len(data), 2), allowed) == 0


def test_the_slopes_are_those_of_the_loss() -> None:
    """Against differences of the loss itself, in float64."""
    weights = [each.astype(np.float64) for each in weights_of(first_model(SIZES, 1))]
    data = dataset(6)
    x = data.x.astype(np.float64)

    def loss() -> float:
        logits = mlp.forward(weights, x)[1]
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return float(-log_p[np.arange(len(x)), data.y].mean())

    inputs, logits = mlp.forward(weights, x)
    slope = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    slope[np.arange(len(x)), data.y] -= 1
    slopes = mlp.backward(weights, inputs, slope / len(x))
    for layer, (before, each) in enumerate(zip(inputs, slopes, strict=True)):
        gradient = before.T @ each
        for place in [(0, 0), (1, 3), (5, 2)]:
            held, step = weights[2 * layer][place], 1e-6
            values = []
            for sign in (1, -1):
                weights[2 * layer][place] = held + sign * step
                values.append(loss())
            weights[2 * layer][place] = held
            assert gradient[place] == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-7)


def test_momentum_is_refused() -> None:
    task = replace(TASK, training=replace(TASK.training, momentum=Fraction(1, 2)))
    with pytest.raises(InvalidInput, match="momentum"):
        train_locally(first_model(SIZES, 1), task, dataset(), 1, Assignment())
