"""Content of any size that a vector can name in two words and a test can make again without keeping it."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

MIB = 1024 * 1024


class PatternStream(io.RawIOBase):
    """``size`` bytes of a ``pattern``: ``zeros``, or ``counter`` (0, 1, 2, … as uint64, little-endian)."""

    def __init__(self, pattern: str, size: int) -> None:
        self._counter, self._size, self._at = pattern == "counter", size, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._size, self._at + size)
        data = self._slice(self._at, end) if self._counter else bytes(end - self._at)
        self._at = end
        return data

    @staticmethod
    def _slice(start: int, end: int) -> bytes:
        words = np.arange(start // 8, -(-end // 8), dtype="<u8").tobytes()
        return words[start % 8 : start % 8 + end - start]


def content(recipe: Mapping[str, Any]) -> bytes:
    """Return the bytes of a vector's ``{"pattern": …, "size": …}``."""
    return PatternStream(recipe["pattern"], recipe["size"]).read()


def write_pattern(path: Path, pattern: str, size: int) -> None:
    """Write the pattern into a file; zeros take no room on disk."""
    with path.open("wb") as file:
        if pattern == "zeros":
            file.truncate(size)
        else:
            shutil.copyfileobj(PatternStream(pattern, size), file, 16 * MIB)


def write_tree(place: Path, entries: Mapping[str, Mapping[str, Any]]) -> Path:
    """Make the directory ``place`` of a vector's ``entries`` (path below it: recipe) and return it.

    A recipe is that of ``content``, ``{"symlink": target}``, ``{}`` for a directory that nothing has to be in, or, for
    as many empty files in one directory, ``{"empty_files": count, "digits": length of their names}``.
    """
    place.mkdir()
    for name, recipe in entries.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if "symlink" in recipe:
            path.symlink_to(recipe["symlink"])
        elif "pattern" in recipe:
            write_pattern(path, recipe["pattern"], recipe["size"])
        else:
            path.mkdir(exist_ok=True)
            for number in range(recipe.get("empty_files", 0)):
                (path / f"{number:0{recipe['digits']}}").touch()
    return place
