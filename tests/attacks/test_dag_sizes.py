"""Attack: mallory publishes honest bytes below wrong sizes (Tsize, blocksizes, filesize), so that the artifact has a second
name, readers allocate for what never comes, or seek to where nothing is.

Verdict: not canonical. What a node says of itself or of its leaves' sizes is refused before the leaf it concerns is
fetched; what only a leaf's own length shows, when that leaf is.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.cid import DAG_PB, RAW, block_cid
from protocol.dag_pb import Kind, Node, PbLink, encode_node
from protocol.errors import NotCanonical
from protocol.unixfs import CHUNK
from protocol.varint import encode_varint
from tests.attacks.forged_dags import NAME, assert_refused, publish_forged
from tests.protocol.blocks import Blocks

LAST = 1000  # bytes of the last leaf


@pytest.fixture
def blocks() -> Blocks:
    return Blocks()


def honest(blocks: Blocks) -> Node:
    """A file of three leaves."""
    leaves = (blocks.leaf(bytes(CHUNK)), blocks.leaf(b"b" * CHUNK), blocks.leaf(b"c" * LAST))
    return Node(Kind.FILE, leaves, (CHUNK, CHUNK, LAST))


def with_link(node: Node, at: int, total_size: int) -> Node:
    links = list(node.links)
    links[at] = replace(links[at], total_size=total_size)
    return replace(node, links=tuple(links))


@pytest.mark.parametrize("more", [-1, 1, 2**40])
def test_the_tsize_of_a_leaf(more: int, blocks: Blocks) -> None:
    """Of the third leaf: the two before it have been fetched by then, it has not."""
    file = blocks.node(with_link(honest(blocks), 2, LAST + more))
    assert_refused(blocks, publish_forged(blocks, file), NotCanonical, "bytes in all, there are", fetched=4)
    assert block_cid(RAW, b"c" * LAST) not in blocks.fetched


@pytest.mark.parametrize("more", [-1, 1, 2**40])
def test_the_tsize_of_the_file(more: int, blocks: Blocks) -> None:
    """In the directory's link: everything below is right, so only importing the files again shows it."""
    file = blocks.node(honest(blocks))
    lie = replace(file, total_size=file.total_size + more)
    assert_refused(blocks, publish_forged(blocks, lie), NotCanonical, "imported again have another digest", fetched=5)


@pytest.mark.parametrize(
    "sizes", [(CHUNK - 1, CHUNK + 1, LAST), (CHUNK, LAST, CHUNK), (CHUNK, CHUNK), (2 * CHUNK, LAST)]
)
def test_blocksizes_that_divide_otherwise(sizes: tuple[int, ...], blocks: Blocks) -> None:
    file = blocks.node(replace(honest(blocks), sizes=sizes))
    assert_refused(blocks, publish_forged(blocks, file), NotCanonical, "not divided as they must be", fetched=2)


@pytest.mark.parametrize("size", [LAST - 1, LAST + 1, CHUNK])
def test_a_blocksize_and_a_tsize_that_agree_on_a_lie(size: int, blocks: Blocks) -> None:
    node = with_link(replace(honest(blocks), sizes=(CHUNK, CHUNK, size)), 2, size)
    file = blocks.node(node)
    assert_refused(blocks, publish_forged(blocks, file), NotCanonical, f"holds {LAST} bytes where", fetched=5)


def unixfs_field(filesize: int, sizes: tuple[int, ...]) -> bytes:
    """The data of a file's node as UnixFS encodes them, whatever ``filesize`` says."""
    data = b"\x08\x02\x18" + encode_varint(filesize) + b"".join(b"\x20" + encode_varint(size) for size in sizes)
    return b"\x0a" + encode_varint(len(data)) + data


@pytest.mark.parametrize("filesize", [0, 2 * CHUNK + LAST - 1, 2 * CHUNK + LAST + 1, 2**64 - 1])
def test_a_filesize_that_is_not_the_sum(filesize: int, blocks: Blocks) -> None:
    node = honest(blocks)
    links = encode_node(node).removesuffix(unixfs_field(node.size, node.sizes))
    assert len(links) < len(encode_node(node))
    forged = links + unixfs_field(filesize, node.sizes)
    file = block_cid(DAG_PB, forged)
    blocks.data[file] = forged
    assert_refused(
        blocks, publish_forged(blocks, PbLink(file, NAME, 1)), NotCanonical, "not in its canonical encoding", fetched=2
    )


@pytest.mark.parametrize("size", [0, 1, CHUNK])
def test_a_raw_file_that_is_longer_or_shorter_than_its_link_says(size: int, blocks: Blocks) -> None:
    """A file of one leaf has no node: its directory's link is all that says its size, and its bytes are all that shows."""
    leaf = blocks.leaf(b"c" * LAST)
    lie = replace(leaf, total_size=size)
    assert_refused(blocks, publish_forged(blocks, lie), NotCanonical, "another digest", fetched=2)


def test_a_raw_file_that_says_more_than_a_leaf_may_have(blocks: Blocks) -> None:
    lie = replace(blocks.leaf(b"c"), total_size=CHUNK + 1)
    assert_refused(blocks, publish_forged(blocks, lie), NotCanonical, "a leaf of", fetched=1)
