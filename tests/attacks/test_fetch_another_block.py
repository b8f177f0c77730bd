"""Attack: mallory's node answers with other bytes: another block, one cut short, one with bytes after its end.

Verdict: the block is refused by its name, nothing of it reaches the disk, and what was honest is kept: an honest node is
asked only for the rest.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from network.download import download_file
from network.memory_store import MemoryStore
from network.reader import WINDOW
from network.transfer import fetch, fetch_file
from protocol.cid import DAG_PB, RAW, Cid, block_cid
from protocol.dag_pb import Kind, Node, PbLink, encode_node
from protocol.errors import BlockCorrupt, ContentError, NotCanonical
from protocol.unixfs import CHUNK, Block, file_leaves, import_file
from tests.attacks.hostile_node import Bend, HostileNode
from tests.network.counting import CountingSource

NO_LIMIT = 2**62
LEAVES = 20
LIES: dict[str, Bend] = {
    "another block": lambda data: [bytes(len(data))],
    "one bit": lambda data: [bytes([data[0] ^ 1]) + data[1:]],
    "cut short": lambda data: [data[:-1]],
    "nothing": lambda data: [b""],
    "more": lambda data: [data + b"!"],
    "much more": lambda data: [data * 8],
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(random.Random(3).randbytes(LEAVES * CHUNK + 100))  # noqa: S311
    return path


def honest(file: Path) -> tuple[MemoryStore, list[Cid]]:
    store = MemoryStore()
    with file.open("rb") as stream:
        cid = import_file(stream, store.put_block).cid
    return store, [leaf.cid for leaf in file_leaves(cid, store.get_block, NO_LIMIT)]


@pytest.mark.parametrize("lie", LIES)
def test_a_wrong_leaf_is_refused_by_name_and_the_rest_kept(lie: str, file: Path, tmp_path: Path) -> None:
    node = HostileNode()
    cid = node.add(file)
    store, leaves = honest(file)
    node.bent[str(leaves[12])] = LIES[lie]
    with node.serve() as hostile, pytest.raises(BlockCorrupt) as caught:
        download_file(hostile, cid, tmp_path / "got", limit=NO_LIMIT)
    assert caught.value.cid == str(leaves[12])
    assert not (tmp_path / "got").exists()
    source = CountingSource(store)
    download_file(source, cid, tmp_path / "got", limit=NO_LIMIT)
    assert (tmp_path / "got").read_bytes() == file.read_bytes()
    assert leaves[12] in source.leaves and source.leaves.total() <= LEAVES + 1 - 12 + WINDOW


@pytest.mark.parametrize("lie", LIES)
def test_a_wrong_node_is_refused_by_name(lie: str, file: Path, tmp_path: Path) -> None:
    node = HostileNode()
    cid = node.add(file)
    node.bent[str(cid)] = LIES[lie]
    with node.serve() as hostile:
        with pytest.raises(BlockCorrupt, match=str(cid)):
            download_file(hostile, cid, tmp_path / "got", limit=NO_LIMIT)
        with pytest.raises(BlockCorrupt, match=str(cid)):
            fetch_file(hostile, cid, NO_LIMIT)
    assert set(node.asked) == {str(cid)}


def test_an_answer_that_ends_before_its_length_is_not_believed(file: Path, tmp_path: Path) -> None:
    node = HostileNode()
    cid = node.add(file)
    leaf = honest(file)[1][5]
    node.promises[str(leaf)] = 1
    with node.serve(find_seconds=0.5) as hostile, pytest.raises(ContentError):
        download_file(hostile, cid, tmp_path / "got", limit=NO_LIMIT)
    assert not (tmp_path / "got").exists()


@pytest.mark.parametrize("size", [CHUNK - 1, CHUNK + 1, 2 * CHUNK])
def test_an_honest_block_in_the_place_of_a_leaf_of_another_length(size: int, tmp_path: Path) -> None:
    """Its hash is right, for mallory made the tree: what its node says of its length is not."""
    node = HostileNode()
    wrong, rest = Block(block_cid(RAW, bytes(size)), bytes(size)), Block(block_cid(RAW, b"rest"), b"rest")
    links = (PbLink(wrong.cid, "", CHUNK), PbLink(rest.cid, "", 4))
    top = encode_node(Node(Kind.FILE, links, (CHUNK, 4)))
    total = len(top) + CHUNK + 4
    root = encode_node(Node(Kind.DIRECTORY, (PbLink(block_cid(DAG_PB, top), "weights", total),)))
    for block in (wrong, rest, Block(block_cid(DAG_PB, top), top), Block(block_cid(DAG_PB, root), root)):
        node.emit(block)
    with node.serve() as hostile:
        with pytest.raises(NotCanonical, match=str(wrong.cid)):
            download_file(hostile, block_cid(DAG_PB, top), tmp_path / "got", limit=NO_LIMIT)
        with pytest.raises(NotCanonical, match=str(wrong.cid)):
            fetch(hostile, block_cid(DAG_PB, root).digest, NO_LIMIT)
    assert not (tmp_path / "got").exists()
