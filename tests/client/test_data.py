"""Reading a client's examples: every mistake has a name and a way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.data import Dataset, check_dataset, load_dataset
from protocol.errors import InvalidInput

X, Y = np.ones((4, 2), np.float32), np.array([0, 1, 2, 0])


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path / "data.npz", **arrays)
    return path / "data.npz"


# --- refusals ---


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"gone\.npz does not exist"):
        load_dataset(tmp_path / "gone.npz")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04broken"])
def test_a_file_that_is_no_npz_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"numpy\.savez"):
        load_dataset(path)


def test_a_directory_is_no_data(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        load_dataset(tmp_path)


def test_a_single_array_is_no_data(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", X)
    with pytest.raises(InvalidInput, match="single array"):
        load_dataset(tmp_path / "data.npy")


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "exploded",))

    path = saved(tmp_path, x=np.array([Bomb()], dtype=object), y=Y[:1])
    with pytest.raises(InvalidInput):
        load_dataset(path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"x": X}, "no array 'y'"),
        ({"y": Y}, "no array 'x'"),
        ({"x": X, "y": Y[:3]}, "first dimension"),
        ({"x": X[:0], "y": Y[:0]}, "first dimension"),
        ({"x": np.float32(1), "y": Y}, "first dimension"),
        ({"x": X, "y": Y.astype(np.float32)}, "labels as integers"),
        ({"x": X, "y": Y - 1}, "label -1"),
        ({"x": X * np.nan, "y": Y}, "NaN"),
        ({"x": X * np.inf, "y": Y}, "infinity"),
        ({"x": np.full((4, 2), 1e39), "y": Y}, "infinity"),  # finite as float64, infinite as float32
        ({"x": np.array(["a"] * 4), "y": Y}, "as numbers"),
        ({"x": X > 0, "y": Y}, "as numbers"),
        ({"x": X * 1j, "y": Y}, "as numbers"),
    ],
)
def test_arrays_of_the_wrong_kind_are_refused(tmp_path: Path, arrays: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        load_dataset(saved(tmp_path, **arrays))


@pytest.mark.parametrize(
    ("x", "y", "shape", "integer", "why"),
    [
        (X, Y, (3,), False, "reshape|Reshape"),
        (X, Y, (2, 1), False, "Reshape"),
        (X, Y + 1, (2,), False, "Label 3"),
        (X, Y, (2,), True, "token ids"),
    ],
)
def test_data_that_do_not_fit_the_model_are_refused(x: Any, y: Any, shape: Any, integer: bool, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        check_dataset(Dataset(x, y), shape, (3,), integer)


SEQUENCE = np.zeros((4, 5), np.int64)


@pytest.mark.parametrize(
    ("y", "output", "why"),
    [
        (Y, (None,), r"\(None,\)"),  # how many classes?
        (Y, (), r"\(\)"),
        (SEQUENCE, (3,), r"\(5,\).*\(3,\)"),  # a label for every position, one output
        (Y, (5, 3), r"\(\).*\(5, 3\)"),  # one label, an output for every position
        (Y, (None, 3), r"\(\).*\(None, 3\)"),
        (SEQUENCE, (4, 3), r"\(5,\).*\(4, 3\)"),
        (SEQUENCE, (5, 2, 3), r"\(5,\).*\(5, 2, 3\)"),
    ],
)
def test_labels_that_do_not_fit_the_output_are_refused(y: Any, output: Any, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        check_dataset(Dataset(X, y), (2,), output, False)


@pytest.mark.parametrize(("low", "high"), [(-1, 8), (0, 9)])
def test_tokens_outside_the_vocabulary_are_refused(low: int, high: int) -> None:
    x = np.array([[low, 1], [2, high]])
    with pytest.raises(InvalidInput, match="0 to 8"):
        check_dataset(Dataset(x, np.array([0, 1])), (2,), (3,), True, vocabulary=9)
    check_dataset(Dataset(x.clip(0, 8), np.array([0, 1])), (2,), (3,), True, vocabulary=9)


# --- what passes ---


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int64"])
def test_numbers_pass_and_floats_become_float32(tmp_path: Path, dtype: str) -> None:
    dataset = load_dataset(saved(tmp_path, x=X.astype(dtype), y=Y.astype(np.uint8)))
    assert dataset.x.dtype == (np.float32 if dtype.startswith("float") else np.dtype(dtype))
    assert dataset.y.dtype == np.int64
    assert len(dataset) == 4


def test_labels_may_stand_in_a_column(tmp_path: Path) -> None:
    assert load_dataset(saved(tmp_path, x=X, y=Y[:, None])).y.shape == (4,)


def test_any_size_fits_an_open_dimension() -> None:
    checked = check_dataset(Dataset(X.astype(np.uint8), Y), (None,), (3,), False)
    assert checked.x.dtype == np.float32
    assert check_dataset(Dataset(X.astype(np.int64), Y), (2,), (3,), True).x.dtype == np.int32


def test_labels_fit_one_for_every_output(tmp_path: Path) -> None:
    assert check_dataset(Dataset(X, SEQUENCE), (2,), (5, 3), False).y.shape == (4, 5)
    assert check_dataset(Dataset(X, SEQUENCE), (2,), (None, 3), False).y.shape == (4, 5)
    column = load_dataset(saved(tmp_path, x=X, y=Y[:, None]))
    assert check_dataset(column, (2,), (1, 3), False).y.shape == (4, 1)  # the column meant the one position
