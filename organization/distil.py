"""Distillation: one model made of a committee on unlabelled examples (Hinton, Vinyals and Dean, *Distilling the Knowledge in
a Neural Network*, 2015; as a federation's merge: Lin et al., *Ensemble Distillation for Robust Model Fusion*, NeurIPS 2020).

The student starts from the round's mean and learns the members' weighted mean of p(class | x)^(1/T), rescaled to add up to
1, by the loss T^2 KL(teacher || student) with the student at the same temperature T (Hinton et al., §2). What comes out is
the organization's word: nobody recomputes it, and everybody checks that it is its round's in all but the weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.keras_loader import import_keras
from organization.examples import Examples
from organization.members import MemberModels
from organization.voting import Network, SoftVote
from processor.stated import Demand
from protocol.committee import CommitteeMember
from protocol.errors import ArtifactRefused, BlockCorrupt, BlockMissing, ContentError, InvalidInput, RondoError
from protocol.grid import MANTISSA_LIMIT, check_finite
from protocol.model import Model
from protocol.specs import TensorSpec, merged_specs
from protocol.types import Digest

SMALLEST = np.float32(1e-7)  # of a probability whose logarithm is taken


@dataclass(frozen=True, slots=True)
class Distillation:
    """How a student learns: Adam for ``epochs`` passes over the examples.

    Raises:
        InvalidInput: A setting is out of its range.
    """

    temperature: float = 2.0
    epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        positive = (self.temperature, self.epochs, self.batch_size, self.learning_rate)
        if not all(math.isfinite(value) and value > 0 for value in positive):
            raise InvalidInput(
                "Temperature, epochs, batch size and learning rate of a distillation are positive.",
                f"They are {', '.join(map(str, positive))}.",
                "Leave them at their defaults.",
            )


class Distiller:
    """Makes the model that the organization states for a round.

    Args:
        examples: Unlabelled; labels that the file may hold are not looked at.
        say: Takes one line where something went otherwise than asked.
    """

    def __init__(
        self,
        examples: Examples,
        settings: Distillation | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._examples, self._settings, self._say = examples, settings or Distillation(), say
        self._done: tuple[Digest | None, Model] | None = None  # for which committee: a settlement may be tried again

    def check(self, model: Model) -> None:
        """Raise InvalidInput where the examples do not fit ``model``: to be asked before anything is at stake."""
        network = Network(model)
        network.predict(network.fitting(self._examples)[:1])

    def __call__(self, demand: Demand, models: MemberModels) -> Model:
        """Return the student for a round that demands ``demand``; it fits.

        A member whose artifacts cannot be had (any more), or are not what they should be, does not teach. Where nothing
        can be learnt, the mean itself is what the organization states: clients' pay does not wait for it.

        Raises:
            StoreUnavailable: The store failed.
        """
        if self._done is None or self._done[0] != demand.mean.committee:
            try:
                student = self._distil(demand, models)
            except ContentError:
                raise
            except RondoError as error:
                self._say(f"not distilled, the mean is stated instead: {error}")
                student = demand.mean
            self._done = demand.mean.committee, student
        return self._done[1]

    def _distil(self, demand: Demand, models: MemberModels) -> Model:
        import_keras().utils.set_random_seed(self._settings.seed)
        network = Network(demand.mean)
        x = network.fitting(self._examples)
        teacher = self._teach(network, x, demand.committee.members, models)
        network.take(demand.mean)
        try:
            _learn(network, x, teacher, self._settings)
        except Exception as error:  # Keras and TensorFlow raise many kinds
            raise InvalidInput(
                "The public examples cannot be learnt from.", str(error)[:300], "Compare them with clients' data."
            ) from error
        return snapped(demand.mean, [np.asarray(weight) for weight in network.network.weights])

    def _teach(
        self,
        network: Network,
        x: NDArray[np.generic],
        members: tuple[CommitteeMember, ...],
        models: MemberModels,
    ) -> NDArray[np.float32]:
        """Return what the members together say of each example at the temperature, (examples, ..., classes) float32."""
        votes = SoftVote()
        for member in members:
            try:
                network.take(models(member))
            except (BlockMissing, BlockCorrupt, ArtifactRefused) as error:
                self._say(f"{member.client} of round {member.round} does not teach: {error}")
                continue
            votes.add(softened(network.predict(x), self._settings.temperature), member.weight)
        return votes.shares().astype(np.float32)


def softened(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """Return p^(1/T), rescaled to add up to 1 over the last axis: the softmax of the logits divided by T."""
    raised = np.maximum(probabilities, SMALLEST).astype(np.float64) ** (1.0 / temperature)
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def snapped(mean: Model, weights: list[NDArray[Any]]) -> Model:
    """Return ``mean`` with the trained ``weights`` on its grids: rounded to the nearest point, ties to even, saturated at
    the grid's range; a statistic that must not be negative is 0 at least. Constants stay the mean's.

    Args:
        weights: All tensors of the network, in the order of ``mean.specs``.

    Raises:
        NotFinite: Training diverged.
    """
    by_name = {spec.name: values for spec, values in zip(mean.specs, weights, strict=True)}
    return replace(mean, mantissas={spec.name: _snap(spec, by_name[spec.name]) for spec in merged_specs(mean.specs)})


def _snap(spec: TensorSpec, values: NDArray[Any]) -> NDArray[np.int32]:
    check_finite(values, f"Tensor {spec.name}")
    top = MANTISSA_LIMIT - 1
    # a float32 times a power of two is exact in float64, so rint is the only rounding
    mantissas = np.clip(np.rint(values.astype(np.float64) * 2.0**-spec.grid), -top, top)
    if spec.non_negative:
        mantissas = np.maximum(mantissas, 0)
    return np.asarray(mantissas, dtype=np.int32)


def _learn(network: Network, x: NDArray[np.generic], teacher: NDArray[np.float32], settings: Distillation) -> None:
    """Train the network's trainable weights on the teacher's words; statistics follow as in any training."""
    import keras
    import tensorflow as tf

    variables = network.network.trainable_variables
    optimizer = keras.optimizers.Adam(settings.learning_rate)
    optimizer.build(variables)
    all_x, all_teacher, temperature = tf.constant(x), tf.constant(teacher), settings.temperature

    def step(rows: Any) -> None:
        with tf.GradientTape() as tape:
            output = tf.cast(network.network(tf.gather(all_x, rows), training=True), tf.float32)
            logits = tf.math.log(tf.maximum(output, SMALLEST)) if network.probabilities else output
            said = tf.nn.log_softmax(logits / temperature)
            taught = tf.gather(all_teacher, rows)
            distance = tf.reduce_sum(taught * (tf.math.log(tf.maximum(taught, SMALLEST)) - said), axis=-1)
            loss = tf.add_n([temperature**2 * tf.reduce_mean(distance), *network.network.losses])
        gradients = tape.gradient(loss, [v.value for v in variables], unconnected_gradients="zero")
        optimizer.apply(gradients, variables)

    compiled = tf.function(step, input_signature=[tf.TensorSpec([None], tf.int64)], autograph=False)
    for rows in _batches(len(x), settings):
        compiled(rows)


def _batches(examples: int, settings: Distillation) -> Iterator[NDArray[np.int64]]:
    generator = np.random.default_rng(settings.seed)
    for _ in range(settings.epochs):
        order = generator.permutation(examples)
        for start in range(0, examples, settings.batch_size):
            yield order[start : start + settings.batch_size]
