"""Content of any size that a vector can name in two words and a test can make again without keeping it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np


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
