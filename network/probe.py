"""Looking whether many artifacts are public, side by side."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from network.store import BlockSource
from protocol.cid import Cid, directory_cid
from protocol.errors import ArtifactRefused, BlockCorrupt, BlockMissing, SearchUnfinished, StoreUnavailable
from protocol.types import Digest
from protocol.unixfs import CHUNK, Get, file_leaves, list_directory

PATIENCE_SECONDS = 30.0  # after which a block that nobody gave counts as missing
PROBE_WORKERS = 32  # they wait for a network far more than they work


def probe(
    store: BlockSource,
    digests: Iterable[Digest],
    limit: int,
    seconds: float,
    *,
    patience: float = PATIENCE_SECONDS,
    workers: int = PROBE_WORKERS,
    on_found: Callable[[set[Digest]], None] = lambda found: None,
) -> set[Digest]:
    """Return those of ``digests`` whose artifacts are public: they can be fetched whole, or what is there is refused.

    All are looked for side by side and in passes that grow longer, so withheld artifacts neither add up nor keep the
    others from being found: whoever is there is found in the first pass, whatever the others cost.

    Args:
        limit: Most content bytes of one artifact.
        seconds: When all looking ends, but for what one call to the store takes over its time; what is not found by
            then is not in the result. It ends sooner where every missing block was looked for with full patience.
        patience: Seconds that one block is looked for at most.
        on_found: Told after each pass what it found, also before this raises: who is there is there.

    Raises:
        StoreUnavailable: The store does not answer, so nothing can be said about what is missing.
        SearchUnfinished: The same, of one artifact at least; all others were looked for.
    """
    end = time.monotonic() + seconds
    found: set[Digest] = set()
    failures: list[StoreUnavailable] = []
    unsure: dict[Digest, SearchUnfinished] = {}  # the last look at them ended before the store had an answer
    waiting = list(dict.fromkeys(digests))
    rows = -(-len(waiting) // workers)
    length = min(1.0, seconds / 4 / max(rows, 1))  # so short that the first pass, of 2 * length a row, reaches them all
    with ThreadPoolExecutor(max_workers=workers) as pool:
        while waiting and time.monotonic() < end and length < 2 * max(seconds, patience):

            def look(digest: Digest, length: float = length) -> _Look:
                until = min(end, time.monotonic() + 2 * length)
                unsure.pop(digest, None)
                try:
                    return _Look.UNFINISHED if failures else _look(store, digest, limit, until, length, patience)
                except SearchUnfinished as error:
                    unsure[digest] = error
                    return _Look.MISSING if length >= patience else _Look.UNFINISHED
                except StoreUnavailable as error:
                    failures.append(error)
                    return _Look.UNFINISHED

            try:
                looks = dict(zip(waiting, pool.map(look, waiting), strict=True))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            found |= {digest for digest, what in looks.items() if what is _Look.FOUND}
            on_found(found)
            if failures:
                raise failures[0]
            waiting = [digest for digest, what in looks.items() if what is _Look.UNFINISHED]
            length *= 2
    if unsure:
        raise next(iter(unsure.values()))
    return found


class _Look(enum.Enum):
    """What one look at an artifact said; UNFINISHED: its time was too short to say that a block is missing."""

    FOUND = enum.auto()
    MISSING = enum.auto()
    UNFINISHED = enum.auto()


def _look(store: BlockSource, digest: Digest, limit: int, until: float, search: float, patience: float) -> _Look:
    """Fetch ``digest`` until the monotonic time ``until``, looking for each block ``search`` or ``patience`` seconds."""
    search = min(search, patience)
    patient = False  # whether the last block was looked for with full patience

    def get(cid: Cid) -> bytes:
        nonlocal patient
        left = until - time.monotonic()
        patient = min(left, search) >= patience
        if left <= 0:
            raise BlockMissing(str(cid))
        return store.get_block(cid, min(left, search))

    try:
        _walk(digest, get, limit)
    except ArtifactRefused:
        return _Look.FOUND  # a verdict on what was published, for others to reach
    except (BlockMissing, BlockCorrupt):
        return _Look.MISSING if patient else _Look.UNFINISHED
    return _Look.FOUND


def _walk(digest: Digest, get: Get, limit: int) -> None:
    """Get every block of the artifact once, in order, and keep none of them: many are walked at the same time.

    It ends early where ``load_directory`` would: what follows is of no interest any more. Raises as that.
    """
    tops: dict[Cid, bytes] = {}

    def get_top(cid: Cid) -> bytes:
        tops[cid] = get(cid)
        return tops[cid]

    for link in list_directory(directory_cid(digest), get_top, limit).values():
        for leaf in file_leaves(link.cid, lambda cid: tops[cid] if cid in tops else get(cid), max(link.size, CHUNK)):
            if leaf.cid != link.cid and len(get(leaf.cid)) != leaf.size:
                return
