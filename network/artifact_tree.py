"""Walking the trees of artifacts block by block: what is here, without asking others, and what there is in all."""

from __future__ import annotations

from collections.abc import Iterator

from network.store import BlockSource
from protocol.cid import Cid, directory_cid
from protocol.errors import BlockMissing
from protocol.retention import Kind
from protocol.types import Digest
from protocol.unixfs import CHUNK, Get, Leaf, file_leaves, list_directory, read_file


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


def artifact_file(digest: Digest, name: str, get: Get, directory_limit: int, limit: int) -> bytes:
    """Return the file ``name`` of the artifact ``digest``, and fetch nothing of its other files but their top nodes.

    Args:
        directory_limit: Content bytes that all files have at most. limit: Those of this one.

    Raises:
        BlockMissing: From ``get``; also where the artifact has no such file. BlockCorrupt, StoreUnavailable: From ``get``.
        TooLarge, NotCanonical: As ``protocol.unixfs.list_directory`` and ``read_file``.
    """
    links = list_directory(directory_cid(digest), get, directory_limit)
    if name not in links:
        raise BlockMissing(str(directory_cid(digest)))
    return read_file(links[name].cid, get, limit)


def check_local(source: BlockSource, cid: Cid, kind: Kind, limit: int) -> None:
    """Check that the whole tree of the artifact ``cid`` is in ``source`` itself.

    Raises:
        BlockMissing: A block is not; it names the first one. BlockCorrupt, StoreUnavailable: From ``source``.
        TooLarge, NotCanonical: It is no artifact, so there is nothing that could be whole.
    """
    for leaf in artifact_leaves(cid, kind, limit, local_get(source)):
        if not source.has_block(leaf.cid):
            raise BlockMissing(str(leaf.cid), source.name)
