"""Files on their way: written beside their place, leaf by leaf in any order, and given their name when they are whole."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from protocol.cid import RAW, block_cid
from protocol.errors import InvalidInput
from protocol.unixfs import Leaf

_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a link leads nowhere, a pipe waits for nobody
_FILE = os.O_RDWR | os.O_CREAT | _SAFE
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | _SAFE
_POLL_SECONDS = 0.05


class PartFile:
    """The file ``place``, sparse while it is filled; what is in it already is used where it is right, and else replaced.

    Leaves may be looked for by other threads while one thread writes. Made by ``open_part_file`` and ``open_inside``.
    """

    def __init__(self, place: Path, handle: int) -> None:
        self.place, self._handle = place, handle
        self._old_size = os.fstat(handle).st_size

    def has(self, leaf: Leaf) -> bool:
        """Say whether the bytes of ``leaf`` are in their place, by their hash. Raises: OSError."""
        if leaf.offset + leaf.size > self._old_size:
            return False
        return block_cid(RAW, os.pread(self._handle, leaf.size, leaf.offset)) == leaf.cid

    def write(self, leaf: Leaf, data: bytes) -> None:
        """Put the bytes of ``leaf`` in their place. Raises: OSError, such as for a full disk."""
        rest, at = memoryview(data), leaf.offset
        with _naming(self.place):
            while rest:
                written = os.pwrite(self._handle, rest, at)
                rest, at = rest[written:], at + written

    def finish(self, size: int) -> None:
        """Cut off what an older content left behind ``size``, and put all of it on disk. Raises: OSError."""
        with _naming(self.place):
            os.ftruncate(self._handle, size)
            os.fsync(self._handle)


def part_of(path: Path) -> Path:
    """Return where what will be ``path`` is until it is whole. Raises InvalidInput where ``path`` has no name of its own."""
    if path.name in ("", ".."):
        raise InvalidInput(f"{path} names no file.", "It is a folder that exists.", "Name what is to be in it.")
    return path.with_name(path.name + ".part")


@contextmanager
def open_part_file(path: Path, seconds_left: Callable[[], float | None]) -> Iterator[PartFile]:
    """Open the file that will be ``path`` for this process alone; where nothing came it leaves nothing.

    Raises:
        InvalidInput: Something else than a file is in its place, or another process keeps it longer than there is time.
        OSError: The file system says no.
    """
    place = part_of(path)
    with _alone(place, lambda: _open_file(place), seconds_left) as handle:
        try:
            yield PartFile(place, handle)
        finally:
            if os.fstat(handle).st_size == 0 and _is_at(place, handle):
                place.unlink()


@contextmanager
def open_part_folder(path: Path, seconds_left: Callable[[], float | None]) -> Iterator[Path]:
    """Make the folder that will be ``path``, for this process alone; raises as ``open_part_file``."""
    place = part_of(path)

    def open_folder() -> int:
        with contextlib.suppress(FileExistsError):
            place.mkdir()
        try:
            return os.open(place, _FOLDER)
        except NotADirectoryError as error:
            raise _foreign(place) from error

    with _alone(place, open_folder, seconds_left) as handle:
        try:
            yield place
        finally:
            if _is_at(place, handle):
                with contextlib.suppress(OSError):  # it is not empty: the next attempt goes on with it
                    place.rmdir()


@contextmanager
def open_inside(folder: Path, name: str) -> Iterator[PartFile]:
    """Open the file ``name`` in a folder of ``open_part_folder``; raises InvalidInput, OSError as that."""
    handle = _open_file(folder / name)
    try:
        yield PartFile(folder / name, handle)
    finally:
        os.close(handle)


def _open_file(place: Path) -> int:
    try:
        handle = os.open(place, _FILE, 0o644)
    except OSError as error:
        if place.is_symlink() or place.is_dir():
            raise _foreign(place) from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise _foreign(place)
    return handle


@contextmanager
def _alone(place: Path, open_it: Callable[[], int], seconds_left: Callable[[], float | None]) -> Iterator[int]:
    """Hold the lock of what is at ``place``; whoever held it before may have moved it away, then what is there now."""
    while True:
        handle = open_it()
        try:
            while not _lock(handle):
                if seconds_left() == 0:
                    raise InvalidInput(
                        f"Another process keeps {place}.", "It fetches to the same path.", "Wait for it, or stop it."
                    )
                time.sleep(_POLL_SECONDS)
            if _is_at(place, handle):
                yield handle
                return
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)  # closing alone would leave it to a child that was forked meanwhile
            os.close(handle)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(place: Path, handle: int) -> bool:
    try:
        return os.path.samestat(place.lstat(), os.fstat(handle))
    except FileNotFoundError:
        return False


@contextmanager
def _naming(place: Path) -> Iterator[None]:
    """Let the operating system's errors name the file, which those of open files do not."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(place)) from error


def _foreign(place: Path) -> InvalidInput:
    return InvalidInput(
        f"{place} is in the way.", "What is fetched is kept there until it is whole.", "Move it, or name another path."
    )
