"""A client's importance: the diagonal of the Fisher information at a network's weights, on the client's own examples.

F_i = E_x E_{y ~ p(y|x)} [ (d log p(y|x) / d theta_i)^2 ], with y *sampled from the model* and one example per square:
labels from the data would give the empirical Fisher, and squares of batch gradients would average the signal away
(Kunstner et al. 2019).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.data import Dataset
from client.keras_model import KerasModel

_FLOATS_AT_ONCE = 1 << 25  # gradients held at a time: 128 MiB
_MOST_AT_ONCE = 64


def measure_importance(
    network: KerasModel, dataset: Dataset, examples: int, seed: int
) -> dict[str, NDArray[np.float32]]:
    """Return the mean squared gradient of each trainable tensor, float32, over at most ``examples`` examples.

    Args:
        network: At the weights that the task says (Task.importance_at); it is not changed. Layers run as in inference, so that examples do not mix.
        dataset: Already checked against the model.
        examples: Most examples to measure on; a seeded choice where there are more.
        seed: Of the choice and of the labels.
    """
    import tensorflow as tf

    chosen = np.sort(np.random.default_rng(seed).permutation(len(dataset))[:examples])
    x = dataset.x[chosen]
    parameters = sum(int(np.prod(network.variables[name].shape)) for name in network.trainable)
    at_once = max(1, min(_MOST_AT_ONCE, _FLOATS_AT_ONCE // max(parameters, 1)))
    squares = _compile_squares(network, x[:at_once])
    totals = [np.zeros(network.variables[name].shape, np.float64) for name in network.trainable]
    for start in range(0, len(x), at_once):
        labels_seed = tf.constant([seed & 0x7FFFFFFF, start], tf.int32)
        for total, part in zip(totals, squares(tf.constant(x[start : start + at_once]), labels_seed), strict=True):
            np.add(total, part.numpy(), out=total)
    return {name: (total / len(x)).astype(np.float32) for name, total in zip(network.trainable, totals, strict=True)}


def _compile_squares(network: KerasModel, sample: NDArray[np.generic]) -> Any:
    """A function (x, seed) -> sum over the batch of per-example squared gradients, one tensor per trainable variable."""
    import tensorflow as tf

    signature = [tf.TensorSpec([None, *sample.shape[1:]], sample.dtype), tf.TensorSpec([2], tf.int32)]
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)  # what cannot be vectorised is no error: it runs one by one
    try:
        return tf.function(_squares(network, tf.vectorized_map), signature, autograph=False).get_concrete_function()
    except Exception:  # recurrent layers, and whatever else the vectoriser has no rule for; it raises many kinds
        dtypes = [tf.float32 for _ in network.trainable]

        def one_by_one(function: Any, pairs: Any) -> Any:
            return tf.map_fn(function, pairs, fn_output_signature=dtypes)

        return tf.function(_squares(network, one_by_one), signature, autograph=False)
    finally:
        logger.setLevel(level)


def _squares(network: KerasModel, over_examples: Callable[[Any, Any], Any]) -> Callable[[Any, Any], list[Any]]:
    import tensorflow as tf

    variables = [network.variables[name].value for name in network.trainable]

    def one(pair: tuple[Any, Any]) -> list[Any]:
        x, y = pair
        with tf.GradientTape() as tape:
            log_p = network.log_probabilities(x[tf.newaxis], training=False)[0]
            chosen = tf.reduce_sum(tf.gather(log_p, y, batch_dims=len(log_p.shape) - 1))
        gradients = tape.gradient(chosen, variables, unconnected_gradients="zero")
        return [tf.square(tf.convert_to_tensor(gradient)) for gradient in gradients]

    def squares(x: Any, seed: Any) -> list[Any]:
        log_p = network.log_probabilities(x, training=False)
        flat = tf.reshape(log_p, [-1, network.classes])
        labels = tf.random.stateless_categorical(flat, 1, seed, dtype=tf.int32)
        y = tf.reshape(labels, tf.shape(log_p)[:-1])
        return [tf.reduce_sum(part, axis=0) for part in over_examples(one, (x, y))]

    return squares
