"""Files hashed side by side: whatever becomes of one of them, the others' digests are theirs."""

from __future__ import annotations

import hashlib
import os
import random
from contextlib import nullcontext
from pathlib import Path

import pytest

from network import hashed_files
from network.hashed_files import PIECE, hash_files
from protocol.sha256_lanes import description


@pytest.fixture(scope="module", autouse=True)
def lanes() -> None:
    description()


def write(place: Path, count: int, size: int) -> list[str]:
    paths = [place / str(number) for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(random.Random(number).randbytes(size))  # noqa: S311
    return [str(path) for path in paths]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("size", [0, 1, 64, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 57])
@pytest.mark.parametrize("count", [1, 5, 16])
def test_digests_and_descriptions_are_those_of_the_files(tmp_path: Path, size: int, count: int) -> None:
    paths = write(tmp_path, count, size)
    for path, hashed in zip(paths, hash_files(paths, size), strict=True):
        assert hashed is not None
        digest, stat = hashed
        assert digest == hashlib.sha256(Path(path).read_bytes()).digest()
        assert os.path.samestat(stat, Path(path).stat()) and stat.st_mtime_ns == Path(path).stat().st_mtime_ns


def test_files_of_another_length_or_gone_are_none_and_disturb_nobody(tmp_path: Path) -> None:
    paths = write(tmp_path, 7, 2 * PIECE)
    Path(paths[0]).unlink()
    Path(paths[3]).write_bytes(b"short")
    with Path(paths[6]).open("ab") as file:
        file.write(b"long")
    found = hash_files(paths, 2 * PIECE)
    assert [hashed is None for hashed in found] == [True, False, False, True, False, False, True]
    for path, hashed in zip(paths, found, strict=True):
        assert hashed is None or hashed[0] == hashlib.sha256(Path(path).read_bytes()).digest()
    assert hash_files([], 10) == [] and hash_files(paths[:1], 10) == [None]


def test_a_file_that_is_cut_short_meanwhile_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write(tmp_path, 4, 2 * PIECE)
    honest = hashed_files.fill

    def cutting(file: int, start: int, out: memoryview) -> bool:
        os.truncate(paths[2], PIECE + 1)
        return honest(file, start, out)

    monkeypatch.setattr(hashed_files, "fill", cutting)
    monkeypatch.setattr(hashed_files, "laid", lambda *_: nullcontext())  # as where nothing is in the system's cache
    assert [hashed is None for hashed in hash_files(paths, 2 * PIECE)] == [False, False, True, False]


def test_no_file_stays_open_and_memory_is_used_again(tmp_path: Path) -> None:
    paths = write(tmp_path, 16, PIECE)
    hash_files(paths, PIECE)
    before = open_files()
    rooms = list(map(id, hashed_files._ROOMS))
    for _ in range(3):
        hash_files(paths, PIECE)
    with pytest.raises(IsADirectoryError):
        hash_files([*paths[:3], str(tmp_path)], tmp_path.stat().st_size)
    assert open_files() == before and list(map(id, hashed_files._ROOMS)) == rooms


def test_more_than_sixteen_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="more than 16"):
        hash_files([str(tmp_path)] * 17, 1)
