"""Files laid side by side into memory by the system, so that whoever reads them once need not copy them first.

Only what lies in the system's cache is used so: a disk that errs then has erred before, and reading says so in words. A
program that cuts a file short meanwhile ends this process by SIGBUS, which loses nothing (SECURITY, Contents on disk).
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from protocol.content import Rows

_NOTHING, _FIXED, _NO_RESERVE = 0, 0x10, 0x4000  # PROT_NONE, MAP_FIXED, MAP_NORESERVE of Linux
_FAILED = ctypes.c_void_p(-1).value


_RESERVED = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
_REFUSING: set[int] = set()  # devices whose files cannot be mapped
_WINDOWS: list[MappedFiles] = []  # room that was used before


@contextmanager
def laid(files: Sequence[int], size: int) -> Iterator[Rows | None]:
    """Give open files of ``size`` bytes as rows that need no copy; None where they do not lie in the system's cache."""
    if not hasattr(mmap, "MAP_POPULATE") or not size or not _may_lay(files):
        yield None
        return
    try:
        window = _window(len(files), size)
    except MemoryError:
        yield None
        return
    try:
        yield window.rows if window.lay(files) else None
    finally:
        window.clear()
        if window.is_whole:
            _WINDOWS.append(window)


def _may_lay(files: Sequence[int]) -> bool:
    """Whether the files lie where mapping works, and are ours: of others' the system says that all is in its cache."""
    stats = list(map(os.fstat, files))
    return all(stat.st_uid == os.geteuid() for stat in stats) and not _REFUSING & {stat.st_dev for stat in stats}


def _window(count: int, size: int) -> MappedFiles:
    """Return one that was used before, or a new one where the last one had another size."""
    try:
        window = _WINDOWS.pop()
    except IndexError:
        return MappedFiles(count, size)
    return window if (window.count, window.size) == (count, size) else MappedFiles(count, size)


class MappedFiles:
    """Room in the address space for ``count`` files of ``size`` bytes; none of it is memory of its own.

    Attributes:
        is_whole: Whether all of the room is its own. Where the system refuses a file it may have given that file's part
            away: others' memory may lie there by now, so it is never touched again.
    """

    def __init__(self, count: int, size: int) -> None:
        self.count, self.size, self.is_whole = count, size, True
        self._stride = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self._address = _mmap(None, count * self._stride, _NOTHING, _RESERVED, -1)
        if self._address == _FAILED:
            raise MemoryError(f"there are no {count * self._stride} bytes of address space")
        self._resident = np.empty(count * self._stride // mmap.PAGESIZE, np.uint8)
        whole = (ctypes.c_uint8 * (count * self._stride)).from_address(self._address)
        self.rows: Rows = np.ctypeslib.as_array(whole).reshape(count, self._stride)[:, :size]
        self._laid = 0

    def lay(self, files: Sequence[int]) -> bool:
        """Lay ``count`` open files of ``size`` bytes into `rows`; say whether all of them are in the system's cache."""
        shared = mmap.MAP_SHARED | _FIXED | mmap.MAP_POPULATE
        for number, file in enumerate(files):
            if _mmap(self._address + number * self._stride, self.size, mmap.PROT_READ, shared, file) == _FAILED:
                self.is_whole = False
                _REFUSING.add(os.fstat(file).st_dev)
                return False
            self._laid = max(self._laid, number + 1)
        return self._is_resident()

    def clear(self) -> None:
        """Let go of the files."""
        _mmap(self._address, self._laid * self._stride, _NOTHING, _RESERVED | _FIXED, -1)
        self._laid = 0

    def __del__(self) -> None:
        if self.is_whole and self._address != _FAILED:
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
