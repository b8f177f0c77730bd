"""The content store's twin in memory: for tests, for dry runs, and wherever nothing has to outlive the process."""

from __future__ import annotations

from protocol.cid import Cid, verify_block
from protocol.errors import BlockMissing
from protocol.unixfs import Block

_WHERE = "the store in memory"


class MemoryStore:
    """A ``ContentStore`` (network/store.py) in a dictionary; one process, any number of threads."""

    def __init__(self) -> None:
        self.blocks: dict[Cid, bytes] = {}

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

    def put_block(self, block: Block) -> None:
        """Keep ``block``.

        Raises:
            BlockCorrupt: Its bytes are not those that its CID names.
        """
        verify_block(block.cid, block.data, "the block to put")
        self.blocks[block.cid] = bytes(block.data)

    def has_block(self, cid: Cid) -> bool:
        """Say whether ``get_block`` would return the block."""
        return cid in self.blocks

    def keep(self, cid: Cid) -> None:
        """Nothing is ever collected here."""
