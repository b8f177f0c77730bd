"""Durable files: after a return the bytes are on disk, and at no time does a reader or a crash see half of them."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


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
    aside = (scratch or path.parent) / f".new-{secrets.token_hex(8)}"
    try:
        with open(aside, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise
    sync_directory(path.parent)


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
