"""The engine behind every fetch of a whole file or artifact: several leaves at once, from any source of blocks.

What a tree declares is known, and refused where it is over the limit, before a leaf is asked for. Never are more leaves
under way than a window holds, so memory is a few blocks whatever the size of the file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from typing import TypeAlias

from network.crew import Crew
from network.progress import OnProgress, silent
from network.store import BlockSource
from protocol.cid import DAG_PB, RAW, Cid
from protocol.dag_pb import decode_node
from protocol.errors import ContentError, NotCanonical, StoreUnavailable
from protocol.unixfs import CHUNK, Leaf, Link, file_leaves, list_directory, read_leaf

WORKERS = 8  # leaves that are asked for at once
WINDOW = 16  # leaves under way: some have come and wait to be taken, so that no worker waits for who takes them

GRACE_SECONDS = 0.25  # for a source that keeps to its time to say what it found
Arrival: TypeAlias = tuple[Leaf, bytes | None]


def _nothing(leaf: Leaf) -> bool:
    return False


class Reader:
    """One fetch from ``source``, which verifies what it gives: each block is hashed once, by the worker that got it.

    Args:
        seconds: How long the whole fetch may last; None is as long as every block comes within the source's own limit.
        on_progress: Told after each leaf that was taken, by the thread that takes them.
    """

    def __init__(self, source: BlockSource, *, seconds: float | None = None, on_progress: OnProgress = silent) -> None:
        self._source, self._seconds, self._on_progress = source, seconds, on_progress
        self._until = None if seconds is None else time.monotonic() + seconds
        self._tops: dict[Cid, bytes] = {}  # blocks that were looked at and will be read again
        self._done, self._total, self._node_bytes = 0, 0, 0

    def seconds_left(self) -> float | None:
        """Return what is left of the fetch's time, at least 0; None where it has no end."""
        return None if self._until is None else max(self._until - time.monotonic(), 0.0)

    def directory(self, cid: Cid, limit: int) -> dict[str, Link]:
        """Return the files of the artifact directory ``cid``; raises as ``protocol.unixfs.list_directory``."""
        links = list_directory(cid, self.top, limit)
        self._total = sum(link.size for link in links.values())
        return links

    def leaves(self, cid: Cid, limit: int, have: Callable[[Leaf], bool] = _nothing) -> Generator[Arrival, None, None]:
        """Yield each leaf of the file ``cid`` with its verified bytes as they come, in any order.

        A refusal of the tree ends this at once: it is a fact, whatever else may come. Any other error waits for the
        leaves before it, so that whoever withholds a block cannot hide what must be refused.

        Args:
            have: Says, asked by a worker, whether the caller has the leaf already; then it comes without bytes.

        Raises:
            BlockMissing, BlockCorrupt, StoreUnavailable: From the source; StoreUnavailable also when the time is over.
            TooLarge: The file has more than ``limit`` bytes; no leaf was asked for.
            NotCanonical: As ``protocol.unixfs.read_file``.
        """
        try:
            for arrival in self._arrivals(cid, limit, have):
                yield arrival
                self._done += arrival[0].size
                self._on_progress(self._done, self._total)
        except (ContentError, TimeoutError) as error:
            if self.seconds_left() != 0:
                raise
            raise self._too_late(cid, error) from error
        finally:
            self._tops.pop(cid, None)

    def linked_leaves(self, link: Link, have: Callable[[Leaf], bool] = _nothing) -> Generator[Arrival, None, None]:
        """Yield the leaves of a file of ``directory`` as ``leaves``; raises as that.

        NotCanonical also, at the end, where the directory says another size in all (Tsize) than the file has.
        """
        content, self._node_bytes = 0, 0
        # a raw file's true length shows only when it is read: one leaf is allowed, the comparison finds the lie
        for leaf, data in self.leaves(link.cid, max(link.size, CHUNK), have):
            yield leaf, data
            content += leaf.size
        if content + self._node_bytes != link.total_size:
            raise NotCanonical(
                f"{link.cid} is not canonical:",
                f"its directory says {link.total_size} bytes in all, there are {content + self._node_bytes}.",
                "Import the content again with the profile unixfs-v1-2025.",
            )

    def _arrivals(self, cid: Cid, limit: int, have: Callable[[Leaf], bool]) -> Iterator[Arrival]:
        top = self.top(cid)
        self._total = self._total or (len(top) if cid.codec == RAW else decode_node(top).size)
        leaves = file_leaves(cid, self._node, limit)
        if cid.codec == RAW:
            yield from ((leaf, top) for leaf in leaves)
            return
        flight = _Flight(lambda leaf: None if have(leaf) else self._leaf(leaf))
        try:
            while flight.fill(leaves):
                arrival = flight.land(self.seconds_left())
                if arrival is not None:
                    yield arrival
        finally:
            flight.end()

    def _node(self, cid: Cid) -> bytes:
        data = self._get(cid)
        self._node_bytes += len(data) if cid.codec == DAG_PB else 0
        return data

    def _get(self, cid: Cid) -> bytes:
        data = self._tops.get(cid)
        return self._source.get_block(cid, self.seconds_left()) if data is None else data

    def top(self, cid: Cid) -> bytes:
        """Return the block ``cid``, which will be read again; raises as ``BlockSource.get_block``."""
        self._tops[cid] = self._get(cid)
        return self._tops[cid]

    def _leaf(self, leaf: Leaf) -> bytes:
        data = self._get(leaf.cid)
        return data if len(data) == leaf.size else read_leaf(leaf, lambda _: data)  # which refuses it

    def _too_late(self, cid: Cid, error: Exception) -> StoreUnavailable:
        said = f" The last word: {error.what}" if isinstance(error, ContentError) else ""
        return StoreUnavailable(
            f"{cid} did not come from {self._source.name} within {self._seconds:g} seconds.",
            f"{self._done} of {self._total} bytes came.{said}",
            "Allow more time, or add another source.",
        )


