"""Which files were found whole, so that asking again costs a look at their times instead of reading and hashing them.

Whoever writes to a file changes its times; it does not show in them when a disk loses bits by itself. So this is for
saying whether a block is there, and for reading again what was verified a moment ago (network/stored_content.py), never
for handing out what an earlier run had verified.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TypeAlias

from protocol.cid import Cid

MOST = 16_384  # files that are remembered, about 6 MB; the oldest are forgotten first

Look: TypeAlias = tuple[int, ...]  # what tells a file from another and changes when it is written


class VerifiedFiles:
    """A memory of files that held the right bytes; any number of threads.

    A write within the tick of the file system's clock in which a file was remembered would not show, so whoever puts a
    file there sets its time first, to the nanosecond: no tick falls on it.
    """

    def __init__(self) -> None:
        self._known: dict[Cid, Look] = {}
        self._lock = threading.Lock()

    def remember(self, cid: Cid, stat: os.stat_result) -> None:
        """Remember that the file of ``cid`` was whole when it was as ``stat`` says."""
        with self._lock:
            self._known[cid] = look(stat)
            if len(self._known) > MOST:
                del self._known[next(iter(self._known))]

    def forget(self, cid: Cid) -> None:
        """Remember nothing of the file of ``cid``."""
        with self._lock:
            self._known.pop(cid, None)

    def is_unchanged(self, cid: Cid, path: Path) -> bool:
        """Say whether the file ``path`` of ``cid`` was remembered and is as it was then."""
        return self.unchanged(cid, path) is not None

    def unchanged(self, cid: Cid, path: Path) -> Look | None:
        """Return the look of the file ``path`` of ``cid`` where it was remembered and is as it was then, else None."""
        known = self._known.get(cid)
        try:
            return known if known is not None and known == look(path.stat()) else None
        except OSError:
            return None


def look(stat: os.stat_result) -> Look:
    """Return what shows in ``stat`` whether a file is still the same one, and unchanged."""
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
