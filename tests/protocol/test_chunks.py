"""Cutting and hashing on several threads: the order, the bytes and the errors of one thread."""

from __future__ import annotations

import io
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import sha256_lanes
from protocol.chunks import HASHERS, MOST_CHUNKS, hashed_chunks, read_chunk
from protocol.cid import RAW, block_cid
from protocol.sha256_lanes import description, together

LARGE = 65_536  # bytes of chunks that are worth hashing side by side


class Dripping(io.RawIOBase):
    """A stream that gives at most ``most`` bytes a read, as pipes and sockets do, and counts the reads."""

    def __init__(self, data: bytes, most: int) -> None:
        self._data, self._most, self.reads = data, most, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self.reads += 1
        part, self._data = self._data[: min(size, self._most)], self._data[min(size, self._most) :]
        return part


def hashers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("chunks")]


@given(data=st.binary(max_size=200), size=st.integers(1, 50), most=st.integers(1, 60))
def test_chunks_are_those_of_slicing(data: bytes, size: int, most: int) -> None:
    expected = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
    found = list(hashed_chunks(Dripping(data, most), size))
    assert found == [(block_cid(RAW, chunk), chunk) for chunk in expected]


def test_little_is_read_ahead() -> None:
    stream = Dripping(bytes(1000), 10)
    chunks = hashed_chunks(stream, 10)
    for taken in range(1, 20):
        next(chunks)
        assert stream.reads <= taken + HASHERS


@pytest.fixture(params=["lanes", "hashlib"])
def most_held(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many large chunks are held at once, hashed side by side where the machine can, and one by one."""
    if request.param == "hashlib":
        monkeypatch.setattr(sha256_lanes, "_ENGINE", sha256_lanes._Engine())
    else:
        description()
    return HASHERS + 1 if together(LARGE) == 1 else MOST_CHUNKS


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 11, 16, 17, 40])
@pytest.mark.parametrize("rest", [0, 1])
def test_large_chunks_are_those_of_slicing(count: int, rest: int, most_held: int) -> None:
    data = b"".join(bytes([number]) * LARGE for number in range(count)) + bytes(rest)
    expected = [data[at : at + LARGE] for at in range(0, len(data), LARGE)]
    assert list(hashed_chunks(io.BytesIO(data), LARGE)) == [(block_cid(RAW, chunk), chunk) for chunk in expected]


def test_few_large_chunks_are_held(most_held: int) -> None:
    alive = 0

    class Chunk(bytes):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    class Stream(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            nonlocal alive
            alive += 1
            return Chunk(size)

    chunks = hashed_chunks(Stream(), LARGE)
    for _ in range(50):
        next(chunks)
        assert alive <= most_held
    chunks.close()


def test_no_thread_is_left_whatever_happens() -> None:
    list(hashed_chunks(io.BytesIO(bytes(100)), 10))
    assert hashers() == []
    left = hashed_chunks(io.BytesIO(bytes(100)), 10)
    next(left)
    assert hashers() != []
    left.close()
    assert hashers() == []


def test_a_single_chunk_needs_no_thread() -> None:
    chunks = hashed_chunks(io.BytesIO(b"alice"), 10)
    assert next(chunks) == (block_cid(RAW, b"alice"), b"alice")
    assert hashers() == []


def test_a_stream_that_breaks_says_so() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() >= 30:
                raise OSError("the disk failed")
            return super().read(size)

    chunks = hashed_chunks(Broken(bytes(100)), 10)
    with pytest.raises(OSError, match="the disk failed"):
        list(chunks)
    assert hashers() == []


def test_a_chunk_that_comes_whole_is_not_copied() -> None:
    whole = b"alice's update"

    class One(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return whole

    assert read_chunk(One(), len(whole)) is whole
