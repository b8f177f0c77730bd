"""Files laid side by side into memory by the system, so that whoever reads them once need not copy them first.

Only what lies in the system's cache is used so: a disk that errs then has erred before, and reading says so in words. A
program that cuts a file short meanwhile ends this process by SIGBUS, which loses nothing (SECURITY, Contents on disk).
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from protocol.content import Rows

_NOTHING, _FIXED, _NO_RESERVE = 0, 0x10, 0x4000  # PROT_NONE, MAP_FIXED, MAP_NORESERVE of Linux
_FAILED = ctypes.c_void_p(-1).value


_WINDOWS: list[MappedFiles] = []  # room that was used before


@contextmanager
def laid(files: Sequence[int], size: int) -> Iterator[Rows | None]:
    """Give open files of ``size`` bytes as rows that need no copy; None where they do not lie in the system's cache."""
    if not hasattr(mmap, "MAP_POPULATE") or not size:
        yield None
        return
    window = _window(len(files), size)
    try:
        yield window.rows if window.lay(files) else None
    finally:
        window.clear()
        _WINDOWS.append(window)


def _window(count: int, size: int) -> MappedFiles:
    """Return one that was used before, or a new one where the last one had another size."""
    try:
        window = _WINDOWS.pop()
    except IndexError:
        return MappedFiles(count, size)
    return window if (window.count, window.size) == (count, size) else MappedFiles(count, size)


class MappedFiles:
    """Room in the address space for ``count`` files of ``size`` bytes; none of it is memory of its own."""

    def __init__(self, count: int, size: int) -> None:
        self.count, self.size = count, size
        self._stride = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self._address = _mmap(
            None, count * self._stride, _NOTHING, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE, -1
        )
        self._resident = np.empty(count * self._stride // mmap.PAGESIZE, np.uint8)
        whole = (ctypes.c_uint8 * (count * self._stride)).from_address(self._address)
        self.rows: Rows = np.ctypeslib.as_array(whole).reshape(count, self._stride)[:, :size]

    def lay(self, files: Sequence[int]) -> bool:
        """Lay ``count`` open files of ``size`` bytes into `rows`; say whether all of them are in the system's cache."""
        shared = mmap.MAP_SHARED | _FIXED | mmap.MAP_POPULATE
        for number, file in enumerate(files):
            if _mmap(self._address + number * self._stride, self.size, mmap.PROT_READ, shared, file) == _FAILED:
                return False
        return self._is_resident()

    def clear(self) -> None:
        """Let go of the files."""
        _mmap(
            self._address,
            self.count * self._stride,
            _NOTHING,
            mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE | _FIXED,
            -1,
        )

    def __del__(self) -> None:
        _libc().munmap(self._address, self.count * self._stride)

    def _is_resident(self) -> bool:
        if _libc().mincore(self._address, self.count * self._stride, self._resident.ctypes.data):
            return False
        return bool((self._resident & 1).all())


def _mmap(address: int | None, length: int, protection: int, flags: int, file: int) -> int:
    found = _libc().mmap(address, length, protection, flags, file, 0)
    return _FAILED if found is None else int(found)  # type: ignore[return-value] # ctypes tells no types


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    return libc
