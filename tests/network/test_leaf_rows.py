"""Files read and hashed side by side: the bytes and the digests are the files' own, and none of them stays open."""

from __future__ import annotations

import ctypes
import errno
import gc
import hashlib
import os
import random
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from network import leaf_rows
from network.hashed_files import Hashed
from network.leaf_rows import LeafRows
from protocol import content as contents
from protocol import sha256_lanes
from protocol.content import Rows, Sink
from protocol.sha256_lanes import MOST_LANES, description
from protocol.unixfs import CHUNK

EVEN = 64
SIZES = [0, 1, 63, 64, 65, 4096, 65_537]
WIDTHS = [64, 4096, 65_536 + 64, 1 << 20]
MOST = 40  # files at once


@pytest.fixture(scope="module", autouse=True)
def lanes() -> None:
    description()


@pytest.fixture(params=["compiled", "lanes", "hashlib"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What reads and hashes: compiled code, or Python with the lanes, or with hashlib alone."""
    if request.param == "lanes":
        monkeypatch.setattr(leaf_rows, "_read_and_hash", lambda: None)
    if request.param == "hashlib":
        monkeypatch.setattr(sha256_lanes, "_ENGINE", sha256_lanes._Engine())
    return str(request.param)


@pytest.fixture
def few_bytes_in_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes for files that are too small to pay, so that their ends are tried as well."""
    monkeypatch.setattr(sha256_lanes, "_LEAST_BYTES", 0)


def content(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311


def written(folder: Path, count: int, size: int) -> tuple[list[str], list[bytes]]:
    """Files of ``size`` bytes, each of its own, and what they hold."""
    data = [content(size, number) for number in range(count)]
    paths = [folder / f"{number}" for number in range(count)]
    for path, held in zip(paths, data, strict=True):
        path.write_bytes(held)
    return list(map(str, paths)), data


def digests_of(data: Sequence[bytes]) -> list[bytes]:
    return [hashlib.sha256(held).digest() for held in data]


def hashed(files: LeafRows, width: int) -> tuple[list[bytes], list[Hashed | None]]:
    """All that `hashed_pieces` yields of each file, in order and without gaps, and what it returns."""
    reading, found = files.hashed_pieces(width), list[Rows]()
    while True:
        try:
            at, rows = next(reading)
        except StopIteration as end:
            return joined(found), end.value
        assert at == sum(row.shape[1] for row in found)
        assert rows.shape[1] <= width
        found.append(rows.copy())


def joined(found: Sequence[Rows]) -> list[bytes]:
    return [row.tobytes() for row in np.concatenate(found, axis=1)] if found else []


def only_digests(answers: Sequence[Hashed | None]) -> list[bytes | None]:
    return [None if one is None else one[0] for one in answers]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture(scope="module", autouse=True)
def others_are_done() -> None:
    """What other tests left open is not to be closed during one of these."""
    gc.collect()


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    before = open_files()
    yield
    if open_files() != before:  # what an error's traceback holds goes with it
        gc.collect()
    assert open_files() == before


# What it reads and says


@pytest.mark.usefixtures("engine", "few_bytes_in_lanes")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [1, 2, 3, 9, 16, 17, MOST])
def test_bytes_and_digests_are_the_files_own(count: int, size: int, tmp_path: Path) -> None:
    paths, data = written(tmp_path, count, size)
    for width in WIDTHS:
        if size > 1000 * width:
            continue
        with LeafRows(paths, size) as files:
            read, answers = hashed(files, width)
        assert read == (data if size else [])
        assert only_digests(answers) == digests_of(data)
        assert [one and one[1].st_ino for one in answers] == [os.stat(path).st_ino for path in paths]  # noqa: PTH116


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("count", [1, 12, 18])
def test_leaves_are_hashed_in_pieces_of_any_width(count: int, tmp_path: Path) -> None:
    paths, data = written(tmp_path, count, CHUNK)
    for width in (CHUNK, CHUNK // 3 // EVEN * EVEN + EVEN, 128 * 1024):
        with LeafRows(paths, CHUNK) as files:
            read, answers = hashed(files, width)
        assert read == data and only_digests(answers) == digests_of(data)


@pytest.mark.usefixtures("engine", "few_bytes_in_lanes")
@pytest.mark.parametrize(
    ("start", "stop"), [(0, 5000), (64, 4097), (1, 2), (63, 65), (7, 7), (4999, 5000), (5000, 5000)]
)
def test_any_range_is_what_slicing_gives(start: int, stop: int, tmp_path: Path) -> None:
    paths, data = written(tmp_path, 5, 5000)
    with LeafRows(paths, 5000) as files:
        for width in (64, 1000, 8192):
            offsets, found = [], list[Rows]()
            for at, rows in files.pieces(start, stop, width):
                offsets.append(at)
                found.append(rows.copy())
            assert offsets == list(range(start, stop, width))
            assert joined(found) == ([held[start:stop] for held in data] if start < stop else [])


@pytest.mark.usefixtures("engine", "few_bytes_in_lanes")
@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 100_001, CHUNK])
@pytest.mark.parametrize("count", [1, 3, 16, 19])
def test_a_sink_takes_every_byte_once_before_it_is_yielded(count: int, size: int, tmp_path: Path) -> None:
    paths, data = written(tmp_path, count, size)
    for width in (64, 32_768, CHUNK):
        if size > 1000 * width:
            continue
        pouring = Pouring(count, 777 + size)
        with LeafRows(paths, size) as files:
            reading = files.hashed_pieces(width, pouring.sink, 777)
            with pytest.raises(StopIteration) as end:
                while True:
                    at, rows = next(reading)
                    assert pouring.bytes_between(at, at + rows.shape[1]) == [row.tobytes() for row in rows]
        assert only_digests(end.value.value) == digests_of(data)
        assert pouring.bytes_between(777, 777 + size) == data
        assert (pouring.times[:, 777:] == 1).all() and not pouring.times[:, :777].any()


class Pouring:
    """A sink that keeps what it is given.

    Attributes:
        times: How often each byte came.
    """

    def __init__(self, count: int, size: int) -> None:
        self.held, self.times = np.zeros((count, size), np.uint8), np.zeros((count, size), np.uint8)
        self._call = contents._SINK(self._take)  # which has to stay alive
        self.sink = Sink(ctypes.cast(self._call, ctypes.c_void_p).value or 0, 4711)

    def bytes_between(self, start: int, stop: int) -> list[bytes]:
        """What came of each row."""
        return [row[start:stop].tobytes() for row in self.held]

    def _take(self, context: int, rows: int, stride: int, first: int, count: int, at: int, size: int) -> None:
        assert context == 4711
        for number in range(count):
            data = ctypes.string_at(rows + number * stride, size)
            self.held[first + number, at : at + size] = np.frombuffer(data, np.uint8)
            self.times[first + number, at : at + size] += 1


def test_no_files_are_no_rows(tmp_path: Path) -> None:
    with LeafRows([], 100) as files:
        assert files.stats == []
        assert hashed(files, 64)[1] == []


def test_one_file_may_be_several_rows(tmp_path: Path) -> None:
    paths, data = written(tmp_path, 1, 65_537)
    with LeafRows(paths * 9, 65_537) as files:
        read, answers = hashed(files, 4096)
    assert read == data * 9 and only_digests(answers) == digests_of(data) * 9


@pytest.mark.usefixtures("engine")
def test_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    paths, data = written(tmp_path, 20, 100_001)
    wanted, right = digests_of(data), list[bool]()

    def run(seed: int) -> None:
        draw = random.Random(seed)  # noqa: S311
        for _ in range(8):
            some = draw.sample(range(20), draw.randint(1, 20))
            with LeafRows([paths[number] for number in some], 100_001) as files:
                read, answers = hashed(files, draw.choice([4096, 50_048, 1 << 17]))
            right.append(read == [data[number] for number in some])
            right.append(only_digests(answers) == [wanted[number] for number in some])

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 64


def test_the_room_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after a reader that stops half-way: what is left of it holds no memory."""
    monkeypatch.setattr(leaf_rows, "_ROOMS", [])
    paths, _ = written(tmp_path, 3, 5000)
    with LeafRows(paths, 5000) as files:
        for _ in range(3):
            hashed(files, 1024)
            dropped = files.hashed_pieces(2048)
            next(dropped)
            del dropped
            gc.collect()
    assert len(leaf_rows._ROOMS) == 1


# When a file is not what it should be


@pytest.mark.usefixtures("engine")
def test_files_that_are_gone_or_of_another_size_are_said(tmp_path: Path) -> None:
    paths, data = written(tmp_path, 4, 70_000)
    Path(paths[1]).unlink()
    os.truncate(paths[2], 69_999)
    with LeafRows(paths, 70_000) as files:
        assert [stat is not None for stat in files.stats] == [True, False, False, True]
        found = [rows.copy() for _, rows in files.pieces(0, 70_000, 4096)]
        assert [files.stat(number) is not None for number in range(4)] == [True, False, False, True]
    read = joined(found)
    assert (read[0], read[3]) == (data[0], data[3])


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("count", [2, 16, 18])
@pytest.mark.parametrize("cut", [0, 65_536, 99_999])
def test_a_file_cut_short_between_two_pieces_has_no_digest(count: int, cut: int, tmp_path: Path) -> None:
    paths, data = written(tmp_path, count, 100_000)
    with LeafRows(paths, 100_000) as files:
        reading = files.hashed_pieces(32_768)
        next(reading)
        os.truncate(paths[-1], cut)
        with pytest.raises(StopIteration) as end:
            while True:
                next(reading)
        assert files.stat(count - 1) is None
    answers = only_digests(end.value.value)
    assert answers[-1] is None
    # whoever shares the lanes of one that was cut may have none either, but never a wrong one
    assert all(one in (None, wanted) for one, wanted in zip(answers, digests_of(data), strict=True))
    assert answers[: (count - 1) // MOST_LANES * MOST_LANES].count(None) == 0


@pytest.mark.usefixtures("engine")
def test_bytes_that_change_between_two_pieces_are_hashed_as_they_are_handed_out(tmp_path: Path) -> None:
    paths, _ = written(tmp_path, 16, 100_000)
    with LeafRows(paths, 100_000) as files:
        reading, found = files.hashed_pieces(32_768), list[Rows]()
        with pytest.raises(StopIteration) as end:
            while True:
                found.append(next(reading)[1].copy())
                for path in paths:
                    with Path(path).open("r+b") as file:
                        file.seek(32_768 * len(found) - 1)
                        file.write(b"??")
    assert only_digests(end.value.value) == digests_of(joined(found))


def test_a_file_that_cannot_be_opened_leaves_none_open(tmp_path: Path) -> None:
    paths, _ = written(tmp_path, 3, 100)
    beyond = f"{paths[0]}/beyond"  # a file is no directory
    with pytest.raises(OSError, match="beyond"):
        LeafRows([*paths, beyond], 100)


def test_an_error_in_between_leaves_none_open(tmp_path: Path) -> None:
    paths, _ = written(tmp_path, 3, 5000)

    def broken() -> None:
        with LeafRows(paths, 5000) as files:
            for at, _ in files.hashed_pieces(1024):
                if at:
                    raise ArithmeticError("Half-way.")

    with pytest.raises(ArithmeticError):
        broken()


def test_a_generator_that_is_dropped_half_way_leaves_none_open(tmp_path: Path) -> None:
    paths, _ = written(tmp_path, 3, 5000)

    def reading() -> Iterator[Rows]:
        with LeafRows(paths, 5000) as files:
            for _, rows in files.pieces(0, 5000, 1024):
                yield rows

    dropped = reading()
    next(dropped)
    del dropped


# Without a compiler


def test_without_llvmlite_python_reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    leaf_rows._read_and_hash.cache_clear()
    monkeypatch.setitem(sys.modules, "network.read_kernel", None)
    try:
        assert leaf_rows._read_and_hash() is None
        paths, data = written(tmp_path, 16, 100_000)
        with LeafRows(paths, 100_000) as files:
            read, answers = hashed(files, 32_768)
        assert read == data and only_digests(answers) == digests_of(data)
    finally:
        leaf_rows._read_and_hash.cache_clear()


def test_compiled_code_reads_where_there_are_lanes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not sha256_lanes._ENGINE.kernels(0):
        pytest.skip("this machine hashes with hashlib")
    compiled, offsets = leaf_rows._read_and_hash(), list[int]()
    assert compiled is not None

    def noting(files: Sequence[int], lanes: sha256_lanes.Lanes, rows: Rows, take: Any, first: int) -> bool:
        offsets.append(take.at)
        return compiled(files, lanes, rows, take, first)

    monkeypatch.setattr(leaf_rows, "_read_and_hash", lambda: noting)
    paths, data = written(tmp_path, 16, 100_001)
    with LeafRows(paths, 100_001) as files:
        assert only_digests(hashed(files, 65_536)[1]) == digests_of(data)
    assert offsets == [0, 65_536]


def test_a_file_that_the_disk_does_not_give_is_none_and_disturbs_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, data = written(tmp_path, 3, 100_000)
    honest = leaf_rows.fill

    def erring(file: int, start: int, out: memoryview) -> bool:
        if Path(f"/proc/self/fd/{file}").readlink().name == Path(paths[1]).name:
            raise OSError(errno.EIO, "the disk errs")
        return honest(file, start, out)

    monkeypatch.setattr(leaf_rows, "fill", erring)
    monkeypatch.setattr(leaf_rows, "_read_and_hash", lambda: None)
    with LeafRows(paths, 100_000) as files:
        answers = hashed(files, 32_768)[1]
        assert only_digests(answers) == [None if number == 1 else each for number, each in enumerate(digests_of(data))]
        assert files.stat(1) is None and files.stat(0) is not None


def test_no_file_stays_open_where_one_cannot_be_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths, _ = written(tmp_path, 3, 100)
    before, counted = len(list(Path("/proc/self/fd").iterdir())), leaf_rows._OPEN_FILES._count

    def stale(file: int) -> os.stat_result:
        raise OSError(errno.ESTALE, "gone from its server")

    monkeypatch.setattr(os, "fstat", stale)
    with pytest.raises(OSError, match="gone from its server"):
        LeafRows(paths, 100)
    monkeypatch.undo()
    assert len(list(Path("/proc/self/fd").iterdir())) == before and leaf_rows._OPEN_FILES._count == counted
