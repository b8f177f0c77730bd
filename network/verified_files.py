"""Which files were found whole, so that asking again costs a look at their times instead of reading and hashing them.

Whoever writes to a file changes its times; it does not show in them when a disk loses bits by itself. So this is for
saying whether a block is there, and never for handing out its bytes.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from protocol.cid import Cid

MOST = 16_384  # files that are remembered, about 6 MB; the oldest are forgotten first


class VerifiedFiles:
    """A memory of files that held the right bytes; any number of threads.

    A write within the tick of the file system's clock in which a file was remembered would not show, so whoever puts a
    file there sets its time first, to the nanosecond: no tick falls on it.
    """

    def __init__(self) -> None:
        self._known: dict[Cid, tuple[int, ...]] = {}
        self._lock = threading.Lock()

    def remember(self, cid: Cid, stat: os.stat_result) -> None:
        """Remember that the file of ``cid`` was whole when it was as ``stat`` says."""
        with self._lock:
            self._known[cid] = _look(stat)
            if len(self._known) > MOST:
                del self._known[next(iter(self._known))]

    def forget(self, cid: Cid) -> None:
        """Remember nothing of the file of ``cid``."""
        with self._lock:
            self._known.pop(cid, None)

    def is_unchanged(self, cid: Cid, path: Path) -> bool:
        """Say whether the file ``path`` of ``cid`` was remembered and is as it was then."""
        known = self._known.get(cid)
        try:
            return known is not None and known == _look(path.stat())
        except OSError:
            return False


def _look(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
