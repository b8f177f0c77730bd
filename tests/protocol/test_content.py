"""The bytes of a file, in memory or elsewhere: exactly the range that was asked for, or a refusal."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.content import (
    Content,
    Held,
    Sink,
    check_range,
    held,
    materialise,
    open_stream,
    read_text,
    read_together,
)
from tests.processor.contents import Made, OnDisk

DATA = bytes(range(100))
OUTSIDE = [(-1, 5), (5, 4), (0, 101), (101, 101), (101, 102), (-2, -1), (100, 1 << 80)]


def contents(folder: Path) -> list[Content]:
    """The same file in every way that these tests have: ours, and those that stand in for a store."""
    (folder / "file").write_bytes(DATA)
    made = Made(DATA[:30], 70, lambda start, stop: DATA[30:][start:stop])
    return [Held(DATA), OnDisk(folder / "file"), made]


@pytest.mark.parametrize(("start", "stop"), OUTSIDE)
def test_ranges_that_leave_the_file_are_refused(start: int, stop: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="of 100"):
        check_range(100, start, stop)
    for content in contents(tmp_path):
        with pytest.raises(ValueError, match="of 100"):
            content.read(start, stop)


@pytest.mark.parametrize(("start", "length"), [(-1, 5), (96, 5), (101, 0), (0, 101)])
def test_buffers_that_leave_the_file_are_refused_and_stay_as_they_were(start: int, length: int, tmp_path: Path) -> None:
    for content in contents(tmp_path):
        out = bytearray(b"\xee" * length)
        with pytest.raises(ValueError, match="of 100"):
            content.read_into(start, memoryview(out))
        assert out == b"\xee" * length


@given(st.integers(0, 100), st.integers(0, 100))
def test_a_range_is_its_bytes_however_it_is_read(one: int, other: int) -> None:
    start, stop = min(one, other), max(one, other)
    made = Made(DATA[:30], 70, lambda start, stop: DATA[30:][start:stop])
    for content in (Held(DATA), made):
        out = bytearray(stop - start)
        content.read_into(start, memoryview(out))

        assert bytes(content.read(start, stop)) == bytes(out) == DATA[start:stop]
        assert content.size == 100


def test_the_stand_ins_are_the_same_file(tmp_path: Path) -> None:
    for content in contents(tmp_path):
        assert (content.size, bytes(content.read(7, 93))) == (100, DATA[7:93])


def test_nothing_is_copied_of_what_is_held() -> None:
    view = Held(DATA).read(10, 20)

    assert isinstance(view, memoryview)
    assert view.obj is DATA
    assert view.readonly


def test_held_files_keep_their_names() -> None:
    files = held({"a": b"one", "b": b""})

    assert {name: (content.size, bytes(content.read(0, content.size))) for name, content in files.items()} == {
        "a": (3, b"one"),
        "b": (0, b""),
    }


@pytest.mark.parametrize("piece", [1, 7, 64, 1000])
def test_a_stream_is_the_file_from_its_beginning(piece: int, tmp_path: Path) -> None:
    for file in (DATA, *contents(tmp_path)):
        stream = open_stream(file)
        pieces = list(iter(lambda stream=stream: stream.read(piece), b""))  # type: ignore[misc]

        assert b"".join(pieces) == DATA
        assert stream.read(5) == b""


@pytest.mark.parametrize("limit", [0, 1, 98, 99, 100, 1000])
def test_of_a_text_that_is_too_long_one_byte_too_many_is_read(limit: int, tmp_path: Path) -> None:
    for content in contents(tmp_path):
        assert read_text(content, limit) == DATA[: limit + 1]
    assert read_text(DATA, limit) == DATA


def test_materialised_files_are_their_bytes(tmp_path: Path) -> None:
    assert materialise(dict(zip("abc", contents(tmp_path), strict=True))) == dict.fromkeys("abc", DATA)


# Several side by side


@given(st.integers(0, 100), st.integers(0, 100), st.sampled_from([64, 128, 1 << 20]))
def test_side_by_side_a_range_is_its_bytes_of_each(one: int, other: int, width: int) -> None:
    start, stop = min(one, other), max(one, other)
    made = Made(DATA[:30], 70, lambda start, stop: DATA[30:][start:stop])
    several = [Held(DATA), made, Held(DATA[::-1])]

    found = [(at, rows.copy()) for at, rows in read_together(several, start, stop, width)]

    assert [at for at, _ in found] == list(range(start, stop, width))
    for number, data in enumerate((DATA, DATA, DATA[::-1])):
        assert b"".join(rows[number].tobytes() for _, rows in found) == data[start:stop]


@pytest.mark.parametrize(("start", "stop"), [(0, 101), (-1, 5), (101, 102)])
def test_side_by_side_ranges_that_leave_a_file_are_refused(start: int, stop: int) -> None:
    longer = Held(bytes(200))
    for several in ([Held(DATA), longer], [longer, Held(DATA)]):
        with pytest.raises(ValueError, match="are not within"):
            list(read_together(several, start, stop, 64))


def test_a_sink_takes_each_range_before_it_is_yielded() -> None:
    taken = list[tuple[int, int, list[bytes]]]()
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 5)

    @kind
    def take(context: int, rows: int, stride: int, first: int, count: int, at: int, size: int) -> None:
        assert context == 1
        taken.append((at, first, [ctypes.string_at(rows + k * stride, size) for k in range(count)]))

    sink = Sink(ctypes.cast(take, ctypes.c_void_p).value or 0, 1)
    for at, _ in read_together([Held(DATA), Held(DATA[::-1])], 3, 99, 64, sink):
        assert taken[-1] == (at, 0, [DATA[at : min(at + 64, 99)], DATA[::-1][at : min(at + 64, 99)]])
    assert len(taken) == 2

    sink.take(np.empty((2, 0), np.uint8), 5)
    sink.take(np.empty((0, 7), np.uint8), 5)
    assert len(taken) == 2
    rows = np.arange(30, dtype=np.uint8).reshape(3, 10)
    sink.take(rows[1:, 2:5], 7, 4)
    assert taken[-1] == (7, 4, [bytes([12, 13, 14]), bytes([22, 23, 24])])
