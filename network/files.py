"""Durable files: after a return the bytes are on disk, and at no time does a reader or a crash see half of them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_SECONDS = 60.0  # no lock here is held for longer than it takes to change a few names
_POLL_SECONDS = 0.0005, 0.01  # between two attempts to lock: at first, at most


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644, scratch: Path | None = None) -> None:
    """Replace the file ``path`` by ``data`` at once: write aside, fsync, rename, fsync the directory.

    A process killed in between leaves ``path`` as it was, and perhaps a file ``.new-*`` aside.

    Args:
        path: The file; its directory must exist.
        data: The whole content.
        mode: Permissions of the new file, less the umask; a keystore wants 0o600.
        scratch: Where to write aside, on the same file system; by default the directory of ``path``.

    Raises:
        OSError: The file system says no; nothing has been replaced then.
    """
    aside = (scratch or path.parent) / aside_name()
    try:
        write_new(aside, data, mode=mode)
        aside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise
    sync_directory(path.parent)


def aside_name() -> str:
    """Return a name for a file that is being written; nobody else has it."""
    return f".new-{secrets.token_hex(8)}"


def write_new(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Create the file ``path`` with ``data``, and put the bytes, not yet the name, on disk.

    Raises:
        FileExistsError: There is one.
        OSError: The file system says no; half of the file may be there.
    """
    with open(path, "xb", buffering=0, opener=lambda name, flags: os.open(name, flags, mode)) as file:
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())


def make_directory(path: Path) -> None:
    """Create the directory ``path`` and its missing parents, durably; nothing happens where it exists.

    Raises:
        OSError: The file system says no.
    """
    missing = [place for place in (path, *path.parents) if not place.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for place in missing:
        sync_directory(place.parent)


def sync_directory(path: Path) -> None:
    """Put the names in the directory ``path`` on disk.

    Raises:
        OSError: The file system says no.
    """
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def hold_lock(path: Path, *, exclusive: bool = False) -> Iterator[None]:
    """Hold the lock of the file ``path`` (flock), which must exist, alone or together with all who want it shared.

    Every call is a holder of its own, whatever its thread or process; the lock ends with the process at the latest.

    Raises:
        TimeoutError: Somebody has not let go of it for a minute.
        OSError: The file is not there, or cannot be locked.
    """
    handle = os.open(path, os.O_RDWR if exclusive else os.O_RDONLY)
    try:
        _lock(handle, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH, path)
        try:
            yield
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)  # closing alone would leave it to a child that was forked meanwhile
    finally:
        os.close(handle)


def _lock(handle: int, kind: int, path: Path) -> None:
    end = time.monotonic() + LOCK_SECONDS
    pause, longest = _POLL_SECONDS
    while True:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"another process has held {path} for {LOCK_SECONDS:g} seconds") from None
        time.sleep(min(pause, left))
        pause = min(pause * 2, longest)
