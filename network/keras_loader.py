"""Loads Keras on TensorFlow for the roles that train or evaluate; nothing else in Rondo does.

Imported late and called later still: loading takes seconds.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def import_keras() -> Any:
    """Keras on TensorFlow; the first time takes seconds. Its start-up banner is no output of ours and is dropped.

    TensorFlow's C++ prints before it reads any log level, so standard error itself is turned away while it loads; what
    goes wrong is a Python exception and is raised as ever.
    """
    if "keras" not in sys.modules:
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with _no_standard_error():
            return importlib.import_module("keras")
    return sys.modules["keras"]


def ends_in_softmax(network: Any) -> bool:
    """Whether the layer that makes the output applies softmax; nested models are followed to their own last layer."""
    keras = import_keras()
    layer = network.outputs[0]._keras_history.operation
    while isinstance(layer, keras.Model):
        layer = layer.outputs[0]._keras_history.operation
    return isinstance(layer, keras.layers.Softmax) or getattr(layer, "activation", None) is keras.activations.softmax


@contextmanager
def _no_standard_error() -> Iterator[None]:
    try:
        kept = os.dup(2)
    except OSError:  # a service may run without one
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)
