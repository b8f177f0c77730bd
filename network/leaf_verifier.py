"""Leaves in a directory store that are hashed where they lie, several side by side in each of a few threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

from network.crew import Crew
from network.directory_store import DirectoryStore
from network.hashed_files import Hashed, hash_files
from network.store import ContentStore
from network.store_faults import store_unavailable
from network.verified_files import Look, look
from protocol.cid import Cid
from protocol.sha256_lanes import MOST_LANES, most_together, prepare, together
from protocol.unixfs import Leaf, read_leaf

_Group = tuple[Leaf, ...]  # leaves of one length, which are hashed side by side


def _no_end() -> float | None:
    return None


class LeafVerifier:
    """Finds out which leaves lie in ``local`` with the right bytes, and gets what does not from ``store``; one thread.

    Args:
        store: ``local`` itself, or what it is a layer of.
        workers: Threads that hash.
    """

    def __init__(self, store: ContentStore, local: DirectoryStore, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"{workers} workers hash nothing")
        self.looks: dict[Cid, Look] = {}  # of the files of verified leaves, when they were hashed
        self._store, self._local, self._workers = store, local, workers
        self._paths: dict[Cid, str] = {}  # spelling a CID takes longer than looking at its file

    def path(self, cid: Cid) -> str:
        """Return where the file of ``cid`` is or would be."""
        path = self._paths.get(cid)
        if path is None:
            path = self._paths[cid] = self._local.path_text(cid)
        return path

    def size_of(self, cid: Cid) -> int | None:
        """Return the bytes of the file of ``cid``, whatever it holds; None where there is none."""
        try:
            return os.stat(self.path(cid)).st_size  # noqa: PTH116 - a Path of each leaf is as slow
        except OSError:
            return None

    def take(self, cid: Cid) -> None:
        """Take note of a block that was just got from the store, and so verified, if it lies in ``local`` by now."""
        now = self._local.verified.unchanged(cid, self._local.path(cid))
        if now is not None:
            self.looks[cid] = now

    def verify(self, leaves: Iterable[Leaf], seconds_left: Callable[[], float | None] = _no_end) -> bool:
        """Hash those that are not verified yet, each once however often it is linked; say whether all are in ``local``.

        What is damaged or gone is got from the store; where that keeps it but ``local`` cannot, the answer is no.

        Raises:
            BlockMissing, BlockCorrupt, StoreUnavailable: The store has not got it.
            NotCanonical: A leaf has another size than is said of it.
            TimeoutError: The time is over.
        """
        waiting = {leaf.cid: leaf for leaf in leaves if leaf.cid not in self.looks}
        prepare(sum(leaf.size for leaf in waiting.values()))
        for leaf in self._hash(_groups(waiting.values(), self._workers), seconds_left):
            read_leaf(leaf, lambda cid: self._store.get_block(cid, seconds_left()))  # mends it, or says no
            self.take(leaf.cid)
        return all(cid in self.looks for cid in waiting)

    def _hash(self, groups: Sequence[_Group], seconds_left: Callable[[], float | None]) -> list[Leaf]:
        """Hash the leaves of ``groups`` and return those that are not as they must be, in their order in the file."""
        damaged: list[Leaf] = []
        crew: Crew[_Group, list[Hashed | None]] = Crew(self._hash_group, self._workers)
        try:
            for group in groups:
                crew.ask(group)
            for _ in groups:
                group, answer = crew.next(seconds_left())
                if isinstance(answer, OSError):
                    raise store_unavailable(self._local.root, answer) from answer
                if isinstance(answer, Exception):
                    raise answer
                damaged += [
                    leaf for leaf, hashed in zip(group, answer, strict=True) if not self._is_whole(leaf, hashed)
                ]
        finally:
            crew.dismiss()
        return sorted(damaged, key=lambda leaf: leaf.offset)

    def _hash_group(self, group: _Group) -> list[Hashed | None]:
        return hash_files([self.path(leaf.cid) for leaf in group], group[0].size)

    def _is_whole(self, leaf: Leaf, hashed: Hashed | None) -> bool:
        if hashed is None or hashed[0] != leaf.cid.digest:
            return False
        self.looks[leaf.cid] = look(hashed[1])
        self._local.verified.remember(leaf.cid, hashed[1])
        return True


def _groups(leaves: Iterable[Leaf], workers: int) -> list[_Group]:
    """Divide leaves of each length into groups that fill all lanes, or the fewest where some workers would else have none."""
    lengths: dict[int, list[Leaf]] = {}
    for leaf in leaves:
        lengths.setdefault(leaf.size, []).append(leaf)
    groups: list[_Group] = []
    for length, some in lengths.items():
        least, most = together(length), most_together(length)
        if most == 1:  # hashlib takes one after another anyway
            least, most = MOST_LANES // 2, MOST_LANES
        most = most if len(some) > least * workers else least
        groups += [tuple(some[at : at + most]) for at in range(0, len(some), most)]
    return groups
