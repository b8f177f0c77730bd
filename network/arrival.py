"""Artifacts that stay where they arrived: verified once, in the blocks of a directory store, and read when they are used.

Merging reads hundreds of updates piece by piece, so none of them is held in memory. What is missing is fetched into the
directory first, as ``network.transfer.fetch`` fetches. Then its leaves are hashed there, several side by side in each of
a few threads (network/hashed_files.py), and the nodes above them are made again from their CIDs and sizes: so an
artifact is canonical, or refused as ``fetch`` refuses it, and no leaf is hashed twice.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing

from network.crew import Crew
from network.directory_store import DirectoryStore
from network.hashed_files import Hashed, hash_files
from network.layered_store import LayeredStore
from network.progress import OnProgress, silent
from network.reader import Arrival, Reader
from network.store import ContentStore
from network.store_faults import store_unavailable
from network.stored_content import LeafContent
from network.transfer import fetch, fetch_file
from network.verified_files import Look, look
from protocol.artifact import check_leaves
from protocol.cid import RAW, Cid, directory_cid
from protocol.content import Content, Held, held
from protocol.errors import ContentError, StoreUnavailable
from protocol.sha256_lanes import MOST_LANES, prepare
from protocol.types import Digest
from protocol.unixfs import CHUNK, Leaf, Link, file_leaves, read_leaf

WORKERS = 2  # threads that hash: memory's bandwidth is used up by about as many

_Group = tuple[Leaf, ...]  # leaves of one length, which are hashed side by side


def open_artifact(
    store: ContentStore,
    digest: Digest,
    limit: int,
    *,
    workers: int = WORKERS,
    seconds: float | None = None,
    on_progress: OnProgress = silent,
) -> dict[str, Content]:
    """Return the files of the artifact ``digest``, at most ``limit`` bytes, verified and canonical.

    Their bytes stay in the directory store that ``store`` is, or that is one of its layers; where there is none, or it
    takes no more, they are held in memory. Whoever reads them later holds a lease on the directory as long
    (``store.lease``), so that no collector takes them meanwhile.

    Args:
        workers: Threads that hash what is there; each holds 1 MiB.
        seconds: How long fetching and hashing may last; None is as long as each block comes within the store's limit.
        on_progress: Takes the bytes that are there, and those that will be.

    Raises:
        StoreUnavailable: Also when ``seconds`` are over.
        ValueError: There are no workers.
        All else as ``network.transfer.fetch``; of several faults it may name another one than that does.
    """
    cid, local = directory_cid(digest), _directory_of(store)
    if local is not None:
        opening = _Opening(store, local, workers, seconds, on_progress)
        with store.lease(cid):
            files = opening.artifact(digest, limit)
        if files is not None:
            return files
        seconds = opening.seconds_left()
    return dict(held(fetch(store, digest, limit, seconds=seconds, on_progress=on_progress)))


def open_file(
    store: ContentStore,
    cid: Cid,
    limit: int,
    *,
    workers: int = WORKERS,
    seconds: float | None = None,
    on_progress: OnProgress = silent,
) -> Content:
    """Return the file ``cid``, at most ``limit`` bytes, as ``open_artifact``; raises as ``network.transfer.fetch_file``."""
    local = _directory_of(store)
    if local is not None:
        opening = _Opening(store, local, workers, seconds, on_progress)
        with store.lease(cid):
            file = opening.file(cid, limit)
        if file is not None:
            return file
        seconds = opening.seconds_left()
    return Held(fetch_file(store, cid, limit, seconds=seconds, on_progress=on_progress))


def _directory_of(store: ContentStore) -> DirectoryStore | None:
    sources = store.sources if isinstance(store, LayeredStore) else (store,)
    return next((source for source in sources if isinstance(source, DirectoryStore)), None)


class _Opening:
    """One artifact or file on its way to being verified contents in ``local``."""

    def __init__(
        self, store: ContentStore, local: DirectoryStore, workers: int, seconds: float | None, on_progress: OnProgress
    ) -> None:
        if workers < 1:
            raise ValueError(f"{workers} workers hash nothing")
        self._store, self._local, self._workers, self._seconds = store, local, workers, seconds
        self._on_progress = on_progress
        self._reader = Reader(store, seconds=seconds, on_progress=self._arrived)
        self._found = 0  # bytes of files that were here, of which the reader does not know
        self._looks: dict[Cid, Look] = {}  # of what is verified
        self._paths: dict[Cid, str] = {}  # spelling a CID takes longer than looking at its file

    def seconds_left(self) -> float | None:
        """Return what is left of the time, at least 0; None where it has no end."""
        return self._reader.seconds_left()

    def artifact(self, digest: Digest, limit: int) -> dict[str, Content] | None:
        """Return the files; None where ``local`` took not all of them."""
        cid = directory_cid(digest)
        links = self._reader.directory(cid, limit)
        total = sum(link.size for link in links.values())
        files = {name: self._linked(link, total) for name, link in links.items()}
        if not self._verify(cid, (leaf for leaves in files.values() for leaf in leaves)):
            return None
        check_leaves(digest, files)
        return {name: self._content(leaves) for name, leaves in files.items()}

    def file(self, cid: Cid, limit: int) -> Content | None:
        """Return the file; None where ``local`` took not all of it."""
        leaves = self._listed(cid, limit)
        if leaves is None:
            leaves = self._fetched(self._reader.leaves(cid, limit, self._is_here))
        else:
            self._on_progress(_size(leaves), _size(leaves))
        return self._content(leaves) if self._verify(cid, leaves) else None

    def _content(self, leaves: Sequence[Leaf]) -> Content:
        return LeafContent(leaves, self._looks, self._local, self._store, [self._path(leaf.cid) for leaf in leaves])

    # --- which leaves there are, and that they are here ---

    def _linked(self, link: Link, total: int) -> list[Leaf]:
        # a raw file's true length shows only when it is read: one leaf is allowed, making the nodes again finds the lie
        leaves = self._listed(link.cid, max(link.size, CHUNK))
        if leaves is None:
            return self._fetched(self._reader.linked_leaves(link, self._is_here))
        self._found += _size(leaves)
        self._arrived(0, total)
        return leaves

    def _listed(self, cid: Cid, limit: int) -> list[Leaf] | None:
        """Return the leaves of the file, none verified; None where one is missing, or anything else is amiss."""
        if cid.codec == RAW:
            size = self._size_of(cid)
            return None if size is None or size > min(limit, CHUNK) else [Leaf(cid, 0, size)]
        try:
            leaves = list(file_leaves(cid, self._reader.top, limit))
        except ContentError:
            return None
        return leaves if all(map(self._is_here, leaves)) else None

    def _fetched(self, arrivals: Generator[Arrival, None, None]) -> list[Leaf]:
        """Return the leaves as they come, in order; those that came from elsewhere are verified, and written by now."""
        leaves: list[Leaf] = []
        with closing(arrivals):
            for leaf, data in arrivals:
                leaves.append(leaf)
                if data is not None:
                    self._take_look(leaf.cid)
        return sorted(leaves, key=lambda leaf: leaf.offset)

    def _is_here(self, leaf: Leaf) -> bool:
        return self._size_of(leaf.cid) == leaf.size

    def _size_of(self, cid: Cid) -> int | None:
        try:
            return os.stat(self._path(cid)).st_size  # noqa: PTH116 - a Path of each leaf is as slow
        except OSError:
            return None

    def _path(self, cid: Cid) -> str:
        path = self._paths.get(cid)
        if path is None:
            path = self._paths[cid] = str(self._local.path(cid))
        return path

    def _take_look(self, cid: Cid) -> None:
        """Note how the file of a block that was just got from the store, and so verified, looks."""
        now = self._local.verified.unchanged(cid, self._local.path(cid))
        if now is not None:
            self._looks[cid] = now

    def _arrived(self, done: int, total: int) -> None:
        self._on_progress(self._found + done, total)

    # --- verifying ---

    def _verify(self, cid: Cid, leaves: Iterable[Leaf]) -> bool:
        """Hash what has not been hashed, each leaf once however often it is linked; say whether all of it is here."""
        waiting = {leaf.cid: leaf for leaf in leaves if leaf.cid not in self._looks}
        prepare(_size(waiting.values()))
        damaged = self._hash(cid, _groups(waiting.values(), self._workers))
        for leaf in sorted(damaged, key=lambda leaf: leaf.offset):
            read_leaf(leaf, lambda one: self._store.get_block(one, self.seconds_left()))  # mends it, or says no
            self._take_look(leaf.cid)
        return all(one in self._looks for one in waiting)

    def _hash(self, cid: Cid, groups: Sequence[_Group]) -> list[Leaf]:
        """Hash the leaves of ``groups`` and return those that are not as they must be."""
        damaged: list[Leaf] = []
        crew: Crew[_Group, list[Hashed | None]] = Crew(self._hash_group, self._workers)
        try:
            for group in groups:
                crew.ask(group)
            for _ in groups:
                group, answer = crew.next(self.seconds_left())
                if isinstance(answer, OSError):
                    raise store_unavailable(self._local.root, answer) from answer
                if isinstance(answer, Exception):
                    raise answer
                damaged += [
                    leaf for leaf, hashed in zip(group, answer, strict=True) if not self._is_whole(leaf, hashed)
                ]
        except TimeoutError as error:
            raise self._too_late(cid) from error
        finally:
            crew.dismiss()
        return damaged

    def _hash_group(self, group: _Group) -> list[Hashed | None]:
        return hash_files([self._path(leaf.cid) for leaf in group], group[0].size)

    def _is_whole(self, leaf: Leaf, hashed: Hashed | None) -> bool:
        if hashed is None or hashed[0] != leaf.cid.digest:
            return False
        self._looks[leaf.cid] = look(hashed[1])
        self._local.verified.remember(leaf.cid, hashed[1])
        return True

    def _too_late(self, cid: Cid) -> StoreUnavailable:
        return StoreUnavailable(
            f"{cid} was not verified within {self._seconds:g} seconds.",
            f"It lies in {self._local.name}.",
            "Allow more time.",
        )


def _size(leaves: Iterable[Leaf]) -> int:
    return sum(leaf.size for leaf in leaves)


def _groups(leaves: Iterable[Leaf], workers: int) -> list[_Group]:
    """Divide leaves of each length into groups that fill 16 lanes, or 8 where some workers would else have none."""
    lengths: dict[int, list[Leaf]] = {}
    for leaf in leaves:
        lengths.setdefault(leaf.size, []).append(leaf)
    groups: list[_Group] = []
    for some in lengths.values():
        most = MOST_LANES if len(some) > MOST_LANES // 2 * workers else MOST_LANES // 2
        groups += [tuple(some[at : at + most]) for at in range(0, len(some), most)]
    return groups
