"""Walking the trees of artifacts block by block: what is here, without asking others, and what there is in all."""

from __future__ import annotations

from collections.abc import Iterator

from network.store import BlockSource
from protocol.cid import Cid
from protocol.errors import BlockMissing
from protocol.retention import Kind
from protocol.unixfs import CHUNK, Get, Leaf, file_leaves, list_directory


def artifact_leaves(cid: Cid, kind: Kind, limit: int, get: Get) -> Iterator[Leaf]:
    """Yield the leaves of the artifact ``cid``, whose nodes are fetched with ``get`` and bounded by ``limit`` bytes.

    It fetches the blocks that ``protocol.artifact.load_directory`` fetches for a directory, and in bounded number
    whatever the tree says of itself. A file of one raw block is fetched for its size, so reading it again is for the
    caller to avoid.

    Raises:
        BlockMissing, BlockCorrupt, StoreUnavailable: From ``get``.
        TooLarge, NotCanonical: As ``protocol.unixfs.list_directory`` and ``file_leaves``.
    """
    if kind in (Kind.ANCHOR, Kind.RECORD):
        yield from file_leaves(cid, get, limit)
        return
    for link in list_directory(cid, get, limit).values():
        yield from file_leaves(link.cid, get, max(link.size, CHUNK))


def local_get(source: BlockSource) -> Get:
    """Return a ``get`` that reads what ``source`` has itself, and asks nobody else for what it has not."""

    def get(cid: Cid) -> bytes:
        if not source.has_block(cid):
            raise BlockMissing(str(cid), source.name)
        return source.get_block(cid)

    return get


def check_local(source: BlockSource, cid: Cid, kind: Kind, limit: int) -> None:
    """Check that the whole tree of the artifact ``cid`` is in ``source`` itself.

    Raises:
        BlockMissing: A block is not; it names the first one. BlockCorrupt, StoreUnavailable: From ``source``.
        TooLarge, NotCanonical: It is no artifact, so there is nothing that could be whole.
    """
    for leaf in artifact_leaves(cid, kind, limit, local_get(source)):
        if not source.has_block(leaf.cid):
            raise BlockMissing(str(leaf.cid), source.name)