class _Flight:
    """The leaves of one file that are under way, and the first of them in order that cannot come.

    Args:
        obtain: Gets one leaf; called by workers.
    """

    def __init__(self, obtain: Callable[[Leaf], bytes | None]) -> None:
        self._crew = Crew(obtain, WORKERS)
        self._offsets: set[int] = set()  # of the leaves under way; they tell the order
        self._end = 0  # where the next leaf begins
        self._failure: tuple[int, ContentError] | None = None

    def fill(self, leaves: Iterator[Leaf]) -> bool:
        """Ask for more until the window is full; return whether anything is under way.

        Raises:
            ContentError: A leaf, or the node above the next one, cannot come, and all before it have.
            ArtifactRefused: From ``leaves``.
        """
        while self._failure is None and len(self._offsets) < WINDOW:
            try:
                leaf = next(leaves)
            except StopIteration:
                break
            except ContentError as error:
                self._failure = self._end, error
            else:
                self._offsets.add(leaf.offset)
                self._end = leaf.offset + leaf.size
                self._crew.ask(leaf)
        if self._failure is not None and self._failure[0] < min(self._offsets, default=self._end + 1):
            raise self._failure[1]
        return bool(self._offsets)

    def land(self, seconds: float | None) -> Arrival | None:
        """Return the next leaf that comes, None where it cannot.

        Raises:
            TimeoutError: Nothing came for ``seconds`` and a little more, or they are 0.
            ArtifactRefused, OSError and all else but ContentError: As ``obtain``, at once.
        """
        leaf, answer = self._crew.next(seconds and seconds + GRACE_SECONDS)
        self._offsets.remove(leaf.offset)
        if isinstance(answer, ContentError):
            self._crew.drop()  # what no worker has begun is behind this one
            if self._failure is None or leaf.offset < self._failure[0]:
                self._failure = leaf.offset, answer
            return None
        if isinstance(answer, Exception):
            raise answer
        return leaf, answer

    def end(self) -> None:
        """Want nothing any more; workers that wait for a source are left behind."""
        self._crew.dismiss()
