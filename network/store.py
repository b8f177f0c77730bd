"""What a content store is, how one is named in the settings, and how whole artifacts go in and out of any of them."""

from __future__ import annotations

import enum
import io
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from network.directory_store import DirectoryStore
from network.memory_store import MemoryStore
from protocol.artifact import load_directory
from protocol.cid import Cid
from protocol.errors import ArtifactRefused, BlockCorrupt, BlockMissing, InvalidInput
from protocol.types import Digest
from protocol.unixfs import Block, import_directory, import_file, read_file

PATIENCE_SECONDS = 30.0  # after which a block that nobody gave counts as missing
PROBE_WORKERS = 32  # they wait for a network far more than they work


class ContentStore(Protocol):
    """A place of blocks. Whatever it does inside, it gives only verified bytes and raises only these errors."""

    def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
        """Return the verified bytes of ``cid``; raises BlockMissing, BlockCorrupt, StoreUnavailable.

        A store that asks others looks no longer than ``seconds``, where given, and never longer than its own limit.
        """
        ...

    def put_block(self, block: Block) -> None:
        """Keep ``block``, durably where the store is durable; idempotent; raises BlockCorrupt, StoreUnavailable."""
        ...

    def has_block(self, cid: Cid) -> bool:
        """Say whether the block is in this store, without asking any other; raises StoreUnavailable."""
        ...

    def keep(self, cid: Cid) -> None:
        """Protect the complete tree of ``cid`` from garbage collection; raises BlockMissing, StoreUnavailable."""
        ...


def open_store(url: str) -> ContentStore:
    """Return the store that ``url`` names.

    ``dir:/var/lib/rondo/blocks`` is a directory on disk, ``memory:`` a new empty store in memory, and
    ``kubo:/ip4/127.0.0.1/tcp/5001`` the API of a Kubo node by its multiaddress.

    Raises:
        InvalidInput: It names none.
        StoreUnavailable: The directory cannot be created or written.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "dir" and rest:
        return DirectoryStore(Path(rest).expanduser())
    if scheme == "memory" and not rest:
        return MemoryStore()
    if scheme == "kubo" and rest:
        from network.ipfs import KuboStore  # the client library takes a third of a second to import

        return KuboStore(rest)
    raise InvalidInput(
        f"{url!r} names no content store.", "Unknown form.", "Use dir:/path, memory: or kubo:/ip4/127.0.0.1/tcp/5001."
    )


def publish(store: ContentStore, files: Mapping[str, bytes]) -> Digest:
    """Put the artifact of ``files`` (content by name) into ``store`` and return its digest.

    The directory's own block is put last, so whoever finds it finds everything below it.

    Raises:
        InvalidInput: As ``protocol.unixfs.import_directory``.
        StoreUnavailable: The store failed; what is already in it does no harm, and trying again completes it.
    """
    root = import_directory(files, store.put_block)
    store.keep(root.cid)
    return root.cid.digest


def fetch(store: ContentStore, digest: Digest, limit: int) -> dict[str, bytes]:
    """Return the files of the artifact ``digest``, at most ``limit`` bytes; raises as ``load_directory``."""
    return load_directory(digest, store.get_block, limit)


def publish_file(store: ContentStore, data: bytes) -> Cid:
    """Put one file into ``store`` and return its CID; raises StoreUnavailable."""
    cid = import_file(io.BytesIO(data), store.put_block).cid
    store.keep(cid)
    return cid


def fetch_file(store: ContentStore, cid: Cid, limit: int) -> bytes:
    """Return the bytes of the file ``cid``, at most ``limit``; raises as ``protocol.unixfs.read_file``."""
    return read_file(cid, store.get_block, limit)


def probe(
    store: ContentStore,
    digests: Iterable[Digest],
    limit: int,
    seconds: float,
    *,
    patience: float = PATIENCE_SECONDS,
    workers: int = PROBE_WORKERS,
) -> set[Digest]:
    """Return those of ``digests`` whose artifacts are public: they can be fetched whole, or what is there is refused.

    All are looked for side by side and in passes that grow longer, so withheld artifacts neither add up nor keep the
    others from being found: whoever is there is found in the first pass, whatever the others cost.

    Args:
        limit: Most content bytes of one artifact.
        seconds: When all looking ends, but for what one call to the store takes over its time; what is not found by
            then is not in the result. It ends sooner where every missing block was looked for with full patience.
        patience: Seconds that one block is looked for at most.

    Raises:
        StoreUnavailable: The store does not answer, so nothing can be said about what is missing.
    """
    end = time.monotonic() + seconds
    found: set[Digest] = set()
    waiting = list(dict.fromkeys(digests))
    rows = -(-len(waiting) // workers)
    length = min(1.0, seconds / 4 / max(rows, 1))  # so short that the first pass, of 2 * length a row, reaches them all
    with ThreadPoolExecutor(max_workers=workers) as pool:
        while waiting and time.monotonic() < end and length < 2 * max(seconds, patience):

            def look(digest: Digest, length: float = length) -> _Look:
                until = min(end, time.monotonic() + 2 * length)
                return _look(store, digest, limit, until, min(length, patience), patience)

            try:
                looks = dict(zip(waiting, pool.map(look, waiting), strict=True))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            found |= {digest for digest, what in looks.items() if what is _Look.FOUND}
            waiting = [digest for digest, what in looks.items() if what is _Look.UNFINISHED]
            length *= 2
    return found


class _Look(enum.Enum):
    """What one look at an artifact said; UNFINISHED: its time was too short to say that a block is missing."""

    FOUND = enum.auto()
    MISSING = enum.auto()
    UNFINISHED = enum.auto()


def _look(store: ContentStore, digest: Digest, limit: int, until: float, search: float, patience: float) -> _Look:
    """Fetch ``digest`` until the monotonic time ``until``, looking for each block ``search`` seconds."""
    patient = False  # whether the last block was looked for with full patience

    def get(cid: Cid) -> bytes:
        nonlocal patient
        left = until - time.monotonic()
        patient = min(left, search) >= patience
        if left <= 0:
            raise BlockMissing(str(cid))
        return store.get_block(cid, min(left, search))

    try:
        load_directory(digest, get, limit)
    except ArtifactRefused:
        return _Look.FOUND  # a verdict on what was published, for others to reach
    except (BlockMissing, BlockCorrupt):
        return _Look.MISSING if patient else _Look.UNFINISHED
    return _Look.FOUND
