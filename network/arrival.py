"""Artifacts that stay where they arrived: verified once, in the blocks of a directory store, and read when they are used.

Merging reads hundreds of updates piece by piece, so none of them is held in memory. What is missing is fetched into the
directory first, as ``network.transfer.fetch`` fetches. Then its leaves are hashed there (network/leaf_verifier.py), and
the nodes above them are made again from their CIDs and sizes: so an artifact is canonical, or refused as ``fetch``
refuses it, and no leaf is hashed twice.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing

from network.directory_store import DirectoryStore
from network.layered_store import LayeredStore
from network.leaf_verifier import LeafVerifier
from network.progress import OnProgress, silent
from network.reader import Arrival, Reader
from network.store import ContentStore
from network.stored_content import LeafContent
from network.transfer import fetch, fetch_file
from protocol.artifact import check_leaves
from protocol.cid import RAW, Cid, directory_cid
from protocol.content import Content, Held, held
from protocol.errors import ContentError, StoreUnavailable
from protocol.sha256_lanes import MOST_LANES
from protocol.types import Digest
from protocol.unixfs import CHUNK, Leaf, Link, file_leaves

WORKERS = 2  # threads that hash: about as many use up the bandwidth of a small machine's memory


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
    local = directory_of(store)
    if local is not None:
        opening = _Opening(store, LeafVerifier(store, local, workers), seconds)
        with store.lease(directory_cid(digest)):
            opening.list_directory(digest, limit)
            opening.list_leaves(on_progress)
            is_here = opening.verify()
        if is_here:
            return opening.artifact(digest, local)
        seconds = opening.seconds_left()
    return dict(held(fetch(store, digest, limit, seconds=seconds, on_progress=on_progress)))


def open_artifacts(
    store: ContentStore,
    digests: Sequence[Digest],
    limit: int,
    *,
    workers: int = WORKERS,
    on_progress: OnProgress = silent,
) -> list[dict[str, Content]]:
    """Return the files of each artifact as ``open_artifact``, hashing leaves of several artifacts side by side.

    So all lanes are full, some of which the last leaves of each small artifact would leave empty.

    Args:
        limit: Of the bytes of each.

    Raises:
        All that ``open_artifact`` raises; of artifacts that are at fault it need not name the first.
    """
    local = directory_of(store)
    if local is None:
        return [open_artifact(store, digest, limit, workers=workers) for digest in digests]
    verifier = LeafVerifier(store, local, workers)
    with store.lease(*map(directory_cid, digests)):
        openings = _opened(store, verifier, digests, limit, on_progress)
        is_here = verifier.verify(leaf for opening in openings for leaf in opening.leaves())
    if not is_here:
        return [open_artifact(store, digest, limit, workers=workers) for digest in digests]
    return [opening.artifact(digest, local) for opening, digest in zip(openings, digests, strict=True)]


class Arrived:
    """Artifacts whose files are there, though most of their leaves may be verified only when they are read.

    Args:
        files: Those of each artifact.
    """

    def __init__(self, files: list[dict[str, Content]], verifier: LeafVerifier | None = None) -> None:
        self.files, self._verifier = files, verifier

    def verify(self) -> None:
        """Verify what nobody has read; raises as `open_artifacts`. What was read needs nothing: it is verified."""
        contents = (file for files in self.files for file in files.values() if isinstance(file, LeafContent))
        left = [leaf for content in contents for leaf in content.unverified()]
        if left and self._verifier is not None:
            self._verifier.verify(left)


def await_artifacts(
    store: ContentStore,
    digests: Sequence[Digest],
    limit: int,
    *,
    workers: int = WORKERS,
    on_progress: OnProgress = silent,
) -> Arrived:
    """As `open_artifacts`, for whoever reads the artifacts side by side (`protocol.content.read_together`), and all of them.

    Only the first leaf of each file is verified now, and all of them where the lanes of sha-256 would not be filled by one
    leaf of each artifact. Their sizes and names are checked: of the rest a lie shows when it is read, or by `Arrived.verify`.
    """
    local = directory_of(store)
    if local is None or not _fill_lanes(len(digests)):
        return Arrived(open_artifacts(store, digests, limit, workers=workers, on_progress=on_progress))
    verifier = LeafVerifier(store, local, workers)
    with store.lease(*map(directory_cid, digests)):
        openings = _opened(store, verifier, digests, limit, on_progress)
        is_here = verifier.verify(leaf for opening in openings for leaf in opening.leaves() if leaf.offset == 0)
    if not is_here:
        return Arrived([open_artifact(store, digest, limit, workers=workers) for digest in digests])
    found = [opening.artifact(digest, local) for opening, digest in zip(openings, digests, strict=True)]
    return Arrived(found, verifier)


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
    local = directory_of(store)
    if local is not None:
        opening = _Opening(store, LeafVerifier(store, local, workers), seconds)
        with store.lease(cid):
            opening.list_file(cid, limit, on_progress)
            is_here = opening.verify()
        if is_here:
            return opening.file(local)
        seconds = opening.seconds_left()
    return Held(fetch_file(store, cid, limit, seconds=seconds, on_progress=on_progress))


def directory_of(store: ContentStore) -> DirectoryStore | None:
    """Return the directory store that ``store`` is or has as a layer; None where there is none."""
    sources = store.sources if isinstance(store, LayeredStore) else (store,)
    return next((source for source in sources if isinstance(source, DirectoryStore)), None)


def _opened(
    store: ContentStore, verifier: LeafVerifier, digests: Sequence[Digest], limit: int, on_progress: OnProgress
) -> list[_Opening]:
    """Return each artifact with its leaves, fetched where they were missing."""
    openings = [_Opening(store, verifier, None) for _ in digests]
    sizes = [opening.list_directory(digest, limit) for opening, digest in zip(openings, digests, strict=True)]
    for number, opening in enumerate(openings):
        opening.list_leaves(_shifted(on_progress, sum(sizes[:number]), sum(sizes)))
    return openings


def _fill_lanes(count: int) -> bool:
    """Say whether one leaf of each of ``count`` artifacts leaves at most a quarter of the lanes of sha-256 empty."""
    return 4 * count >= 3 * MOST_LANES * -(-count // MOST_LANES) > 0


def _shifted(on_progress: OnProgress, before: int, total: int) -> OnProgress:
    return lambda done, _: on_progress(before + done, total)


class _Opening:
    """One artifact or file on its way to being verified contents."""

    def __init__(self, store: ContentStore, verifier: LeafVerifier, seconds: float | None) -> None:
        self._store, self._verifier, self._seconds = store, verifier, seconds
        self._reader = Reader(store, seconds=seconds, on_progress=self._arrived)
        self._on_progress: OnProgress = silent
        self._found = 0  # bytes of files that were here, of which the reader does not know
        self._came = 0  # bytes that came to the reader
        self._cid: Cid | None = None
        self._links: dict[str, Link] = {}
        self._files: dict[str, list[Leaf]] = {}  # the leaves of each file, which is called "" where it is alone

    def seconds_left(self) -> float | None:
        """Return what is left of the time, at least 0; None where it has no end."""
        return self._reader.seconds_left()

    # --- which leaves there are, and that they are here ---

    def list_directory(self, digest: Digest, limit: int) -> int:
        """Look at the top nodes alone; return the bytes that they declare."""
        self._cid = directory_cid(digest)
        self._links = self._reader.directory(self._cid, limit)
        return sum(link.size for link in self._links.values())

    def list_leaves(self, on_progress: OnProgress) -> None:
        """Find the leaves of the directory's files, and fetch what is missing."""
        self._on_progress = on_progress
        total = sum(link.size for link in self._links.values())
        for name, link in self._links.items():
            # a raw file's true length shows only when it is read: one leaf is allowed, making the nodes finds the lie
            leaves = self._listed(link.cid, max(link.size, CHUNK))
            if leaves is None:
                leaves = self._fetched(self._reader.linked_leaves(link, self._is_here))
            else:
                self._found += _size(leaves)
                self._arrived(0, total)
            self._files[name] = leaves

    def list_file(self, cid: Cid, limit: int, on_progress: OnProgress) -> None:
        """Find the leaves of the file ``cid``, and fetch what is missing."""
        self._cid, self._on_progress = cid, on_progress
        leaves = self._listed(cid, limit)
        if leaves is None:
            leaves = self._fetched(self._reader.leaves(cid, limit, self._is_here))
        else:
            self._on_progress(_size(leaves), _size(leaves))
        self._files[""] = leaves

    def leaves(self) -> Iterable[Leaf]:
        """Return the leaves of all files."""
        return (leaf for leaves in self._files.values() for leaf in leaves)

    def _listed(self, cid: Cid, limit: int) -> list[Leaf] | None:
        """Return the leaves of the file, none verified; None where one is missing, or anything else is amiss."""
        if cid.codec == RAW:
            size = self._verifier.size_of(cid)
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
                    self._verifier.take(leaf.cid)
        return sorted(leaves, key=lambda leaf: leaf.offset)

    def _is_here(self, leaf: Leaf) -> bool:
        return self._verifier.size_of(leaf.cid) == leaf.size

    def _arrived(self, done: int, total: int) -> None:
        self._came = max(self._came, done)
        self._on_progress(self._found + self._came, total)

    # --- what it becomes ---

    def verify(self) -> bool:
        """Hash what was not hashed when it came; say whether all of it lies in the directory store."""
        try:
            return self._verifier.verify(self.leaves(), self.seconds_left)
        except TimeoutError as error:
            raise StoreUnavailable(
                f"{self._cid} was not verified within {self._seconds:g} seconds.",
                f"It is in {self._store.name}.",
                "Allow more time.",
            ) from error

    def artifact(self, digest: Digest, local: DirectoryStore) -> dict[str, Content]:
        """Return the files, if they are those of the one canonical tree."""
        check_leaves(digest, self._files)
        return {name: self._content(leaves, local) for name, leaves in self._files.items()}

    def file(self, local: DirectoryStore) -> Content:
        """Return the file that is alone."""
        return self._content(self._files[""], local)

    def _content(self, leaves: Sequence[Leaf], local: DirectoryStore) -> Content:
        paths = [self._verifier.path(leaf.cid) for leaf in leaves]
        return LeafContent(leaves, self._verifier.looks, local, self._store, paths)


def _size(leaves: Iterable[Leaf]) -> int:
    return sum(leaf.size for leaf in leaves)
