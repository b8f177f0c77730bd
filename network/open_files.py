"""How many files may be open at once for reading side by side: a share of what the system lets this process open."""

from __future__ import annotations

import resource
import threading

_MOST = 16_384  # a process may map so many, and has room for other mappings
_SHARE = (3, 4)  # the rest is for whoever opens a file, or a connection, at a time


class OpenFiles:
    """Counts files that are, or are about to be, open; any number of threads."""

    def __init__(self) -> None:
        self._count = 0
        self._lock = threading.Lock()

    def take(self, count: int) -> bool:
        """Say whether ``count`` more may be opened; they count as open then, until `give_back`."""
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        with self._lock:
            limit = _MOST if most == resource.RLIM_INFINITY else min(_MOST, most * _SHARE[0] // _SHARE[1])
            if self._count + count > limit:
                return False
            self._count += count
            return True

    def give_back(self, count: int) -> None:
        """Count ``count`` files as closed."""
        with self._lock:
            self._count -= count
