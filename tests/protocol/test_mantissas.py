"""Mantissas out of a weights file: the same whoever reads which piece, and the first fault decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from processor.runs import Threads
from protocol import compiled_grid, grid
from protocol.content import Held, held
from protocol.errors import ArtifactRefused, BlockMissing, NotCanonical, NotFinite, OutsideWindow
from protocol.grid import to_float32, unsnap
from protocol.mantissas import outside, read_mantissas
from protocol.model import Model, decode_model, encode_model, model_contents
from protocol.runs import Run, serial
from protocol.specs import TensorClass, TensorSpec
from protocol.tensors import PIECE, SPAN, dumps, empty_arrays, loads, open_tensors, spans_of, whole_each

GRID = -20
NAMES = ("00000.kernel", "00001.bias", "00002.scalar")
SIZES = (2 * PIECE + 3, 7, 1)
SPECS = tuple(
    TensorSpec(name, (size,) if size > 1 else (), TensorClass.TRAINABLE, GRID)
    for name, size in zip(NAMES, SIZES, strict=True)
)


def backwards(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
    """A `Run` whose last piece is done first; the first that fails in order is the one that is told."""
    answers: list[Any] = []
    for item in reversed(items):
        try:
            answers.append((function(item), None))
        except Exception as error:
            answers.append((None, error))
    for answer, error in reversed(answers):
        if error is not None:
            raise error
        yield answer


RUNS: list[Run] = [serial, Threads(2), Threads(5), backwards]


@pytest.fixture(params=["compiled", "numpy"], autouse=True)
def _each_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    loops = compiled_grid if request.param == "compiled" else None
    monkeypatch.setattr(grid, "_compiled", lambda _: loops)


def mantissas() -> dict[str, NDArray[np.int32]]:
    random = np.random.default_rng(5)
    return {spec.name: random.integers(1 - (1 << 24), 1 << 24, spec.shape).astype(np.int32) for spec in SPECS}


def weights(**changed: tuple[int, float]) -> bytes:
    """The file of the weights, with values changed at places of the kernel."""
    values = {name: to_float32(array, GRID) for name, array in mantissas().items()}
    for place, value in changed.values():
        values[NAMES[0]][place] = value
    return dumps(values)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("opened", [loads, lambda data: open_tensors(Held(data))])
def test_every_split_gives_the_same_mantissas(run: Run, opened: Callable[[bytes], Any]) -> None:
    data, expected = weights(), mantissas()
    found = read_mantissas(opened(data), SPECS, run)
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (np.int32, array.shape)
        assert np.array_equal(found[name], array)
        assert not found[name].flags.writeable
    assert data == weights()  # what was in memory is as it was


BAD = {"off": (0.3e-6, OutsideWindow), "nan": (np.nan, NotFinite), "minus": (-0.0, NotCanonical)}
PLACES = [0, 1, SPAN - 1, SPAN, PIECE - 1, PIECE, 2 * PIECE - 1, 2 * PIECE, SIZES[0] - 1]


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("place", PLACES)
def test_one_bad_value_is_refused_wherever_it_stands(run: Run, kind: str, place: int) -> None:
    value, error = BAD[kind]
    opened = open_tensors(Held(weights(bad=(place, value))))
    with pytest.raises(error, match=r"Tensor 00000\.kernel"):
        read_mantissas(opened, SPECS, run)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("places", [(5, 9), (5, SPAN), (SPAN - 1, SPAN), (3, PIECE), (PIECE + 1, 2 * PIECE)])
@pytest.mark.parametrize(
    "kinds", [("off", "nan"), ("nan", "off"), ("minus", "off"), ("off", "minus"), ("minus", "nan")]
)
def test_of_two_faults_the_one_of_the_first_span_is_told(
    run: Run, places: tuple[int, int], kinds: tuple[str, str]
) -> None:
    data = weights(one=(places[0], BAD[kinds[0]][0]), other=(places[1], BAD[kinds[1]][0]))
    with pytest.raises(ArtifactRefused) as expected:
        for _, part in spans_of(loads(data)[NAMES[0]]):
            unsnap(part, GRID, f"Tensor {NAMES[0]}")
    with pytest.raises(ArtifactRefused) as found:
        read_mantissas(open_tensors(Held(data)), SPECS, run)
    assert (type(found.value), str(found.value)) == (type(expected.value), str(expected.value))


@pytest.mark.parametrize("run", RUNS)
def test_what_reading_raises_comes_through(run: Run) -> None:
    class Gone(Held):
        def read_into(self, start: int, out: memoryview) -> None:
            raise BlockMissing("bafy", "the content store")

    with pytest.raises(BlockMissing):
        read_mantissas(open_tensors(Gone(weights())), SPECS, run)


@pytest.mark.parametrize("run", RUNS)
def test_a_model_is_the_same_whoever_reads_it(run: Run) -> None:
    importance = {spec.name: np.arange(np.prod(spec.shape), dtype=np.uint32).reshape(spec.shape) for spec in SPECS}
    anchor = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
    model = Model(b"{}", 1, (), SPECS, mantissas(), importance=importance, anchor=anchor)
    files = encode_model(model)
    for found in (decode_model(held(files), run), decode_model(files, run)):
        assert encode_model(found) == files
        assert found.importance is not None
        for array in (*found.mantissas.values(), *found.importance.values()):
            assert not array.flags.writeable


def test_arrays_of_one_piece_of_memory_do_not_touch_each_other() -> None:
    shapes: dict[str, tuple[int, ...]] = {"a": (3,), "b": (), "c": (2, 5), "d": (64,)}
    for dtype in (np.dtype(np.int8), np.dtype(np.int32), np.dtype(np.int64)):
        arrays = empty_arrays(shapes, dtype)
        for number, array in enumerate(arrays.values()):
            array[...] = number
        assert {name: array.shape for name, array in arrays.items()} == shapes
        assert all((array == number).all() for number, array in enumerate(arrays.values()))
        starts = [array.__array_interface__["data"][0] for array in arrays.values()]
        assert {(start - starts[0]) % 64 for start in starts} == {0}
        assert all(array.flags.c_contiguous and array.dtype == dtype for array in arrays.values())
    assert empty_arrays({}, np.dtype(np.int8)) == {}


def test_whole_tensors_are_views_where_they_are_in_memory() -> None:
    data = dumps({"a": np.arange(9, dtype=np.uint32), "b": np.arange(PIECE + 1, dtype=np.uint32)})
    loaded = loads(data)
    assert whole_each(loaded, np.dtype("<u4")) == loaded
    for run in RUNS:
        found = whole_each(open_tensors(Held(data)), np.dtype("<u4"), run)
        assert all(np.array_equal(found[name], array) for name, array in loaded.items())


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("value", [1 << 24, -(1 << 24)])
def test_a_mantissa_outside_is_found_wherever_it_stands(run: Run, place: int, value: int) -> None:
    found = mantissas()
    assert outside(found, run) == set()
    found[NAMES[0]][place] = value
    assert outside(found, run) == {NAMES[0]}
    found[NAMES[2]][...] = value
    assert outside(found, run) == {NAMES[0], NAMES[2]}
    with pytest.raises(OutsideWindow, match="kernel leaves its grid"):
        model_contents(Model(b"{}", 0, (), SPECS, found), run)
