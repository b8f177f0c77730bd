"""Garbage collection of the embedded store: removing blocks that nothing kept or running relies on.

A block stays if it is below a root that is kept, or below a root of a running process's lease; if it was put since the
oldest such lease began; or if it was put within the grace period. What is found is looked at again, under the store's
gate, before each few blocks are removed: whatever was kept, leased or put meanwhile is seen. So this may run beside any
number of readers and writers, and it may be killed at any moment. Nodes go before what they link to, so whoever finds a
node finds the rest as well, however far a collector came.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

from network.directory_store import DirectoryStore, cid_of_file
from network.files import hold_lock
from network.store_faults import store_unavailable
from protocol.cid import RAW, Cid
from protocol.errors import BlockCorrupt, BlockMissing
from protocol.unixfs import Block, child_cids

# Who wants to put, or to begin a lease, waits so long at most, and then has so long before it is the collector's turn
# again. Removing a file of 1 MiB takes 0.1 ms on some disks, 5 ms on others.
_HOLD_SECONDS, _PAUSE_SECONDS = 0.02, 0.01


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collector removed, and what it left: numbers of blocks, and the bytes in them."""

    blocks: int
    bytes: int
    remaining_blocks: int
    remaining_bytes: int


def collect_garbage(
    store: DirectoryStore, *, grace_seconds: float = 3600.0, on_progress: Callable[[int, int], None] | None = None
) -> Collected:
    """Remove from ``store`` what nothing relies on; see above. Blocks put meanwhile are not counted as remaining.

    Blocks that are missing or damaged below a root do not stop it. Where a *node* is, what only that node links to
    counts as garbage: repair first what is kept. Files that are not named as blocks are left alone.

    Memory is at most 250 bytes a block, garbage or not: 0.25 GB for a TB in blocks of 1 MiB.

    Args:
        grace_seconds: What was put less than this ago stays, for those who put without a lease.
        on_progress: Called after every few blocks with the number of garbage blocks dealt with, and of all of them.

    Raises:
        StoreUnavailable: The directory cannot be read or written, another collector has been at work in it for a
            minute, or a process that was stopped holds it up. What was removed until then is garbage, too.
    """
    report = on_progress or (lambda done, of: None)
    with contextlib.ExitStack() as stack:
        with _naming(store):
            stack.enter_context(hold_lock(store.collector, exclusive=True))
            collector = _Collector(store, time.time_ns() - int(grace_seconds * 1e9))
            garbage = collector.find()
        done = 0
        while done < len(garbage):
            with _naming(store):
                done += collector.remove(garbage, done)
            report(done, len(garbage))
    return collector.result()


@contextmanager
def _naming(store: DirectoryStore) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise store_unavailable(store.root, error) from error


class _Collector:
    """One collection: ``before`` (ns since 1970) is when what is removed was put, at the latest."""

    def __init__(self, store: DirectoryStore, before: int) -> None:
        self._store, self._before = store, before
        self._leases: set[str] = set()  # names of those that were looked at
        self._pins: set[str] = set()
        self._marked: set[bytes] = set()  # binary CIDs
        self._holes: set[Cid] = set()  # marked nodes that are missing or damaged
        self._found, self._removed = [0, 0], [0, 0]  # blocks, bytes

    def result(self) -> Collected:
        remaining = (found - removed for found, removed in zip(self._found, self._removed, strict=True))
        return Collected(*self._removed, *remaining)

    def find(self) -> list[Cid]:
        """Mark, and return what is garbage now: nodes before what they link to, leaves last."""
        self._look()
        old: list[Cid] = []
        young: list[Cid] = []
        for cid, stat in _block_files(self._store):
            self._found = [self._found[0] + 1, self._found[1] + stat.st_size]
            if cid.to_bytes() not in self._marked:
                (old if self._is_old(stat) else young).append(cid)
        for cid in young:
            self._mark(cid)  # what was put before it stays as long as it does
        garbage = [cid for cid in old if cid.to_bytes() not in self._marked]
        nodes = {cid: self._nodes_below(cid) for cid in garbage if cid.codec != RAW}
        parents_first = reversed(list(TopologicalSorter(nodes).static_order()))
        return [cid for cid in parents_first if cid in nodes] + [cid for cid in garbage if cid.codec == RAW]

    def remove(self, garbage: Sequence[Cid], start: int) -> int:
        """Remove, from ``start`` on, what still is garbage, while nobody begins to rely on it; say how many it was."""
        self._look()  # first without the gate, so that hardly anything is left to mark with it
        with hold_lock(self._store.gate, exclusive=True):
            end = time.monotonic() + _HOLD_SECONDS
            self._look()
            done = start
            while done < len(garbage) and (done == start or time.monotonic() < end):
                if garbage[done].to_bytes() not in self._marked:
                    self._remove(garbage[done])
                done += 1
        time.sleep(_PAUSE_SECONDS)
        return done - start

    def _remove(self, cid: Cid) -> None:
        path = self._store.path(cid)
        with contextlib.suppress(FileNotFoundError):
            stat = path.lstat()
            if not self._is_old(stat):
                self._mark(cid)  # somebody has just put it again
                return
            path.unlink()
            self._removed = [self._removed[0] + 1, self._removed[1] + stat.st_size]

    def _is_old(self, stat: os.stat_result) -> bool:
        return stat.st_mtime_ns < self._before

    def _look(self) -> None:
        """Mark from what has been kept, leased or, where it was missing, put since the last look."""
        # Leases come before pins: whoever keeps a tree ends its lease on it only when the pin is there.
        for lease in self._store.leases.live(self._leases):
            self._leases.add(lease.name)
            self._before = min(self._before, lease.start)
            for root in lease.roots:
                self._mark(root)
        for name in {path.name for path in self._store.pins.iterdir()} - self._pins:
            self._pins.add(name)
            if (pin := cid_of_file(name)) is not None:
                self._mark(pin)
        filled = [hole for hole in self._holes if self._store.path(hole).exists()]
        self._holes.difference_update(filled)
        self._mark_below(filled)

    def _mark(self, cid: Cid) -> None:
        self._mark_below(self._new([cid]))

    def _mark_below(self, nodes: Iterable[Cid]) -> None:
        """Mark everything below ``nodes``, which are marked themselves."""
        waiting = list(nodes)
        while waiting:
            cid = waiting.pop()
            try:
                children = child_cids(Block(cid, self._store.get_block(cid)))
            except (BlockMissing, BlockCorrupt):
                self._holes.add(cid)
            else:
                waiting += self._new(children)

    def _new(self, cids: Iterable[Cid]) -> list[Cid]:
        """Mark ``cids`` and return which of them are nodes that were not marked before."""
        nodes = []
        for cid in cids:
            key = cid.to_bytes()
            if key not in self._marked:
                self._marked.add(key)
                if cid.codec != RAW:
                    nodes.append(cid)
        return nodes

    def _nodes_below(self, cid: Cid) -> list[Cid]:
        try:
            children = child_cids(Block(cid, self._store.get_block(cid)))
        except (BlockMissing, BlockCorrupt):
            return []
        return [child for child in children if child.codec != RAW]


def _block_files(store: DirectoryStore) -> Iterator[tuple[Cid, os.stat_result]]:
    """Yield every regular file whose name and place are those of a block, unread."""
    for fan in sorted(entry.path for entry in os.scandir(store.blocks) if entry.is_dir()):
        with os.scandir(fan) as entries:
            for entry in entries:
                cid = cid_of_file(entry.name)
                if cid is None or store.path(cid) != Path(entry.path) or not entry.is_file(follow_symlinks=False):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    yield cid, entry.stat(follow_symlinks=False)
