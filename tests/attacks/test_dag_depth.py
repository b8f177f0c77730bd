"""Attack: mallory publishes a chain of nodes as deep as she likes, each with one child, hoping for deep recursion or an
endless download.

Verdict: the size that the top declares fixes the depth, so a chain is refused at its first node, and no honest size needs
more than five levels of nodes.
"""

from __future__ import annotations

import sys

import pytest

from protocol.dag_pb import Kind, Node, PbLink
from protocol.errors import NotCanonical, TooLarge
from protocol.unixfs import CHUNK, file_leaves
from tests.attacks.forged_dags import assert_refused, publish_forged
from tests.protocol.blocks import Blocks

GIB = 1024 * CHUNK


def chain(blocks: Blocks, bottom: PbLink, size: int, depth: int) -> PbLink:
    """Nodes of one child each, ``depth`` of them, above ``bottom`` of ``size`` bytes."""
    link = bottom
    for _ in range(depth):
        link = blocks.node(Node(Kind.FILE, (link,), (size,)))
    return link


@pytest.mark.parametrize("size", [0, 1, CHUNK])
def test_a_chain_above_one_leaf(size: int) -> None:
    blocks = Blocks()
    top = chain(blocks, blocks.leaf(bytes(size)), size, 2 * sys.getrecursionlimit() if size == 1 else 100)
    assert_refused(blocks, publish_forged(blocks, top), NotCanonical, "at most one leaf has no node", fetched=2)


@pytest.mark.parametrize("depth", [1, 2, 1000])
def test_a_chain_above_a_file(depth: int) -> None:
    blocks = Blocks()
    leaves = tuple(blocks.leaf(bytes([number]) * CHUNK) for number in range(3))
    file = blocks.node(Node(Kind.FILE, leaves, (CHUNK,) * 3))
    top = chain(blocks, file, 3 * CHUNK, depth)
    assert_refused(blocks, publish_forged(blocks, top), NotCanonical, "not divided as they must be", fetched=2)


def test_a_chain_inside_a_file_that_needs_two_levels() -> None:
    """The left half is as it must be, the right one hangs a level too low: refused when its first node is seen."""
    blocks = Blocks()
    zeros, last = blocks.leaf(bytes(CHUNK)), blocks.leaf(b"x")
    left = blocks.node(Node(Kind.FILE, (zeros,) * 1024, (CHUNK,) * 1024))
    right = chain(blocks, last, 1, 2)
    top = blocks.node(Node(Kind.FILE, (left, right), (GIB, 1)))
    leaves = file_leaves(top.cid, blocks.get, 2 * GIB)
    with pytest.raises(NotCanonical, match="a link is of another kind"):
        list(leaves)
    assert blocks.fetched == [top.cid, left.cid, right.cid]


def test_too_shallow_is_refused_as_well() -> None:
    """Leaves where the size asks for a level of nodes between: a second name for the same bytes."""
    blocks = Blocks()
    zeros, last = blocks.leaf(bytes(CHUNK)), blocks.leaf(b"x")
    left = blocks.node(Node(Kind.FILE, (zeros,) * 1024, (CHUNK,) * 1024))
    top = blocks.node(Node(Kind.FILE, (left, last), (GIB, 1)))
    blocks.fetched.clear()
    with pytest.raises(NotCanonical, match="a link is of another kind"):
        list(file_leaves(top.cid, blocks.get, 2 * GIB))
    assert blocks.fetched == [top.cid, left.cid]


def test_the_largest_size_that_can_be_said_has_five_levels() -> None:
    """15 EiB of zeros, canonical to the last byte: five blocks lead to the first leaf."""
    blocks = Blocks()
    link, size = blocks.leaf(bytes(CHUNK)), CHUNK
    for width in (1024, 1024, 1024, 1024, 15):
        link, size = blocks.node(Node(Kind.FILE, (link,) * width, (size,) * width)), size * width
    assert 2**63 < size < 2**64
    leaves = file_leaves(link.cid, blocks.get, size)
    assert [next(leaves).offset, next(leaves).offset] == [0, CHUNK]
    assert len(blocks.fetched) == 5
    assert_refused(blocks, publish_forged(blocks, link), TooLarge, str(size), fetched=2)


def test_a_size_beyond_that_is_no_size() -> None:
    blocks = Blocks()
    below = PbLink(blocks.leaf(b"").cid, "", 0)
    top = blocks.node(Node(Kind.FILE, (below,) * 2, (2**63, 2**63)))
    assert_refused(blocks, publish_forged(blocks, top), NotCanonical, "broken number", fetched=2)
