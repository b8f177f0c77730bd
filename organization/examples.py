"""Examples from a file, with labels or without: what an organization distils on, and what anybody wants predicted."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from protocol.errors import InvalidInput

_HOW_TO_SAVE = "Save with numpy.savez(file, x=...), and y=... where there are labels."


@dataclass(frozen=True)
class Examples:
    """``x``: (examples, ...) float32 or an integer dtype. ``y``: (examples, ...) int64 class labels, None without."""

    x: NDArray[np.generic]
    y: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return int(self.x.shape[0])


def load_examples(path: Path, option: str) -> Examples:
    """Read the array ``x``, and ``y`` where there is one, from a NumPy ``.npz`` file; nothing in it is ever unpickled.

    Floating-point ``x`` becomes float32, integer ``x`` stays, as clients' data (client.data).

    Args:
        option: Which option named the file, for the error.

    Raises:
        InvalidInput: The file or ``x`` is missing, is of the wrong kind, is empty, or holds NaN or infinity.
    """
    x, y = _read(path, option)
    if x.ndim < 1 or x.shape[0] == 0:
        _refuse(path, f"x has shape {x.shape}.", "Give at least one example.")
    if x.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what overflows is infinite, and refused as such
            x = x.astype(np.float32)
        if not np.isfinite(x).all():
            _refuse(path, "x holds NaN or infinity.", "Remove or fill the missing values.")
    elif x.dtype.kind not in "iu":
        _refuse(path, f"x has dtype {x.dtype}.", "Save examples as numbers, for example x.astype('float32').")
    return Examples(x, None if y is None else _labels(path, x, y))


def fitting(examples: Examples, shape: tuple[int | None, ...], integer_input: bool) -> NDArray[np.generic]:
    """Return the examples as a model takes them: int32 where ``integer_input``, else float32.

    Args:
        shape: The model's input without the batch; None is any size.

    Raises:
        InvalidInput: They do not fit.
    """
    actual = examples.x.shape[1:]
    if len(actual) != len(shape) or any(want not in (None, have) for have, want in zip(actual, shape, strict=True)):
        _refuse(None, f"An example has shape {actual}, the model takes {shape}.", "Reshape x for this model.")
    if integer_input and examples.x.dtype.kind == "f":
        _refuse(None, "x holds floats, the model takes integers.", "Save token ids as integers.")
    return examples.x.astype(np.int32 if integer_input else np.float32)


def _labels(path: Path, x: NDArray[np.generic], y: NDArray[np.generic]) -> NDArray[np.int64]:
    if y.ndim > 1 and y.shape[-1] == 1:
        y = y[..., 0]
    if y.ndim < 1 or y.shape[0] != x.shape[0]:
        _refuse(path, f"x has shape {x.shape} and y {y.shape}.", "Give both the same first dimension.")
    if y.dtype.kind not in "iu":
        _refuse(path, f"y has dtype {y.dtype}.", "Save labels as integers, for example y.astype('int64').")
    return y.astype(np.int64)


def _read(path: Path, option: str) -> tuple[NDArray[np.generic], NDArray[np.generic] | None]:
    try:
        with path.open("rb") as handle:
            file = np.load(handle, allow_pickle=False)
            if isinstance(file, np.ndarray):
                _refuse(path, "It is a single array.", _HOW_TO_SAVE)
            with file:
                if "x" not in file.files:
                    _refuse(path, "It has no array 'x'.", _HOW_TO_SAVE)
                return file["x"], file["y"] if "y" in file.files else None
    except FileNotFoundError:
        raise InvalidInput(f"{path} does not exist.", "", f"Check {option}.") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidInput(f"{path} cannot be read as .npz.", str(error)[:200], _HOW_TO_SAVE) from None


def _refuse(path: Path | None, why: str, do: str) -> NoReturn:
    raise InvalidInput(f"{path or 'The data'} cannot be used.", why, do)
