"""How good a model is on held-out examples: said in a report's statement, read by no verdict and no reward."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protocol.errors import InvalidInput
from protocol.model import Model

BATCH = 256


@dataclass(frozen=True)
class HeldOut:
    """Held-out examples. ``x``: (examples, ...) float32 or integer. ``y``: (examples, ...) int64 class labels."""

    x: NDArray[np.generic]
    y: NDArray[np.int64]

    def __call__(self, model: Model) -> Mapping[str, tuple[int, int]]:
        """The metrics of ``model``: an ``organization.settle.Evaluator``."""
        return {"accuracy": accuracy(model, self)}


def load_held_out(path: Path) -> HeldOut:
    """Read arrays ``x`` and ``y`` from a NumPy ``.npz`` file; nothing in it is ever unpickled.

    Raises:
        InvalidInput: The file or an array is missing or of the wrong kind.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            x, y = file["x"], file["y"]
    except (OSError, ValueError, KeyError, EOFError, TypeError, IndexError, zipfile.BadZipFile) as error:
        raise InvalidInput(
            f"{path} cannot be read as held-out data.", str(error)[:200], "Save numpy.savez(file, x=..., y=...)."
        ) from None
    if y.ndim > 1 and y.shape[-1] == 1:
        y = y[..., 0]
    if x.ndim < 1 or y.ndim < 1 or x.shape[0] != y.shape[0] or x.shape[0] == 0:
        raise InvalidInput(
            f"{path}: x has shape {x.shape} and y {y.shape}.", "", "Give both as many examples, at least 1."
        )
    if y.dtype.kind not in "iu" or x.dtype.kind not in "iuf":
        raise InvalidInput(
            f"{path}: x has dtype {x.dtype} and y {y.dtype}.", "x is numbers, y integer labels.", "Save them as such."
        )
    return HeldOut(x.astype(np.float32) if x.dtype.kind == "f" else x, y.astype(np.int64))


def accuracy(model: Model, data: HeldOut) -> tuple[int, int]:
    """How many labels ``model`` predicts by its largest output, and how many there are.

    Raises:
        UnsafeArchitecture, WrongTensor: See `organization.keras_bridge.to_keras`.
        InvalidInput: The examples do not fit the model.
    """
    from organization.keras_bridge import to_keras

    network = to_keras(model)
    try:
        correct = sum(
            int(
                np.count_nonzero(
                    np.argmax(network.predict_on_batch(data.x[at : at + BATCH]), axis=-1) == data.y[at : at + BATCH]
                )
            )
            for at in range(0, len(data.x), BATCH)
        )
    except Exception as error:  # Keras and TensorFlow raise many kinds
        raise InvalidInput(
            f"The held-out examples of shape {data.x.shape[1:]} do not fit the model.",
            str(error)[:300],
            "Give them the shape that clients train on.",
        ) from error
    return correct, int(data.y.size)
