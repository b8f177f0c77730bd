"""Small trees of blocks for tests of stores: nodes of nodes, with leaves that many trees share."""

from __future__ import annotations

from collections.abc import Sequence

from protocol.cid import DAG_PB, RAW, Cid, block_cid
from protocol.dag_pb import Kind, Node, PbLink, encode_node
from protocol.unixfs import Block, Get, child_cids


def leaf(data: bytes) -> Block:
    """Return a raw block."""
    return Block(block_cid(RAW, data), data)


def node(*children: Cid) -> Block:
    """Return a directory node that links to ``children``."""
    links = tuple(PbLink(cid, f"{number:04}", 0) for number, cid in enumerate(children))
    data = encode_node(Node(Kind.DIRECTORY, links))
    return Block(block_cid(DAG_PB, data), data)


def tree(numbers: Sequence[int]) -> list[Block]:
    """Return a tree whose leaves are named by ``numbers``, two a node, children before parents: the root is last."""
    leaves = [leaf(f"leaf {number}".encode() * 50) for number in numbers]
    nodes = [node(*(child.cid for child in leaves[at : at + 2])) for at in range(0, len(leaves), 2)]
    return [*leaves, *nodes, node(*(child.cid for child in nodes))]


def read_tree(root: Cid, get: Get) -> set[Cid]:
    """Return the CIDs of all blocks of the tree; raises what ``get`` raises."""
    seen: set[Cid] = set()
    waiting = [root]
    while waiting:
        cid = waiting.pop()
        if cid not in seen:
            seen.add(cid)
            waiting += child_cids(Block(cid, get(cid)))
    return seen
