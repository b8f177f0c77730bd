"""The bytes of a file, in memory or elsewhere: exactly the range that was asked for, or a refusal."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.content import Content, Held, check_range, held, materialise, open_stream, read_text
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
