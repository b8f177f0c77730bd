"""Leases: files that tell garbage collection what running processes rely on, and that count only while they run.

    <root>/leases/4242-9f0c...    of process 4242; locked (flock) as long as the lease lasts, so kill -9 ends it as well
    <root>/gate.lock              held alone while the collector removes a few blocks, shared by whoever must not be
                                  passed by it: beginning a lease, and finding a block that one goes on to rely on

A lease's file names its roots, one a line, and its own time is when the lease began. Like those of blocks it is set
from this machine's clock, so a block that is put within a lease is never older than it, whatever the file system's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import time
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from network.files import hold_lock
from protocol.cid import Cid, parse_cid
from protocol.errors import InvalidInput

_NAME = re.compile(r"[0-9]+-[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Lease:
    """What a running process relies on: all it has put since ``start`` (ns since 1970), and the trees of ``roots``."""

    name: str
    start: int
    roots: tuple[Cid, ...]


class Leases:
    """The leases in the directory ``place``; any number of processes and threads, each as many as it likes.

    Args:
        place: Where their files are.
        scratch: Where they are written before anybody sees them, on the same file system.
        gate: The lock that a collector holds alone while it removes blocks.
    """

    def __init__(self, place: Path, scratch: Path, gate: Path) -> None:
        self._place, self._scratch, self._gate = place, scratch, gate

    @contextmanager
    def take(self, roots: Sequence[Cid]) -> Iterator[None]:
        """Hold a lease. Where no file can be written (read-only, full) it holds off every collector instead.

        Raises:
            OSError: There is no store any more.
            TimeoutError: A collector has not moved for a minute.
        """
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._written(roots))
            except TimeoutError:
                raise
            except OSError:
                stack.enter_context(hold_lock(self._gate))
            yield

    @contextmanager
    def _written(self, roots: Sequence[Cid]) -> Iterator[None]:
        name = f"{os.getpid()}-{secrets.token_hex(8)}"
        aside, path = self._scratch / f".new-{name}", self._place / name
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with aside.open("x", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.write("\n".join([f"since {since}", *map(str, roots), ""]))
                file.flush()
                now = time.time_ns()
                os.utime(file.fileno(), ns=(now, now))
                with hold_lock(self._gate):  # nobody is about to remove anything who has not seen it
                    aside.rename(path)
                yield
            finally:  # before the lock goes: others take an unlocked file for that of a dead process
                for left in (path, aside):
                    with contextlib.suppress(OSError):
                        left.unlink()

    def live(self, known: Container[str] = ()) -> list[Lease]:
        """Return the leases of running processes, but those whose names are ``known``; remove those of dead ones.

        Raises:
            OSError: They cannot be read, so nothing is known of what is relied on.
        """
        names = [path.name for path in self._place.iterdir() if _NAME.fullmatch(path.name) and path.name not in known]
        return [lease for lease in map(self._read, names) if lease is not None]

    def _read(self, name: str) -> Lease | None:
        path = self._place / name
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return None  # it has just ended
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return Lease(name, os.fstat(file.fileno()).st_mtime_ns, tuple(_roots(file.read())))
            with contextlib.suppress(OSError):
                path.unlink()
            return None


def _roots(text: bytes) -> Iterator[Cid]:
    for line in text.decode("ascii", "replace").splitlines():
        with contextlib.suppress(InvalidInput):
            yield parse_cid(line)
