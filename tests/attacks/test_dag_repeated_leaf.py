"""Attack: mallory publishes one leaf a million times: three blocks in her store, a terabyte at her reader's.

Verdict: the limit counts content, not blocks: refused from the top node. Where so much is allowed, it is read leaf by
leaf in constant memory, and its nodes are fetched only as far as the reader goes.
"""

from __future__ import annotations

import tracemalloc
from itertools import islice

from protocol.artifact import load_directory
from protocol.dag_pb import Kind, Node, PbLink
from protocol.errors import TooLarge
from protocol.unixfs import CHUNK, file_leaves
from tests.attacks.forged_dags import NAME, assert_refused, publish_forged
from tests.protocol.blocks import Blocks

GIB = 1024 * CHUNK
MILLION = 1024 * 1024


def terabyte_of_zeros(blocks: Blocks) -> PbLink:
    """A canonical file: what `ipfs add` of a terabyte of zeros would make."""
    leaf = blocks.leaf(bytes(CHUNK))
    node = blocks.node(Node(Kind.FILE, (leaf,) * 1024, (CHUNK,) * 1024))
    return blocks.node(Node(Kind.FILE, (node,) * 1024, (GIB,) * 1024))


def test_a_million_times_one_leaf_is_a_terabyte() -> None:
    blocks = Blocks()
    file = terabyte_of_zeros(blocks)
    assert len(blocks.data) == 3
    assert sum(map(len, blocks.data.values())) < 1.2 * CHUNK
    assert_refused(blocks, publish_forged(blocks, file), TooLarge, str(MILLION * CHUNK), fetched=2)
    assert blocks.fetched_bytes < 70 * 1024


def test_the_files_of_an_artifact_may_be_one_file_but_count_each_time() -> None:
    blocks = Blocks()
    leaf = blocks.leaf(bytes(CHUNK))
    file = blocks.node(Node(Kind.FILE, (leaf,) * 50, (CHUNK,) * 50))
    links = tuple(PbLink(file.cid, f"{NAME}.{number}", file.total_size) for number in range(3))
    digest = blocks.node(Node(Kind.DIRECTORY, links)).cid.digest
    assert_refused(blocks, digest, TooLarge, str(150 * CHUNK), fetched=2)
    assert all(len(data) == 50 * CHUNK for data in load_directory(digest, blocks.get, 150 * CHUNK).values())


def test_reading_it_leaf_by_leaf_takes_no_memory() -> None:
    blocks = Blocks()
    file = terabyte_of_zeros(blocks)
    tracemalloc.start()
    leaves = file_leaves(file.cid, blocks.get, MILLION * CHUNK)
    seen = [leaf.offset for leaf in islice(leaves, 5000)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen == [CHUNK * number for number in range(5000)]
    assert len(blocks.fetched) == 1 + 5, "the top, and a node each 1024 leaves"
    assert peak < 4 * 1024 * 1024
