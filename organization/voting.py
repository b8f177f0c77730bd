"""What one model says of examples, and what a committee of them says together.

Members share one Keras network, which takes the weights of one after another, and each vote is added to one tally: memory
does not grow with the members. Nothing here is recomputed by an auditor, so probabilities are floats.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from network.keras_loader import ends_in_softmax
from organization.examples import Examples, fitting
from organization.keras_bridge import set_weights, to_keras
from protocol.committee import Ballot
from protocol.errors import ArithmeticRefused, InvalidInput, WrongField
from protocol.model import Model

BATCH = 256

Probabilities = NDArray[np.floating]  # (examples, ..., classes), each row adds up to 1


class Network:
    """One Keras network for any number of models of one architecture, safely built.

    Args:
        model: The first model; the network has its weights until it takes others.

    Raises:
        UnsafeArchitecture, WrongTensor, InvalidInput: See `organization.keras_bridge.to_keras`; or the model has not one
            input and one output of classes.
    """

    def __init__(self, model: Model) -> None:
        self._architecture = model.architecture
        self.network = to_keras(model)
        if len(self.network.inputs) != 1 or len(self.network.outputs) != 1:
            raise InvalidInput("The model has not one input and one output.", "Only classifiers vote.", "Use another.")
        self.probabilities = ends_in_softmax(self.network)

    def take(self, model: Model) -> None:
        """Take the weights of ``model``.

        Raises:
            WrongField: It has another architecture. WrongTensor: Its tensors are not those of its architecture.
        """
        if model.architecture != self._architecture:
            raise WrongField(
                "A member has another architecture.", "All members of a committee have one.", "Ask its publisher."
            )
        set_weights(self.network, model)

    def fitting(self, examples: Examples) -> NDArray[np.generic]:
        """Return the examples as the network takes them; raises InvalidInput where they do not fit."""
        source = self.network.inputs[0]
        return fitting(examples, tuple(source.shape[1:]), "int" in str(source.dtype))

    def predict(self, x: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return p(class | x): float32 of shape (examples, ..., classes).

        Args:
            x: As `fitting` returns it.

        Raises:
            InvalidInput: Keras fails with these examples.
        """
        try:
            parts = [self.network.predict_on_batch(x[at : at + BATCH]) for at in range(0, len(x), BATCH)]
        except Exception as error:  # Keras and TensorFlow raise many kinds
            raise InvalidInput(
                f"The examples of shape {x.shape[1:]} do not fit the model.",
                str(error)[:300],
                "Give them the shape and the values that clients train on.",
            ) from error
        output = np.concatenate([np.asarray(part, np.float32) for part in parts])
        return output if self.probabilities else softmax(output)


class SoftVote:
    """The mean of the members' probabilities by their weights (Tresp, *Committee Machines*, 2001)."""

    def __init__(self) -> None:
        self._sum: NDArray[np.float64] | None = None
        self._total = 0

    def add(self, probabilities: Probabilities, weight: int) -> None:
        """Add one member's vote."""
        if self._sum is None:
            self._sum = np.zeros(probabilities.shape, np.float64)
        self._sum += probabilities.astype(np.float64) * weight
        self._total += weight

    def shares(self) -> NDArray[np.float64]:
        """Return each class's weighted mean, (examples, ..., classes); raises InvalidInput where nobody voted."""
        if self._sum is None:
            raise _nobody()
        return self._sum / self._total

    def winners(self) -> NDArray[np.int64]:
        """Return the class with the largest mean, (examples, ...), of equal ones the first."""
        return np.asarray(np.argmax(self.shares(), axis=-1), np.int64)


class MajorityVote:
    """Each member gives its weight to the class that it finds most probable, of equal ones the first; counted exactly."""

    def __init__(self) -> None:
        self._votes: NDArray[np.int64] | None = None
        self._total = 0

    def add(self, probabilities: Probabilities, weight: int) -> None:
        """Add one member's vote.

        Raises:
            ArithmeticRefused: All weights together reach 2^63, so a count could leave int64.
        """
        self._total += weight
        if self._total >= 1 << 63:
            raise ArithmeticRefused(
                "The members' weights reach 2^63 together.", "No merge gives such weights.", "Ask the publisher."
            )
        if self._votes is None:
            self._votes = np.zeros(probabilities.shape, np.int64)
        choice = np.argmax(probabilities, axis=-1)[..., None]
        counted = np.take_along_axis(self._votes, choice, axis=-1) + weight
        np.put_along_axis(self._votes, choice, counted, axis=-1)

    def shares(self) -> NDArray[np.float64]:
        """Return each class's share of the votes, (examples, ..., classes); raises InvalidInput where nobody voted."""
        if self._votes is None:
            raise _nobody()
        return self._votes / self._total

    def winners(self) -> NDArray[np.int64]:
        """Return the class with the most votes, of equal ones the first: decided in integers."""
        if self._votes is None:
            raise _nobody()
        return np.asarray(np.argmax(self._votes, axis=-1), np.int64)


Tally = SoftVote | MajorityVote


def tally(ballot: Ballot) -> Tally:
    """Return an empty tally of votes by ``ballot``."""
    return SoftVote() if ballot == "soft" else MajorityVote()


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the softmax over the last axis, computed from differences so that nothing overflows."""
    raised = np.exp((logits - logits.max(axis=-1, keepdims=True)).astype(np.float64))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True), dtype=np.float32)


def _nobody() -> InvalidInput:
    return InvalidInput("Nobody voted.", "The committee has no member that can be had.", "Ask whoever keeps it.")
