"""Sums made while files are read: the same integers as adding up the rows, whatever comes together and in what pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numba.core import config

from processor import streams
from processor.blocks import Span, spans
from processor.columns import Tensors, columns, until_whole
from processor.kernels import compiled
from protocol import tensors
from protocol.content import Content, Rows, Sink
from protocol.specs import TensorClass, TensorSpec
from protocol.update import WINDOW
from tests.processor.test_columns import Cut

DTYPES = ("int8", "int16", "int32")
needs_numba = pytest.mark.skipif(
    compiled("compiled_streams") is None or config.DISABLE_JIT, reason="Numba does not compile here"
)
pytestmark = needs_numba


@dataclass
class Poured(Cut):
    """A file whose rows reach the sink a few at a time, and a few bytes of them."""

    def read_beside(
        self, contents: Sequence[Content], start: int, stop: int, width: int, sink: Sink | None = None
    ) -> Iterator[tuple[int, Rows]] | None:
        """As `Cut.read_beside`, of pieces of 64 bytes of three rows."""
        reading = super().read_beside(contents, start, stop, width)
        assert sink is not None and reading is not None
        return self._pour(reading, sink)

    @staticmethod
    def _pour(reading: Iterator[tuple[int, Rows]], sink: Sink) -> Iterator[tuple[int, Rows]]:
        for at, rows in reading:
            for begin in range(0, rows.shape[1], 64):
                for first in range(0, len(rows), 3):
                    sink.take(rows[first : first + 3, begin : begin + 64], at + begin, first)
            yield at, rows


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stream however little there is."""
    monkeypatch.setattr(streams, "COMPILED_FROM", 0)


def files_of(values: Sequence[dict[str, np.ndarray[Any, Any]]]) -> Tensors:
    """The tensors of each member, in files that lie in pieces."""
    opened = [tensors.open_file(Poured(tensors.dumps(each))) for each in values]
    return lambda span: [each[span.name] for each in opened]


def specs_of(sizes: Sequence[int]) -> list[TensorSpec]:
    return [TensorSpec(f"{at:05}.t", (size,), TensorClass.TRAINABLE, -20) for at, size in enumerate(sizes)]


def summed(sizes: Sequence[int], of: Tensors, factors: dict[str, list[int]]) -> dict[str, list[int]] | None:
    """All sums by tensor, column by column; None where a column is not streamed."""
    found = {f"{at:05}.t": np.zeros(size, np.int64) for at, size in enumerate(sizes)}
    for column in columns(spans(specs_of(sizes)), of):
        sums = until_whole(lambda each: streams.streamed_sums(each, of, [factors[span.name] for span in each]))(column)
        if sums is None:
            return None
        for span, values in sums:
            found[span.name][span.start : span.stop] = values
    return {name: values.tolist() for name, values in found.items()}


