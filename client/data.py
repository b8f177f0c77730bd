"""A client's own examples. They never leave this machine; nothing here talks to anyone."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from protocol.errors import InvalidInput

_HOW_TO_SAVE = "Save with numpy.savez(file, x=..., y=...)."


@dataclass(frozen=True)
class Dataset:
    """Examples and their labels. ``x``: (examples, ...) float32 or an integer dtype. ``y``: (examples, ...) int64."""

    x: NDArray[np.generic]
    y: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.x.shape[0])

    def take(self, rows: NDArray[np.int64]) -> Dataset:
        """The examples at ``rows``, in that order."""
        return Dataset(self.x[rows], self.y[rows])


def load_dataset(path: Path) -> Dataset:
    """Read arrays ``x`` and ``y`` from a NumPy ``.npz`` file; nothing in it is ever unpickled.

    Floating-point ``x`` becomes float32, integer ``x`` stays; ``y`` must be integers >= 0 (class labels).

    Raises:
        InvalidInput: The file or an array is missing, is of the wrong kind, is empty, or holds NaN or infinity.
    """
    x, y = _read(path)
    if x.ndim < 1 or y.ndim < 1 or x.shape[0] != y.shape[0] or x.shape[0] == 0:
        _refuse(path, f"x has shape {x.shape} and y {y.shape}.", "Give both the same first dimension, at least 1.")
    if y.dtype.kind not in "iu":
        _refuse(path, f"y has dtype {y.dtype}.", "Save labels as integers, for example y.astype('int64').")
    if y.ndim > 1 and y.shape[-1] == 1:
        y = y[..., 0]
    if y.min() < 0:
        _refuse(path, f"y holds the label {y.min()}.", "Number the classes from 0.")
    if x.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what overflows is infinite, and refused as such
            x = x.astype(np.float32)  # float16 and float64 alike: models are float32
        if not np.isfinite(x).all():
            _refuse(path, "x holds NaN or infinity.", "Remove or fill the missing values.")
    elif x.dtype.kind not in "iu":
        _refuse(path, f"x has dtype {x.dtype}.", "Save examples as numbers, for example x.astype('float32').")
    return Dataset(x, y.astype(np.int64))


def check_dataset(
    dataset: Dataset,
    shape: tuple[int | None, ...],
    output: tuple[int | None, ...],
    integer_input: bool,
    vocabulary: int | None = None,
) -> Dataset:
    """Return ``dataset`` as the model takes it.

    Args:
        shape: The model's input without the batch; None is any size.
        output: The model's output without the batch: one label for each place of all axes but the last, which is the
            classes and has a fixed size.
        integer_input: Whether the model takes integers (an embedding's rows).
        vocabulary: Where the input goes to an embedding, its rows.

    Raises:
        InvalidInput: A shape, dtype, token or label does not fit the model.
    """
    actual = dataset.x.shape[1:]
    if not _fits(actual, shape):
        _refuse(
            None, f"An example has shape {actual}, the model takes {shape}.", "Reshape x for this federation's model."
        )
    dataset = _check_labels(dataset, output)
    if integer_input and dataset.x.dtype.kind == "f":
        _refuse(None, "x holds floats, the model takes integers.", "Save token ids as integers.")
    if vocabulary is not None and dataset.x.size and not 0 <= dataset.x.min() <= dataset.x.max() < vocabulary:
        found = f"{dataset.x.min()} to {dataset.x.max()}"
        _refuse(None, f"x holds tokens {found}, the model knows 0 to {vocabulary - 1}.", "Map the tokens.")
    wanted = np.int32 if integer_input else np.float32
    return dataset if dataset.x.dtype == wanted else Dataset(dataset.x.astype(wanted), dataset.y)


def _check_labels(dataset: Dataset, output: tuple[int | None, ...]) -> Dataset:
    classes = output[-1] if output else None
    if classes is None:
        _refuse(
            None,
            f"The labels of an example have shape {dataset.y.shape[1:]}, the model's output {output}.",
            "The output's last axis has to be a fixed number of classes: ask the organization for another model.",
        )
    places = output[:-1]
    if places[-1:] == (1,) and dataset.y.ndim == len(places):
        dataset = Dataset(dataset.x, dataset.y[..., None])  # reading dropped the column that the model has
    if not _fits(dataset.y.shape[1:], places):
        _refuse(
            None,
            f"The labels of an example have shape {dataset.y.shape[1:]}, the model's output {output} takes {places}.",
            "Save one label for each place of the output, all its axes but the last.",
        )
    if int(dataset.y.max(initial=0)) >= classes:
        _refuse(None, f"Label {int(dataset.y.max())} occurs, the model knows 0 to {classes - 1}.", "Map the labels.")
    return dataset


def _fits(actual: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(actual) == len(wanted) and all(b in (None, a) for a, b in zip(actual, wanted, strict=True))


def _read(path: Path) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    try:
        with path.open("rb") as handle:
            file = np.load(handle, allow_pickle=False)
            if isinstance(file, np.ndarray):
                _refuse(path, "It is a single array.", _HOW_TO_SAVE)
            with file:
                missing = {"x", "y"} - set(file.files)
                if missing:
                    _refuse(path, f"It has no array {min(missing)!r}.", _HOW_TO_SAVE)
                return file["x"], file["y"]
    except FileNotFoundError:
        raise InvalidInput(f"{path} does not exist.", "", "Check --data.") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidInput(f"{path} cannot be read as .npz.", str(error)[:200], _HOW_TO_SAVE) from None


def _refuse(path: Path | None, why: str, do: str) -> NoReturn:
    raise InvalidInput(f"{path or 'The data'} cannot be used.", why, do)
