"""A model artifact as a Keras model, and back. The one file here that knows Keras's objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from network.keras_loader import ends_in_softmax, import_keras
from protocol.architecture import check_architecture
from protocol.errors import UnsafeArchitecture, WrongTensor
from protocol.grid import to_float32
from protocol.model import Model, TensorClass, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class KerasModel:
    """A Keras model whose weights are those of a model artifact.

    Args:
        network: The ``keras.Model``.
        variables: Tensor name -> Keras variable, in the artifact's order.
        trainable: Names that training may change.
        probabilities: Whether the output is softmax probabilities; logits otherwise.
    """

    network: Any
    variables: Mapping[str, Any]
    trainable: tuple[str, ...]
    probabilities: bool

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """Shape of one example; None is any size."""
        return tuple(self.network.inputs[0].shape[1:])

    @property
    def integer_input(self) -> bool:
        """Whether the model takes integers, as an embedding does."""
        return "int" in str(self.network.inputs[0].dtype)

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """Shape of the output for one example, the classes last; None is any size."""
        return tuple(self.network.outputs[0].shape[1:])

    @property
    def vocabulary(self) -> int | None:
        """Rows of the smallest embedding that the input itself goes to, None where there is none.

        It is checked beforehand because a GPU looks up a row that is not there without complaint.
        """
        import keras

        source = self.network.inputs[0]
        rows = [
            layer.input_dim
            for layer in self.network.layers
            if isinstance(layer, keras.layers.Embedding)
            and any(tensor is source for node in layer._inbound_nodes for tensor in node.input_tensors)
        ]
        return min(rows, default=None)

    @property
    def classes(self) -> int:
        """Size of the last output axis; only where that is fixed, as ``check_dataset`` makes sure."""
        return int(self.network.outputs[0].shape[-1])

    def log_probabilities(self, x: Any, training: bool) -> Any:
        """log p(y | x) as a float32 tensor of the output's shape (batch, ..., classes)."""
        import tensorflow as tf

        output = tf.cast(self.network(x, training=training), tf.float32)
        if self.probabilities:
            return tf.math.log(tf.maximum(output, tf.keras.backend.epsilon()))
        return tf.nn.log_softmax(output)

    def weights(self, model: Model) -> dict[str, NDArray[np.float32]]:
        """The current value of every trainable and statistic tensor, float32."""
        return {
            spec.name: np.asarray(self.variables[spec.name], dtype=np.float32)
            for spec in model.specs
            if spec.kind is not TensorClass.CONSTANT
        }


def build(model: Model) -> KerasModel:
    """Rebuild ``model`` in Keras, after the allow-list and in safe mode, and set its weights.

    Raises:
        UnsafeArchitecture: The architecture is outside the allow-list, or Keras cannot build it.
        WrongTensor: The architecture's weights are not the artifact's tensors, or it has not one input and one output.
    """
    config = check_architecture(model.architecture)
    keras = import_keras()
    try:
        network = keras.saving.deserialize_keras_object(config, safe_mode=True)
    except Exception as error:  # Keras raises many kinds; none of them is the caller's business
        raise UnsafeArchitecture(
            "Keras cannot build the architecture.", str(error)[:300], "The organization must publish another model."
        ) from error
    if not network.built or len(network.inputs) != 1 or len(network.outputs) != 1:
        raise WrongTensor(
            "The architecture has not one input and one output.", "Clients train classifiers.", "Publish another model."
        )
    if len(network.weights) != len(model.specs):
        raise WrongTensor(
            f"The architecture has {len(network.weights)} tensors, the model {len(model.specs)}.",
            "The two files do not belong together.",
            "The organization must publish another model.",
        )
    variables = {}
    for spec, variable in zip(model.specs, network.weights, strict=True):
        _set(variable, spec, model)
        variables[spec.name] = variable
    trainable = tuple(spec.name for spec in model.specs if spec.kind is TensorClass.TRAINABLE)
    return KerasModel(network, variables, trainable, ends_in_softmax(network))


def _set(variable: Any, spec: TensorSpec, model: Model) -> None:
    if tuple(variable.shape) != spec.shape or (spec.kind is TensorClass.TRAINABLE and not variable.trainable):
        raise WrongTensor(
            f"Tensor {spec.name} is {spec.kind} {spec.shape}, Keras's {variable.path} is {tuple(variable.shape)}.",
            "Architecture and weights do not belong together.",
            "The organization must publish another model.",
        )
    if spec.exponent is None:
        variable.assign(model.constants[spec.name])
    else:
        variable.assign(to_float32(model.mantissas[spec.name], spec.exponent))
