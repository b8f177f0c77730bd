"""The compiled loop that reads and hashes: in which order it calls whom, on whatever the processor; its own loops alone."""

from __future__ import annotations

import ctypes
import hashlib
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from network.read_kernel import ARGUMENTS, pread_address, read_and_hash
from protocol.sha256_lanes import Lanes, description, side_by_side

_KERNEL = ctypes.CFUNCTYPE(None, *[ctypes.c_uint64] * 3)
_SINK = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 7)
_PREAD = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int32, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


@dataclass
class Called:
    """What the loop was given, and what it called, in order; lanes and a sink that only take notes.

    Attributes:
        width: Lanes. told: ("hash", bytes that each lane points to) and ("take", first, at, bytes of each row).
    """

    width: int
    told: list[tuple[object, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state, self.pointers = np.zeros(8, np.uint32), np.zeros(self.width, np.uint64)
        self._kernel, self._sink = _KERNEL(self._hash), _SINK(self._take)

    @property
    def lanes(self) -> Lanes:
        """What `Hashing.lanes` would be."""
        kernel = ctypes.cast(self._kernel, ctypes.c_void_p).value or 0
        return Lanes(kernel, self.state.ctypes.data, self.pointers.ctypes.data, self.width)

    @property
    def sink(self) -> int:
        """The address of the sink."""
        return ctypes.cast(self._sink, ctypes.c_void_p).value or 0

    def _hash(self, state: int, pointers: int, blocks: int) -> None:
        assert (state, pointers) == (self.state.ctypes.data, self.pointers.ctypes.data)
        self.told.append(("hash", [ctypes.string_at(int(at), 64 * blocks) for at in self.pointers]))

    def _take(self, context: int, rows: int, stride: int, first: int, count: int, at: int, size: int) -> None:
        assert context == 99
        self.told.append(("take", first, at, [ctypes.string_at(rows + k * stride, size) for k in range(count)]))


def run(
    lanes: Lanes,
    files: Sequence[int],
    rows: np.ndarray[tuple[int, int], np.dtype[np.uint8]],
    offset: int,
    piece: int,
    *,
    pread: int | None = None,
    sink: int = 0,
    origin: int = 0,
    first: int = 0,
) -> int:
    numbers = np.array(files, np.int32)
    given = dict(zip(("kernel", "state", "pointers", "width"), lanes, strict=True))
    given |= {"pread": pread_address() if pread is None else pread, "files": numbers.ctypes.data}
    given |= {"rows": rows.ctypes.data, "stride": rows.strides[0], "count": len(rows), "offset": offset}
    given |= {"length": rows.shape[1], "piece": piece, "sink": sink, "context": 99}
    given |= {"origin": origin, "first": first}
    return read_and_hash()(*(given[name] for name in ARGUMENTS))


def opened(folder: Path, data: Sequence[bytes]) -> list[int]:
    paths = [folder / f"{number}" for number in range(len(data))]
    for path, held in zip(paths, data, strict=True):
        path.write_bytes(held)
    return [os.open(path, os.O_RDONLY) for path in paths]


def content(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311


@pytest.mark.parametrize(("length", "piece"), [(64, 64), (640, 192), (640, 640), (640, 6400), (192, 64)])
@pytest.mark.parametrize(("count", "width"), [(1, 8), (3, 8), (8, 8), (16, 16)])
@pytest.mark.parametrize("sink", [False, True])
def test_each_piece_is_read_then_hashed_then_taken(
    count: int, width: int, length: int, piece: int, sink: bool, tmp_path: Path
) -> None:
    data = [content(1000, number) for number in range(count)]
    files, called = opened(tmp_path, data), Called(width)
    rows = np.zeros((count, length + 64), np.uint8)[:, :length]  # rows need not lie end to end
    assert run(called.lanes, files, rows, 100, piece, sink=called.sink if sink else 0, origin=5000, first=32) == 0
    for file in files:
        os.close(file)

    assert [row.tobytes() for row in rows] == [held[100 : 100 + length] for held in data]
    expected = list[tuple[object, ...]]()
    for at in range(100, 100 + length, piece):
        parts = [held[at : min(at + piece, 100 + length)] for held in data]
        expected.append(("hash", [*parts, *[parts[0]] * (width - count)]))  # spare lanes repeat the first
        if sink:
            expected.append(("take", 32, 5000 + at, parts))
    assert called.told == expected


@pytest.mark.parametrize("who", [0, 1, 2])
@pytest.mark.parametrize(("size", "pieces"), [(0, 0), (99, 0), (163, 0), (164, 1), (291, 2), (292, 3)])
def test_a_file_that_ends_before_is_said_by_its_number(who: int, size: int, pieces: int, tmp_path: Path) -> None:
    data = [content(1000, number)[: size if number == who else None] for number in range(3)]
    files, called = opened(tmp_path, data), Called(8)
    answer = run(called.lanes, files, np.zeros((3, 256), np.uint8), 100, 64, sink=called.sink)
    for file in files:
        os.close(file)
    assert answer == 1 + who
    assert [word for word, *_ in called.told] == ["hash", "take"] * pieces


def test_an_error_of_the_system_is_a_file_that_ends_before() -> None:
    called = Called(8)
    assert run(called.lanes, [-1, -1], np.zeros((2, 64), np.uint8), 0, 64) == 1
    assert not called.told


def test_less_than_was_asked_for_is_a_file_that_ends_before() -> None:
    """A signal, or a file system, may say less: whoever reads it then reads it again."""
    asked = list[tuple[int, int, int]]()

    def pread(file: int, out: int, size: int, at: int) -> int:
        asked.append((file, size, at))
        return size if file == 7 else size - 1

    function = _PREAD(pread)
    address = ctypes.cast(function, ctypes.c_void_p).value
    called = Called(8)
    assert run(called.lanes, [7, 8, 9], np.zeros((3, 128), np.uint8), (1 << 40) + 3, 64, pread=address) == 2
    assert asked == [(7, 64, (1 << 40) + 3), (8, 64, (1 << 40) + 3)]  # offsets beyond 32 bits too


def test_real_lanes_take_what_is_read(tmp_path: Path) -> None:
    description()
    data = [content(1 << 16, number) for number in range(11)]
    hashing = side_by_side(11, 1 << 16)
    if hashing.lanes is None:
        pytest.skip("this machine hashes with hashlib")
    files = opened(tmp_path, data)
    rows = np.zeros((11, 1 << 16), np.uint8)
    assert run(hashing.lanes, files, rows, 0, 4096) == 0
    for file in files:
        os.close(file)
    assert hashing.finish([b""] * 11) == [hashlib.sha256(held).digest() for held in data]
