"""Tiny models for the client's tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from client.data import Dataset
from protocol.grid import grid_exponent, snap
from protocol.model import Model, TensorClass, TensorSpec


@pytest.fixture(scope="session")
def keras() -> Any:
    import keras as package

    return package


def model_of(network: Any, **fields: Any) -> Model:
    """A model artifact at creation, as the organization makes it."""
    specs, mantissas = [], {}
    for position, weight in enumerate(network.weights):
        values = np.asarray(weight, np.float32)
        kind = TensorClass.TRAINABLE if weight.trainable else TensorClass.STATISTIC
        exponent = grid_exponent(values, 6)
        name = f"{position:05d}.{weight.path}"
        specs.append(TensorSpec(name, values.shape, kind, exponent, non_negative="variance" in weight.path))
        mantissas[name] = snap(values, exponent)
    return Model(network.to_json().encode(), 0, (), tuple(specs), mantissas, **fields)


@pytest.fixture(scope="session")
def softmax_regression(keras: Any) -> Callable[[], Model]:
    """p(y|x) = softmax(W x + b) over 4 inputs and 3 classes: its Fisher information has a closed form."""

    keras.utils.set_random_seed(7)
    layers = [keras.Input((4,)), keras.layers.Dense(3, activation="softmax", name="dense")]
    model = model_of(keras.Sequential(layers, name="regression"))
    return lambda: model


def blobs(examples: int, seed: int, features: int = 4, classes: int = 3) -> Dataset:
    """Points around one centre per class."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, classes, examples)
    centres = np.eye(classes, features, dtype=np.float32) * 2
    x = centres[y] + generator.normal(0, 0.4, (examples, features)).astype(np.float32)
    return Dataset(x.astype(np.float32), y.astype(np.int64))
