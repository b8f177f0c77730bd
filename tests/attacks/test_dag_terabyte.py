"""Attack: mallory publishes an artifact that declares a terabyte, hoping that clients begin to download it.

Verdict: refused as too large from the size that its top node declares: two small blocks are fetched, none of its
content. A top node that declares less than what is below it is refused at the first node below that shows it.
"""

from __future__ import annotations

import pytest

from protocol.cid import DAG_PB, RAW, block_cid
from protocol.dag_pb import Kind, Node, PbLink
from protocol.errors import NotCanonical, TooLarge
from protocol.unixfs import CHUNK, file_leaves
from tests.attacks.forged_dags import LIMIT, assert_refused, publish_forged
from tests.protocol.blocks import Blocks

GIB = 1024 * CHUNK


def nobody_has(size: int, codec: int = DAG_PB) -> PbLink:
    """A link to content that was never made."""
    return PbLink(block_cid(codec, b"never made"), "", size)


def test_a_terabyte_costs_two_small_blocks() -> None:
    blocks = Blocks()
    terabyte = blocks.node(Node(Kind.FILE, (nobody_has(GIB),) * 1024, (GIB,) * 1024))
    refusal = assert_refused(blocks, publish_forged(blocks, terabyte), TooLarge, str(1024 * GIB), fetched=2)
    assert str(LIMIT) in str(refusal)
    assert blocks.fetched_bytes < 64 * 1024


def test_as_many_bytes_as_numbers_can_say() -> None:
    blocks = Blocks()
    largest = blocks.node(Node(Kind.FILE, (nobody_has(2**64 - 1),) * 1024, (2**54 - 1,) * 1024))
    digest = publish_forged(blocks, PbLink(largest.cid, "", 2**64 - 1))
    assert_refused(blocks, digest, TooLarge, str(2**64 - 1024), fetched=2)


def test_just_over_the_limit_is_over_it() -> None:
    blocks = Blocks()
    chunks = LIMIT // CHUNK
    leaf, rest = nobody_has(CHUNK, RAW), nobody_has(1, RAW)
    over = blocks.node(Node(Kind.FILE, (leaf,) * chunks + (rest,), (CHUNK,) * chunks + (1,)))
    assert_refused(blocks, publish_forged(blocks, over), TooLarge, str(LIMIT + 1), fetched=2)


def test_many_files_count_together() -> None:
    """Eight files, each of them within the limit: the sum is refused before a byte of any."""
    blocks = Blocks()
    chunks = LIMIT // CHUNK // 4
    links = []
    for number in range(8):
        leaves = (PbLink(block_cid(RAW, b"%d" % number), "", CHUNK),) * chunks
        quarter = blocks.node(Node(Kind.FILE, leaves, (CHUNK,) * chunks))
        links.append(PbLink(quarter.cid, f"part-{number}", quarter.total_size))
    digest = blocks.node(Node(Kind.DIRECTORY, tuple(links))).cid.digest
    assert_refused(blocks, digest, TooLarge, str(8 * LIMIT // 4), fetched=9)


@pytest.mark.parametrize("declared", [2 * CHUNK, LIMIT, GIB + 1])
def test_declaring_less_is_found_at_the_next_node(declared: int) -> None:
    """The top says little, a node below it says a terabyte."""
    blocks = Blocks()
    terabyte = blocks.node(Node(Kind.FILE, (nobody_has(GIB),) * 1024, (GIB,) * 1024))
    each = GIB if declared > GIB else CHUNK
    sizes = tuple(min(each, declared - at) for at in range(0, declared, each))
    top = blocks.node(Node(Kind.FILE, (terabyte,) * len(sizes), sizes))
    digest = publish_forged(blocks, top)
    # a node in a leaf's place is refused by its codec, unseen; one in a node's place when it says its size
    assert_refused(blocks, digest, NotCanonical, "canonical", fetched=3 if declared > GIB else 2, limit=2 * GIB)


def test_a_block_that_is_larger_than_its_leaf_may_be_is_not_kept() -> None:
    """The last thing that can lie is a leaf's length: at most one block that a store hands out at all is fetched for it."""
    blocks = Blocks()
    bloated = blocks.leaf(bytes(2 * CHUNK))
    top = blocks.node(Node(Kind.FILE, (PbLink(bloated.cid, "", CHUNK), bloated), (CHUNK, 1)))
    assert_refused(blocks, publish_forged(blocks, top), NotCanonical, "where its node says", fetched=3)
    assert blocks.fetched_bytes < 2 * CHUNK + 1024


def test_the_limit_holds_for_whoever_reads_leaf_by_leaf() -> None:
    blocks = Blocks()
    terabyte = blocks.node(Node(Kind.FILE, (nobody_has(GIB),) * 1024, (GIB,) * 1024))
    with pytest.raises(TooLarge):
        next(file_leaves(terabyte.cid, blocks.get, LIMIT))
    assert blocks.fetched == [terabyte.cid]
