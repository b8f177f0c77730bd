"""The content store's twin in memory: for tests, for dry runs, and wherever nothing has to outlive the process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from protocol.cid import Cid, check_block_size, verify_block
from protocol.errors import BlockMissing
from protocol.unixfs import Block, child_cids, walk_tree

_WHERE = "the store in memory"


class MemoryStore:
    """A ``ContentStore`` (network/store.py) in a dictionary; one process, any number of threads."""

    name = "memory:"
    searches = False

    def __init__(self) -> None:
        self.blocks: dict[Cid, bytes] = {}
        self._kept: set[Cid] = set()

    def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
        """Return the verified bytes of ``cid``.

        Raises:
            BlockMissing: It was never put.
            BlockCorrupt: Somebody has changed ``blocks``.
        """
        try:
            data = self.blocks[cid]
        except KeyError as error:
            raise BlockMissing(str(cid), _WHERE) from error
        verify_block(cid, data, _WHERE)
        return data

    def put_blocks(self, blocks: Sequence[Block]) -> None:
        """Keep ``blocks``.

        Raises:
            BlockCorrupt: Bytes are not those that their CID names; those before it are kept.
            InvalidInput: A block is larger than IPFS nodes carry (2 MiB).
        """
        for block in blocks:
            verify_block(block.cid, block.data, "the block to put")
            check_block_size(block.cid, block.data)
            self.blocks[block.cid] = bytes(block.data)

    def put_block(self, block: Block) -> None:
        """Keep one block, as ``put_blocks``."""
        self.put_blocks([block])

    def has_block(self, cid: Cid) -> bool:
        """Say whether ``get_block`` would return the block."""
        return cid in self.blocks

    def keep(self, cid: Cid) -> None:
        """Remember the root ``cid``, so that ``kept`` names it; nothing is ever collected here.

        Raises:
            BlockMissing: A block of its tree was never put.
        """
        for _ in walk_tree(cid, lambda one: child_cids(Block(one, self.get_block(one)))):
            pass
        self._kept.add(cid)

    def release(self, cid: Cid) -> None:
        """Forget the root ``cid``; its blocks stay."""
        self._kept.discard(cid)

    def kept(self) -> frozenset[Cid]:
        """Return the roots that are kept."""
        return frozenset(self._kept)

    @contextmanager
    def lease(self, *roots: Cid) -> Iterator[None]:
        """Nothing is ever collected here."""
        yield
