"""Attack: mallory publishes a tree that contains itself, hoping that whoever reads it goes round for ever.

Verdict: no such tree can be made: a block's name is the hash of its bytes, and its bytes would have to hold that name. A
store that hands out other bytes under a name is found out at the first block. And even if sha2-256 were broken, sizes
end the walk: what is below a node has to be smaller than the node says, level by level.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from network.memory_store import MemoryStore
from protocol import unixfs
from protocol.artifact import load_directory
from protocol.cid import DAG_PB, Cid, block_cid
from protocol.dag_pb import Kind, Node, PbLink, encode_node
from protocol.errors import BlockCorrupt, NotCanonical, RondoError
from protocol.types import Digest
from protocol.unixfs import CHUNK, file_leaves
from tests.attacks.forged_dags import publish_forged
from tests.protocol.blocks import Blocks

GIB = 1024 * CHUNK


def file_of(target: Cid) -> bytes:
    """A node of two children, both of them ``target``: as large as a file of two levels may be."""
    links = (PbLink(target, "", GIB), PbLink(target, "", GIB))
    return encode_node(Node(Kind.FILE, links, (GIB, GIB)))


def directory_of(target: Cid) -> bytes:
    return encode_node(Node(Kind.DIRECTORY, (PbLink(target, "again", 100),)))


FORGED: list[Callable[[Cid], bytes]] = [file_of, directory_of]


@pytest.mark.parametrize("forge", FORGED)
def test_a_block_that_names_itself_is_never_found(forge: Callable[[Cid], bytes]) -> None:
    """Mallory takes the name that her block has, writes it into the block, and has another block."""
    name, seen = Cid(DAG_PB, Digest(bytes(32))), set[Cid]()
    for _ in range(1000):
        assert name not in seen
        seen.add(name)
        block = forge(name)
        assert block_cid(DAG_PB, block) != name
        name = block_cid(DAG_PB, block)


@pytest.mark.parametrize("forge", FORGED)
def test_a_store_that_lies_about_a_name_is_found_at_once(forge: Callable[[Cid], bytes]) -> None:
    blocks = Blocks()
    name = Cid(DAG_PB, Digest(bytes(range(32))))
    blocks.data[name] = forge(name)  # a store can answer anything
    with pytest.raises(BlockCorrupt, match=str(name)):
        load_directory(name.digest, blocks.get, 4 * GIB)
    assert blocks.fetched == [name]
    blocks.fetched.clear()
    with pytest.raises(BlockCorrupt, match=str(name)):
        next(file_leaves(name, blocks.get, 4 * GIB))
    assert blocks.fetched == [name]


@pytest.mark.parametrize("forge", FORGED)
def test_with_sha256_broken_the_walk_would_still_end(
    forge: Callable[[Cid], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unixfs, "verify_block", lambda cid, data: None)
    blocks = Blocks()
    name = Cid(DAG_PB, Digest(bytes(range(32))))
    blocks.data[name] = forge(name)
    digest = publish_forged(blocks, PbLink(name, "", 2 * GIB))
    for read in (
        lambda: load_directory(digest, blocks.get, 4 * GIB),
        lambda: load_directory(name.digest, blocks.get, 4 * GIB),
        lambda: list(file_leaves(name, blocks.get, 4 * GIB)),
    ):
        blocks.fetched.clear()
        with pytest.raises(NotCanonical):
            read()
        assert len(blocks.fetched) <= 3


def test_a_store_in_memory_does_not_go_round_when_it_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    name = Cid(DAG_PB, Digest(bytes(range(32))))
    store.blocks[name] = directory_of(name)
    with pytest.raises(RondoError, match=str(name)):
        store.keep(name)
    monkeypatch.setattr("network.memory_store.verify_block", lambda cid, data, where: None)
    store.keep(name)  # with sha2-256 broken: it ends
