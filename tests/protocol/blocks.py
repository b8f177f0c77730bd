"""Blocks in a dictionary, honest or forged, and an account of what a reader fetches of them."""

from __future__ import annotations

from protocol.cid import DAG_PB, RAW, Cid, block_cid
from protocol.dag_pb import Node, PbLink, encode_node
from protocol.errors import BlockMissing
from protocol.unixfs import Block


class Blocks:
    """A dictionary of blocks that notes what is fetched; ``leaf`` and ``node`` put any, however wrong, and link to it."""

    def __init__(self) -> None:
        self.data: dict[Cid, bytes] = {}
        self.order: list[Cid] = []
        self.fetched: list[Cid] = []

    def emit(self, block: Block) -> None:
        self.data[block.cid] = block.data
        self.order.append(block.cid)

    def get(self, cid: Cid) -> bytes:
        self.fetched.append(cid)
        if cid not in self.data:
            raise BlockMissing(str(cid))
        return self.data[cid]

    @property
    def fetched_bytes(self) -> int:
        """Bytes of all blocks that were fetched, each time that they were."""
        return sum(len(self.data.get(cid, b"")) for cid in self.fetched)

    def leaf(self, data: bytes) -> PbLink:
        return self._link(RAW, data, len(data))

    def node(self, node: Node, name: str = "") -> PbLink:
        data = encode_node(node)
        return self._link(DAG_PB, data, len(data) + sum(link.total_size for link in node.links), name)

    def _link(self, codec: int, data: bytes, total_size: int, name: str = "") -> PbLink:
        cid = block_cid(codec, data)
        self.data[cid] = data
        return PbLink(cid, name, total_size)