def exact(values: Sequence[dict[str, np.ndarray[Any, Any]]], factors: dict[str, list[int]]) -> dict[str, list[int]]:
    return {
        name: sum(each[name].astype(object) * factor for each, factor in zip(values, row, strict=True)).tolist()
        for name, row in factors.items()
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_sums_are_those_of_the_rows(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(DTYPES))
    members = data.draw(st.integers(1, 20))
    sizes = data.draw(st.lists(st.integers(1, 300), min_size=1, max_size=4))
    most = data.draw(st.sampled_from([1, 600, (1 << 63) // (1 << 22) // members - 1]))  # what WeightedMean allows
    draw, limit = np.random.default_rng(data.draw(st.integers(0, 999))), WINDOW[dtype][1]
    values = [
        {spec.name: draw.integers(-limit, limit + 1, spec.shape, dtype=dtype) for spec in specs_of(sizes)}
        for _ in range(members)
    ]
    factors = {
        spec.name: draw.integers(0, max(2, most // (limit >> 7 or 1)), members).tolist() for spec in specs_of(sizes)
    }

    assert summed(sizes, files_of(values), factors) == exact(values, factors)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("members", [1, 8, 9, 16])
def test_sums_at_the_ends_of_their_types(dtype: str, members: int) -> None:
    limit = WINDOW[dtype][1]
    bits = 8 * np.dtype(dtype).itemsize
    for total in (
        (1 << 31 >> (bits - 1)) - 1,
        1 << 31 >> (bits - 1),
        (1 << 63) // (1 << 22) - 1,
    ):  # narrow, wide, largest
        share = total // members
        factors = {"00000.t": [share] * (members - 1) + [total - share * (members - 1)]}
        for value in (-limit, limit):
            values = [{"00000.t": np.full(100, value, dtype)} for _ in range(members)]
            assert summed([100], files_of(values), factors) == exact(values, factors), (total, value)


@pytest.mark.parametrize(
    ("dtype", "value"), [("int8", -128), ("int16", -32768), ("int32", 1 << 22), ("int32", -1 << 22)]
)
@pytest.mark.parametrize("where", [0, 95, 99])
def test_a_value_outside_its_window_is_left_to_others(dtype: str, value: int, where: int) -> None:
    values = [{"00000.t": np.zeros(100, dtype)} for _ in range(5)]
    values[3]["00000.t"][where] = value

    assert summed([100], files_of(values), {"00000.t": [1] * 5}) is None


def test_what_is_mended_is_summed_again() -> None:
    values = [{"00000.t": np.arange(200, dtype=np.int16)} for _ in range(3)]
    files = [Poured(tensors.dumps(each)) for each in values]
    files[1].amiss[1] = bytes(192)
    opened = [tensors.open_file(file) for file in files]

    def of(span: Span) -> list[tensors.Tensor]:
        return [each[span.name] for each in opened]

    factors = {"00000.t": [1, 2, 3]}
    assert summed([200], of, factors) == exact(values, factors)
    assert files[1].read_of[1] == 2


def test_an_error_gives_the_room_back() -> None:
    files = [Poured(tensors.dumps({"00000.t": np.zeros(200, np.int16)})) for _ in range(2)]
    files[0].lost.add(0)
    opened = [tensors.open_file(file) for file in files]
    before = len(streams._ROOMS)

    with pytest.raises(Exception, match="piece 0"):
        summed([200], lambda span: [each[span.name] for each in opened], {"00000.t": [1, 1]})
    assert len(streams._ROOMS) == max(1, before)


def test_little_is_not_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "COMPILED_FROM", 201)
    values = [{"00000.t": np.zeros(100, np.int16)} for _ in range(2)]

    assert summed([100], files_of(values), {"00000.t": [1, 1]}) is None


def test_arrays_in_memory_are_left_to_others() -> None:
    arrays = [np.zeros(100, np.int16) for _ in range(2)]
    (span,) = spans(specs_of([100]))

    assert streams.streamed_sums((span,), lambda _: arrays, [[1, 1]]) is None


def test_rows_that_the_sink_did_not_take_are_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba tells nobody that memory was out within a sink."""
    values = [{"00000.t": np.arange(200, dtype=np.int16)} for _ in range(4)]
    honest, taken = Sink.take, list[int]()

    def forgetful(self: Sink, rows: Rows, at: int, first: int = 0) -> None:
        taken.append(at)
        if len(taken) != 3:
            honest(self, rows, at, first)

    monkeypatch.setattr(Sink, "take", forgetful)
    assert summed([200], files_of(values), {"00000.t": [1] * 4}) is None


def test_memory_does_not_grow_with_the_number_of_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    widths: list[int] = []
    honest = streams.read_together

    def noting(contents: Sequence[Content], start: int, stop: int, width: int, sink: Sink) -> Any:
        widths.append(len(contents) * width)
        return honest(contents, start, stop, width, sink)

    monkeypatch.setattr(streams, "read_together", noting)
    for count in (3, 2000):
        files_of_one = files_of([{"00000.t": np.ones(100, np.int16)}] * count)
        assert summed([100], files_of_one, {"00000.t": [1] * count}) == {"00000.t": [count] * 100}
    assert max(widths) <= streams.ROOM
