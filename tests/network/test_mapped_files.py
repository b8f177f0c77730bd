"""Files laid into memory: their bytes, or no; and what is made of one that changes while it lies there."""

from __future__ import annotations

import hashlib
import mmap
import os
import random
from pathlib import Path

import pytest

from network import mapped_files
from network.leaf_rows import LeafRows
from network.mapped_files import MappedFiles, laid
from protocol import sha256_lanes
from tests.network.test_leaf_rows import Pouring

pytestmark = pytest.mark.skipif(not hasattr(mmap, "MAP_POPULATE"), reason="this system does not map files as it has to")
SIZE = 3 * 65_536 + 77


def written(folder: Path, count: int, size: int = SIZE) -> tuple[list[str], list[bytes]]:
    data = [random.Random(number).randbytes(size) for number in range(count)]  # noqa: S311
    paths = [folder / f"{number}" for number in range(count)]
    for path, each in zip(paths, data, strict=True):
        path.write_bytes(each)
    return list(map(str, paths)), data


def opened(paths: list[str]) -> list[int]:
    return [os.open(path, os.O_RDONLY) for path in paths]


@pytest.mark.parametrize("size", [1, 4096, SIZE])
def test_rows_are_the_bytes_of_the_files(tmp_path: Path, size: int) -> None:
    paths, data = written(tmp_path, 5, size)
    window, files = MappedFiles(5, size), opened(paths)
    try:
        assert window.lay(files)
        assert [row.tobytes() for row in window.rows] == data
        assert window.lay(files[::-1])  # over what lies there
        assert [row.tobytes() for row in window.rows] == data[::-1]
    finally:
        window.clear()
        for file in files:
            os.close(file)


def test_a_file_that_is_too_short_is_not_laid(tmp_path: Path) -> None:
    paths, _ = written(tmp_path, 2)
    os.truncate(paths[1], 65_536)
    window, files = MappedFiles(2, SIZE), opened(paths)

    assert not window.lay(files)
    window.clear()
    for file in files:
        os.close(file)


def test_what_is_no_file_is_not_laid() -> None:
    window = MappedFiles(1, 4096)
    reading, writing = os.pipe()

    assert not window.lay([reading])
    window.clear()
    os.close(reading)
    os.close(writing)


def test_a_system_that_refuses_a_file_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths, _ = written(tmp_path, 2)
    files, (reading, writing) = opened(paths), os.pipe()
    monkeypatch.setattr(mapped_files, "_REFUSING", set())
    monkeypatch.setattr(mapped_files, "_WINDOWS", [])
    with laid([files[0], reading], SIZE) as rows:
        assert rows is None
    assert {os.fstat(reading).st_dev} == mapped_files._REFUSING and not mapped_files._WINDOWS

    monkeypatch.setattr(MappedFiles, "lay", lambda *_: pytest.fail("asked again"))
    with laid([files[0], reading], SIZE) as rows:
        assert rows is None
    for file in (*files, reading, writing):
        os.close(file)


def test_files_of_others_are_not_laid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of them the system says that all is in its cache, whatever is."""
    paths, _ = written(tmp_path, 1)
    files = opened(paths)
    with laid(files, SIZE) as rows:
        assert rows is not None
    monkeypatch.setattr(os, "geteuid", lambda: os.fstat(files[0]).st_uid + 1)
    with laid(files, SIZE) as rows:
        assert rows is None
    os.close(files[0])


def test_room_is_no_memory_and_is_given_back() -> None:
    before, resident = mapped_bytes(), _status("RssAnon")
    window = MappedFiles(64, 1 << 20)
    assert mapped_bytes() >= before + (64 << 20)
    assert _status("RssAnon") < resident + (1 << 20)
    del window
    assert mapped_bytes() < before + (64 << 20)


@pytest.mark.parametrize("is_written", [False, True])
def test_a_file_that_is_written_to_meanwhile_is_not_taken_for_whole(tmp_path: Path, is_written: bool) -> None:
    sha256_lanes.description()
    paths, data = written(tmp_path, 16)
    for path in paths:  # as blocks are: no tick of the clock falls on their times
        os.utime(path, ns=(123_456_789, 123_456_789))
    pouring = Writing(Path(paths[3]) if is_written else None)
    with LeafRows(paths, SIZE) as files:
        reading = files.hashed_pieces(65_536, pouring.sink)
        with pytest.raises(StopIteration) as end:
            while True:
                next(reading)

    found = [None if answer is None else answer[0] for answer in end.value.value]
    expected = [hashlib.sha256(each).digest() for each in data]
    assert found == [None if is_written and number == 3 else digest for number, digest in enumerate(expected)]


class Writing(Pouring):
    """A sink during whose first call somebody changes the last byte of a file, and puts it back."""

    def __init__(self, path: Path | None) -> None:
        super().__init__(16, SIZE)
        self._path = path

    def _take(self, context: int, rows: int, stride: int, first: int, count: int, at: int, size: int) -> None:
        super()._take(context, rows, stride, first, count, at, size)
        if self._path is not None:
            whole = self._path.read_bytes()
            with self._path.open("r+b") as file:
                file.write(whole)
            self._path = None


def mapped_bytes() -> int:
    return _status("VmSize")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
