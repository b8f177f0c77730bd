"""Directories of any names: their order, their refusals, and the size at which IPFS would hash them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.cid import RAW, block_cid
from protocol.dag_pb import MAX_DIRECTORY_BYTES, MAX_DIRECTORY_LINKS, decode_node, encode_symlink, link_bytes
from protocol.errors import InvalidInput
from protocol.tree import checked_names, link_directory, link_symlink
from protocol.unixfs import Block, Root, child_cids, directory_digest
from tests.protocol.blocks import Blocks

EMPTY = Root(block_cid(RAW, b""), 0, 0)

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=60).filter(
    lambda name: name not in (".", "..")
)
roots = st.binary(max_size=9).map(lambda data: Root(block_cid(RAW, data), len(data), len(data)))


@pytest.fixture
def blocks() -> Blocks:
    return Blocks()


# What is refused


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "a\0", "n" * 256, "ü" * 128, "\udcff", "a\ud800"])
def test_names_that_no_directory_has_are_refused(name: str, blocks: Blocks) -> None:
    with pytest.raises(InvalidInput, match="acme's data"):
        link_directory({"good": EMPTY, name: EMPTY}, blocks.emit, "acme's data")
    assert blocks.data == {}


def test_a_node_of_256_kib_is_the_largest(blocks: Blocks) -> None:
    full = {f"{number:07}": EMPTY for number in range(5140)}
    root = link_directory(full, blocks.emit, "full")
    assert len(blocks.data[root.cid]) == MAX_DIRECTORY_BYTES
    for more in ({f"{0:08}": EMPTY}, {"0000000": Root(EMPTY.cid, 128, 128)}):
        kept = full if "0000000" in more else dict(list(full.items())[1:])
        with pytest.raises(InvalidInput, match=r"too large for one directory.* some 5139 in each"):
            link_directory({**kept, **more}, blocks.emit, "full")


def test_too_many_names_are_refused_before_all_are_taken() -> None:
    names = iter([f"{number:x}" for number in range(100_000)])
    with pytest.raises(InvalidInput, match="too large for one directory"):
        checked_names(names, "mallory's data")
    assert len(list(names)) >= 100_000 - MAX_DIRECTORY_LINKS - 1


# What is made


def test_no_directory_has_more_links_than_are_read_back(blocks: Blocks) -> None:
    assert MAX_DIRECTORY_BYTES // link_bytes("a", 0) == MAX_DIRECTORY_LINKS
    most = [f"{number:04x}" for number in range(5461)]
    root = link_directory(dict.fromkeys(most, EMPTY), blocks.emit, "most")
    assert len(child_cids(Block(root.cid, blocks.data[root.cid]))) == len(most)


@given(st.dictionaries(names, roots, max_size=9), st.randoms())
def test_links_stand_in_the_order_of_their_bytes(entries: dict[str, Root], random: Any) -> None:
    blocks = Blocks()
    shuffled = list(entries.items())
    random.shuffle(shuffled)
    root = link_directory(dict(shuffled), blocks.emit, "here")
    node = decode_node(blocks.data[root.cid])
    assert [link.name.encode() for link in node.links] == sorted(name.encode() for name in entries)
    assert {link.name: (link.cid, link.total_size) for link in node.links} == {
        name: (entry.cid, entry.total_size) for name, entry in entries.items()
    }
    assert root.size == sum(entry.size for entry in entries.values())
    assert root.total_size == len(blocks.data[root.cid]) + sum(entry.total_size for entry in entries.values())


@given(names, st.integers(0, 2**63))
def test_link_bytes_is_what_a_link_adds(name: str, total_size: int) -> None:
    blocks = Blocks()
    alone = link_directory({}, blocks.emit, "here")
    one = link_directory({name: Root(EMPTY.cid, 0, total_size)}, blocks.emit, "here")
    assert len(blocks.data[one.cid]) - len(blocks.data[alone.cid]) == link_bytes(name, total_size)


def test_a_plain_directory_is_the_artifact_of_its_files(blocks: Blocks) -> None:
    entries = {name: Root(blocks.leaf(name.encode()).cid, len(name), len(name)) for name in ("b", "a", "ab")}
    root = link_directory(entries, blocks.emit, "here")
    assert root.cid.digest == directory_digest({name: name.encode() for name in entries})


def test_a_symbolic_link_is_a_node_of_its_own(blocks: Blocks) -> None:
    root = link_symlink(b"../a", blocks.emit)
    assert blocks.data == {root.cid: encode_symlink(b"../a")}
    assert blocks.data[root.cid] == b"\x0a\x08\x08\x04\x12\x04../a"
    assert (root.size, root.total_size) == (0, 10)
    assert child_cids(Block(root.cid, blocks.data[root.cid])) == ()
