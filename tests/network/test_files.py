"""Files that are replaced whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from network.files import make_directory, write_atomic


def names(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def test_a_missing_directory_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "missing/file", b"")


def test_a_failed_write_leaves_the_old_file_and_nothing_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"a long first version")
    write_atomic(path, b"short")
    assert path.read_bytes() == b"short"
    assert names(tmp_path) == ["file"]


def test_readers_see_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    with path.open("rb") as reader:
        write_atomic(path, b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"


def test_writes_aside_where_it_is_told(tmp_path: Path) -> None:
    path, scratch = tmp_path / "file", tmp_path / "scratch"
    with pytest.raises(FileNotFoundError):
        write_atomic(path, b"data", scratch=scratch)
    assert names(tmp_path) == []
    make_directory(scratch)
    write_atomic(path, b"data", scratch=scratch)
    assert (path.read_bytes(), names(scratch)) == (b"data", [])


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_permissions_hold_from_the_first_byte(mode: int, tmp_path: Path) -> None:
    write_atomic(tmp_path / "file", b"key", mode=mode)
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode & ~umask


def test_makes_directories_once(tmp_path: Path) -> None:
    make_directory(tmp_path / "a/b/c")
    make_directory(tmp_path / "a/b/c")
    assert (tmp_path / "a/b/c").is_dir()
    write_atomic(tmp_path / "file", b"")
    with pytest.raises(FileExistsError):
        make_directory(tmp_path / "file")
