"""Training with real TensorFlow on tiny models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import client.trainer
from client.data import Dataset
from client.importance import measure_importance
from client.keras_model import build
from client.trainer import TrainingFailed, TrainingStopped, seed_of, train
from protocol.errors import InvalidInput, RondoError, UnsafeArchitecture, WrongTensor
from protocol.grid import to_float32
from protocol.model import Model
from protocol.task import Consolidation, MergeRule, Task, Training
from protocol.types import Address, RoundId
from tests.client.conftest import blobs, model_of

pytestmark = pytest.mark.slow

TASK = Task("digits", training=Training(batch_size=8, epochs=2, learning_rate=Fraction(1, 4)))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def floats(model: Model) -> dict[str, np.ndarray]:
    return {s.name: to_float32(model.mantissas[s.name], s.exponent) for s in model.specs if s.exponent is not None}


# --- refusals ---


def test_a_refused_architecture_never_reaches_keras(softmax_regression: Callable[[], Model]) -> None:
    base = softmax_regression()
    bad = replace(base, architecture=base.architecture.replace(b'"Dense"', b'"Lambda"'))
    with pytest.raises(UnsafeArchitecture, match="Lambda"):
        train(bad, None, TASK, blobs(8, 1), seed=1, consolidate=False)


def test_an_architecture_keras_cannot_build_is_a_named_error(softmax_regression: Callable[[], Model]) -> None:
    base = softmax_regression()
    bad = replace(base, architecture=base.architecture.replace(b'"units": 3', b'"units": -3'))
    with pytest.raises(UnsafeArchitecture, match="cannot build"):
        train(bad, None, TASK, blobs(8, 1), seed=1, consolidate=False)


def test_weights_of_another_architecture_are_refused(softmax_regression: Callable[[], Model]) -> None:
    base = softmax_regression()
    with pytest.raises(WrongTensor, match="tensors"):
        train(replace(base, specs=base.specs[:1]), None, TASK, blobs(8, 1), seed=1, consolidate=False)
    wider = replace(base, architecture=base.architecture.replace(b'"units": 3', b'"units": 5'))
    with pytest.raises(WrongTensor, match="do not belong together"):
        train(wider, None, TASK, blobs(8, 1), seed=1, consolidate=False)


@pytest.mark.parametrize(
    "data",
    [
        blobs(8, 1, features=5),
        Dataset(np.zeros((8, 4, 1), np.float32), np.zeros(8, np.int64)),
        Dataset(np.zeros((8, 4), np.float32), np.full(8, 3, np.int64)),
    ],
)
def test_data_that_do_not_fit_are_refused(softmax_regression: Callable[[], Model], data: Dataset) -> None:
    with pytest.raises(InvalidInput):
        train(softmax_regression(), None, TASK, data, seed=1, consolidate=False)


Layers = Callable[[Any], list[Any]]
PIXELS, TOKENS = np.zeros((8, 6), np.float32), np.arange(48).reshape(8, 6)
FLAT, EVERYWHERE = np.zeros(8, np.int64), np.zeros((8, 6), np.int64)


@pytest.mark.parametrize(
    ("layers", "data", "error"),
    [
        (lambda k: [k.Input((None, None)), k.layers.Permute((2, 1))], Dataset(PIXELS[..., None], FLAT), InvalidInput),
        (lambda k: [k.Input((6,)), k.layers.Dense(3)], Dataset(PIXELS, EVERYWHERE), InvalidInput),
        (
            lambda k: [k.Input((6, 1)), k.layers.LSTM(2, return_sequences=True), k.layers.Dense(3)],
            Dataset(PIXELS[..., None], FLAT),
            InvalidInput,
        ),
        (
            lambda k: [k.Input((6,), dtype="int32"), k.layers.Embedding(9, 2), k.layers.Dense(3)],
            Dataset(TOKENS, EVERYWHERE),
            InvalidInput,
        ),
        (
            lambda k: [k.Input((6,)), k.layers.Embedding(9, 2), k.layers.Dense(3)],
            Dataset(TOKENS.astype(np.float32), EVERYWHERE),
            InvalidInput,
        ),
        (
            lambda k: [k.Input((6,)), k.layers.Rescaling(2.0), k.layers.Embedding(9, 2), k.layers.Dense(3)],
            Dataset(TOKENS.astype(np.float32), EVERYWHERE),
            TrainingFailed,
        ),
        (
            lambda k: [k.Input((None, 1)), k.layers.Reshape((4, 1)), k.layers.Dense(3)],
            Dataset(PIXELS[..., None], EVERYWHERE[:, :4]),
            TrainingFailed,
        ),
        (
            lambda k: [k.Input((None, 1)), k.layers.Cropping1D(1), k.layers.Dense(3)],
            Dataset(PIXELS[..., None], EVERYWHERE),
            TrainingFailed,
        ),
    ],
    ids=[
        "no number of classes",
        "sequence labels, flat output",
        "flat labels, sequence output",
        "tokens outside the vocabulary",
        "tokens outside the vocabulary, as floats",
        "tokens outside the vocabulary, behind a layer",
        "a reshape that does not fit",
        "labels of another length than the output",
    ],
)
@pytest.mark.parametrize("consolidate", [False, True])
def test_models_and_data_that_do_not_fit_each_other_are_named(
    keras: Any, layers: Layers, data: Dataset, error: type[Exception], consolidate: bool
) -> None:
    base = model_of(keras.Sequential(layers(keras)))
    with pytest.raises(error) as refusal:
        train(base, None, TASK, data, seed=1, consolidate=consolidate)
    assert type(refusal.value) is error
    assert isinstance(refusal.value, RondoError)
    assert refusal.value.why
    assert refusal.value.do


def test_whatever_building_raises_has_a_name(
    softmax_regression: Callable[[], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(model: Model) -> Any:
        raise AttributeError("no such attribute")

    monkeypatch.setattr(client.trainer, "build", broken)
    with pytest.raises(TrainingFailed, match="no such attribute"):
        train(softmax_regression(), None, TASK, blobs(8, 1), seed=1, consolidate=False)


def test_a_stop_is_honoured_between_steps(softmax_regression: Callable[[], Model]) -> None:
    asked = iter([False, False, True])
    with pytest.raises(TrainingStopped):
        train(
            softmax_regression(),
            None,
            TASK,
            blobs(64, 1),
            seed=1,
            consolidate=False,
            should_stop=lambda: next(asked),
        )


# --- what training does ---


def test_full_batch_steps_match_numpy(softmax_regression: Callable[[], Model]) -> None:
    base, data = softmax_regression(), blobs(16, 1)
    task = replace(TASK, training=replace(TASK.training, batch_size=16, epochs=3))
    trained = train(base, None, task, data, seed=1, consolidate=False)
    (kernel, bias), y = floats(base).values(), np.eye(3)[data.y]
    for _ in range(3):
        error = np.exp(log_softmax(data.x @ kernel + bias)) - y
        kernel, bias = kernel - 0.25 * data.x.T @ error / 16, bias - 0.25 * error.mean(axis=0)
    for actual, expected in zip(trained.weights.values(), (kernel, bias), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize(("examples", "steps"), [(1, 2), (8, 2), (9, 4), (17, 6)])
def test_steps_are_the_plans(softmax_regression: Callable[[], Model], examples: int, steps: int) -> None:
    trained = train(softmax_regression(), None, TASK, blobs(examples, 1), seed=1, consolidate=False)
    assert trained.steps == steps == TASK.training.planned_steps(examples)
    assert trained.examples == examples


def test_examples_beyond_the_cap_are_not_trained_on(softmax_regression: Callable[[], Model]) -> None:
    task = replace(TASK, merge=MergeRule(examples_cap=10))
    trained = train(softmax_regression(), None, task, blobs(50, 1), seed=1, consolidate=False)
    assert (trained.examples, trained.steps) == (10, task.training.planned_steps(10))


def test_the_first_steps_time_is_not_counted_and_milliseconds_round_down(
    softmax_regression: Callable[[], Model],
) -> None:
    readings = iter([10.0, 10.0129])  # after the first step, after the last
    trained = train(
        softmax_regression(), None, TASK, blobs(16, 1), seed=1, consolidate=False, clock=lambda: next(readings)
    )
    assert trained.millis == 12


def test_a_seed_decides_everything(keras: Any) -> None:
    network = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dropout(0.5), keras.layers.Dense(3)]
    )
    base, data = model_of(network), blobs(40, 1)
    runs = [train(base, None, TASK, data, seed=seed, consolidate=True) for seed in (1, 1, 2)]
    assert all(np.array_equal(runs[0].weights[n], runs[1].weights[n]) for n in runs[0].weights)
    assert runs[0].importance is not None
    assert runs[1].importance is not None
    assert all(np.array_equal(runs[0].importance[n], runs[1].importance[n]) for n in runs[0].importance)
    assert any(not np.array_equal(runs[0].weights[n], runs[2].weights[n]) for n in runs[0].weights)


def test_seeds_differ_by_round_and_client() -> None:
    alice, bob = Address("0x" + "a" * 40), Address("0x" + "b" * 40)
    rounds = RoundId(b"\1" * 32), RoundId(b"\2" * 32)
    assert len({seed_of(r, a) for r in rounds for a in (alice, bob)}) == 4


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_learns_and_statistics_move(keras: Any, optimizer: Any) -> None:
    layers = keras.layers
    network = keras.Sequential([keras.Input((4,)), layers.Dense(8), layers.BatchNormalization(), layers.Dense(3)])
    base, data = model_of(network), blobs(200, 1)
    task = replace(TASK, training=Training(optimizer, Fraction(1, 20), Fraction(1, 2), batch_size=20, epochs=8))
    trained = train(base, None, task, data, seed=1, consolidate=False)
    before = floats(base)
    statistics = [s.name for s in base.specs if s.kind == "statistic"]
    assert len(statistics) == 2
    assert all(not np.array_equal(before[n], trained.weights[n]) for n in before)
    kernel, bias, gamma, beta, mean, variance, last, last_bias = trained.weights.values()
    hidden = (data.x @ kernel + bias - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    assert np.mean(np.argmax(hidden @ last + last_bias, axis=1) == data.y) > 0.9


def test_sequence_models_take_integers_and_label_every_position(keras: Any) -> None:
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            layers.Embedding(9, 4),
            layers.LSTM(3, return_sequences=True),
            layers.Dense(9),
        ]
    )
    tokens = np.random.default_rng(1).integers(0, 9, (12, 6))
    data = Dataset(tokens[:, :-1], tokens[:, 1:])
    trained = train(model_of(network), None, TASK, data, seed=1, consolidate=True)
    assert trained.importance is not None
    assert all(np.isfinite(v).all() and v.any() for v in trained.importance.values())


# --- the penalty ---


def with_importance(base: Model, value: int) -> Model:
    return replace(
        base, importance={n: np.full(q.shape, value, np.uint32) for n, q in base.mantissas.items()}, anchor="bafy"
    )


@pytest.mark.parametrize("strength", [Fraction(0), Fraction(1, 2), Fraction(10), Fraction(10**9)])
def test_the_proximal_step_matches_numpy(softmax_regression: Callable[[], Model], strength: Fraction) -> None:
    base, data = with_importance(softmax_regression(), 3 << 15), blobs(16, 1)  # F = 1.5
    anchor = {name: q + 1000 for name, q in base.mantissas.items()}
    task = replace(
        TASK,
        training=replace(TASK.training, batch_size=16, epochs=2),
        consolidation=Consolidation(strength=strength),
    )
    trained = train(base, anchor, task, data, seed=1, consolidate=False)
    c = 0.25 * float(strength) * 1.5
    (kernel, bias), y = floats(base).values(), np.eye(3)[data.y]
    targets = [to_float32(anchor[s.name], s.exponent) for s in base.specs if s.exponent is not None]
    for _ in range(2):
        error = np.exp(log_softmax(data.x @ kernel + bias)) - y
        kernel, bias = kernel - 0.25 * data.x.T @ error / 16, bias - 0.25 * error.mean(axis=0)
        kernel, bias = ((v + c * t) / (1 + c) for v, t in zip((kernel, bias), targets, strict=True))
    for actual, expected in zip(trained.weights.values(), (kernel, bias), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-5)


# --- the importance ---


def test_the_importance_of_softmax_regression_has_its_closed_form(softmax_regression: Callable[[], Model]) -> None:
    """With y ~ p, E[(d log p / d W_jk)^2] = x_j^2 p_k (1 - p_k), and the same without x_j for the bias."""
    base, data = softmax_regression(), blobs(3000, 1)
    task = replace(TASK, consolidation=Consolidation(examples=3000))
    importance = train(base, None, task, data, seed=1, consolidate=True).importance
    assert importance is not None
    kernel, bias = floats(base).values()
    p = np.exp(log_softmax(data.x @ kernel + bias))
    spread = p * (1 - p)
    for actual, expected in zip(importance.values(), ((data.x**2).T @ spread / 3000, spread.mean(axis=0)), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0.1)


def test_the_importance_is_measured_at_the_base_and_on_a_bounded_sample(
    softmax_regression: Callable[[], Model],
) -> None:
    base, data = softmax_regression(), blobs(64, 1)
    short, long = (
        replace(
            TASK,
            training=replace(TASK.training, epochs=epochs),
            consolidation=Consolidation(examples=16),
        )
        for epochs in (1, 9)
    )
    first = train(base, None, short, data, seed=1, consolidate=True).importance
    second = train(base, None, long, data, seed=1, consolidate=True).importance
    assert first is not None
    assert second is not None
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("rule", ["fedcurv", "fisher-weighted"])
def test_rules_that_use_importance_have_it_measured_at_the_weights_that_were_reached(
    softmax_regression: Callable[[], Model], rule: Any
) -> None:
    base, data = softmax_regression(), blobs(64, 1)
    task = replace(TASK, merge=MergeRule(rule))
    trained = train(base, None, task, data, seed=1, consolidate=False)
    assert trained.importance is not None
    network = build(base)
    at_base = measure_importance(network, data, task.consolidation.examples, 1)
    for name, weights in trained.weights.items():
        network.variables[name].assign(weights)
    reached = measure_importance(network, data, task.consolidation.examples, 1)
    for name, actual in trained.importance.items():
        np.testing.assert_allclose(actual, reached[name], rtol=1e-5)
        assert not np.allclose(actual, at_base[name], rtol=1e-2)
