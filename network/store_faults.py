"""What the embedded store says when the file system fails it."""

from __future__ import annotations

import errno
from pathlib import Path

from protocol.errors import StoreUnavailable

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


def store_unavailable(root: Path, error: OSError) -> StoreUnavailable:
    """Return what is to be raised when the file system has said ``error`` about the store in ``root``."""
    why, do = f"{type(error).__name__}: {_words(error)}.", "Check that the directory exists and is whole."
    if error.errno in _FULL:
        why, do = "The disk is full.", "Make room: `rondo pins --collect` removes what nobody keeps."
    elif error.errno in _FORBIDDEN:
        do = "Give this user the right to read and write all of it, on a disk that is not mounted read-only."
    elif isinstance(error, TimeoutError):
        do = "Look for a process in it that was stopped, or a reader that may not write there, and let it end."
    return StoreUnavailable(f"The content store in {root} cannot be used.", why, do)


def _words(error: OSError) -> str:
    return f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror or error)
