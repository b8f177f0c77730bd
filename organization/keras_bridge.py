"""Between Keras models and the protocol's: the one module of the organization that imports Keras. Import it lazily."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from network.keras_loader import import_keras
from protocol.architecture import check_architecture
from protocol.errors import InvalidInput, UnsafeArchitecture, WrongTensor
from protocol.model import Model, TensorClass, to_float32

if TYPE_CHECKING:
    import keras


def canonical_architecture(text: str) -> bytes:
    """The bytes of ``architecture.json`` for a model's ``to_json()``: sorted keys, no white space, ASCII, uncompiled.

    Optimizer and loss are the task's, so what the model was compiled with is left out.

    Raises:
        UnsafeArchitecture: It is not JSON, or names something outside the allow-list.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UnsafeArchitecture(
            "The architecture is not JSON.", str(error)[:200], "Write it with to_json()."
        ) from None
    if isinstance(value, dict):
        value.pop("compile_config", None)
    data = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")
    check_architecture(data)
    return data


def build(architecture: bytes) -> keras.Model:
    """The Keras model that ``architecture.json`` describes, freshly initialised.

    Raises:
        UnsafeArchitecture: It names something outside the allow-list.
        InvalidInput: Keras cannot build it, or it states no input shape.
    """
    config = check_architecture(architecture)
    keras = import_keras()
    try:
        model = keras.saving.deserialize_keras_object(config, safe_mode=True)
    except Exception as error:  # Keras raises whatever its layers raise
        raise InvalidInput(
            "Keras cannot build this architecture.", str(error)[:300], "Write it with keras.Model.to_json()."
        ) from error
    return require_built(model)


def require_built(model: keras.Model) -> keras.Model:
    """Return ``model`` where it has its weights. Raises: InvalidInput."""
    if not model.built or not model.weights:
        raise InvalidInput(
            "The model has no weights yet.", "It states no input shape.", "Begin it with an Input of a fixed shape."
        )
    return model


def to_keras(model: Model) -> keras.Model:
    """The Keras model with the weights of ``model``.

    Raises:
        UnsafeArchitecture, InvalidInput: See `build`.
        WrongTensor: Its tensors are not those of its architecture.
    """
    built = build(model.architecture)
    set_weights(built, model)
    return built


def set_weights(built: keras.Model, model: Model) -> None:
    """Give ``built``, a Keras model of the same architecture, the weights of ``model``. Raises: WrongTensor."""
    arrays = [_array(model, position) for position in range(len(model.specs))]
    shapes = [tuple(weight.shape) for weight in built.weights]
    if shapes != [array.shape for array in arrays]:
        raise WrongTensor(
            "The model's tensors are not those of its architecture.",
            f"It has {len(arrays)} tensors; Keras builds {len(shapes)}, or of other shapes.",
            "Use the Keras version that the model was created with.",
        )
    built.set_weights(arrays)


def _array(model: Model, position: int) -> NDArray[np.generic]:
    spec = model.specs[position]
    if spec.kind is TensorClass.CONSTANT:
        return model.constants[spec.name]
    return to_float32(model.mantissas[spec.name], spec.grid)
