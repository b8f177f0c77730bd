"""Attack: mallory hands eve, who audits offline, a CAR file that is not what it says it is.

Verdict: a file with blocks that belong to nothing it names, with more of anything than a round has, or with trees that
are deep, wide or shared beyond measure is refused by name or imported in bounded memory and time; a root that it lacks
is named and never kept; a tree that would go on in the network is not followed there.
"""

from __future__ import annotations

import os
import time
import tracemalloc
from pathlib import Path

import pytest

import network.car_file
from network.car_file import import_car
from network.memory_store import MemoryStore
from protocol.car import encode_car, encode_car_header
from protocol.cid import DAG_PB, RAW, Cid, block_cid
from protocol.dag_pb import Kind, Node, PbLink, encode_node, encode_symlink, may_link
from protocol.errors import NotCanonical, TooLarge
from protocol.types import Digest
from protocol.unixfs import Block, child_cids

LIMIT = 1 << 28


def raw(data: bytes) -> Block:
    return Block(block_cid(RAW, data), data)


def node(*children: Cid) -> Block:
    """A node of the profile's form whose sizes lie."""
    data = encode_node(Node(Kind.FILE, tuple(PbLink(child, "", 1) for child in children), (1,) * len(children)))
    return Block(block_cid(DAG_PB, data), data)


def car(path: Path, roots: list[Block], blocks: list[Block]) -> Path:
    path.write_bytes(b"".join(encode_car([root.cid for root in roots], blocks)))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mallory.car"


class Quiet(MemoryStore):
    """Asserts that nobody is asked for a block that the file does not have: a store may go to the network for it."""

    def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
        assert cid in self.blocks
        return super().get_block(cid)


def test_junk_that_belongs_to_no_root(path: Path) -> None:
    honest, junk = raw(b"honest"), [raw(os.urandom(100)) for _ in range(5)]
    store = Quiet()
    with pytest.raises(NotCanonical, match="5 of its 6 blocks") as caught:
        import_car(store, car(path, [honest], [junk[0], honest, *junk[1:]]), limit=LIMIT)
    assert any(str(one.cid) in str(caught.value) for one in junk)
    assert not store.blocks and not store.kept()


def test_junk_that_only_links_to_junk(path: Path) -> None:
    honest, leaf = raw(b"honest"), raw(b"leaf")
    top = node(leaf.cid)
    store = Quiet()
    with pytest.raises(NotCanonical, match="2 of its 3 blocks"):
        import_car(store, car(path, [honest], [honest, top, leaf]), limit=LIMIT)
    assert not store.blocks


def test_a_root_that_the_file_lacks(path: Path) -> None:
    honest, lacking = raw(b"honest"), node(Cid(RAW, Digest(bytes(32))))
    store = Quiet()
    done = import_car(store, car(path, [lacking, honest], [honest]), limit=LIMIT)
    assert [root.is_lacking for root in done.roots] == [True, False]
    assert store.kept() == {honest.cid}


def test_a_tree_that_goes_on_in_the_network(path: Path) -> None:
    """Pinning it would make eve's node fetch whatever mallory has linked to."""
    terabytes = Cid(DAG_PB, Digest(b"\x01" * 32))
    top = node(terabytes)
    store = Quiet()
    done = import_car(store, car(path, [top], [top]), limit=LIMIT)
    assert done.roots[0].missing == terabytes and not store.kept()


@pytest.mark.parametrize("above", [False, True])
def test_links_that_only_a_lenient_reader_sees(above: bool, path: Path) -> None:
    """A mode makes the node none of ours; Kubo, told to pin it, would follow its link all the same."""
    honest = node(Cid(DAG_PB, Digest(b"\x01" * 32)))
    hidden = honest.data.replace(b"\x08\x02", b"\x08\x02\x38\x01", 1)
    at = hidden.rindex(b"\x08\x02") - 1  # the length of what has grown by two
    hidden = hidden[:at] + bytes([hidden[at] + 2]) + hidden[at + 1 :]
    foreign = Block(block_cid(DAG_PB, hidden), hidden)
    assert may_link(hidden) and not child_cids(foreign)
    top = node(foreign.cid) if above else foreign
    store = Quiet()
    done = import_car(store, car(path, [top], [foreign, top][: 1 + above]), limit=LIMIT)
    assert done.roots[0].foreign == foreign.cid and not done.roots[0].is_lacking
    assert foreign.cid in store.blocks and not store.kept()


def test_a_symbolic_link_leads_nowhere(path: Path) -> None:
    data = encode_symlink(b"/etc/passwd")
    link, store = Block(block_cid(DAG_PB, data), data), Quiet()
    import_car(store, car(path, [link], [link]), limit=LIMIT)
    assert store.kept() == {link.cid}


@pytest.mark.parametrize(
    "bomb",
    [
        b"\xff\xff\xff\x7f" + bytes(100),  # a header of 256 MiB
        encode_car_header([]) + b"\xff\xff\xff\x7f" + bytes(100),  # a block of 256 MiB
        encode_car_header([]) + b"\xff" * 100,  # a length without an end
        encode_car_header([]) + b"\x00" * 1000,  # blocks of nothing
    ],
)
def test_lengths_that_lie(path: Path, bomb: bytes) -> None:
    path.write_bytes(bomb)
    tracemalloc.start()
    with pytest.raises(NotCanonical):
        import_car(Quiet(), path, limit=LIMIT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 1024 * 1024


def test_too_many_tiny_blocks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network.car_file, "MAX_BLOCKS", 1000)
    blocks = [raw(number.to_bytes(4, "big")) for number in range(1001)]
    store = Quiet()
    with pytest.raises(TooLarge, match="1000 blocks"):
        import_car(store, car(path, [blocks[0]], blocks), limit=LIMIT)
    assert not store.blocks


def test_too_many_bytes_in_nodes(path: Path) -> None:
    """Nodes are held in memory, so there is an end to them: here 80 MiB of what only looks like nodes."""
    blocks = []
    for number in range(40):
        data = bytes([number]) * (2 * 1024 * 1024)
        blocks.append(Block(block_cid(DAG_PB, data), data))
    with pytest.raises(TooLarge, match="bytes in nodes"):
        import_car(Quiet(), car(path, blocks, blocks), limit=LIMIT)


def test_a_chain_of_ten_thousand_nodes(path: Path) -> None:
    leaf = raw(b"end")
    chain = [node(leaf.cid)]
    for _ in range(10_000):
        chain.append(node(chain[-1].cid))
    began = time.monotonic()
    store = MemoryStore()
    done = import_car(store, car(path, [chain[-1]], [*chain[::-1], leaf]), limit=LIMIT)
    assert store.kept() == {chain[-1].cid} and done.blocks == 10_002
    assert time.monotonic() - began < 30


def test_a_tree_whose_paths_double_at_every_level(path: Path) -> None:
    """Thirty levels of two links to the same child: a billion paths, 31 blocks."""
    blocks = [raw(b"end")]
    for _ in range(30):
        blocks.append(node(blocks[-1].cid, blocks[-1].cid))
    store = Quiet()
    done = import_car(store, car(path, [blocks[-1]], blocks[::-1]), limit=LIMIT)
    assert done.blocks == 31 and store.kept() == {blocks[-1].cid}


def test_a_wide_lattice_costs_its_links_once(path: Path) -> None:
    """Sixty levels of sixteen nodes, each linked to all of the next level."""
    level = [raw(bytes([number])) for number in range(16)]
    blocks = list(level)
    for depth in range(60):
        level = [node(*(one.cid for one in level), raw(bytes([depth, number])).cid) for number in range(16)]
        blocks += [*(raw(bytes([depth, number])) for number in range(16)), *level]
    top = node(*(one.cid for one in level))
    began = time.monotonic()
    done = import_car(Quiet(), car(path, [top], [top, *blocks[::-1]]), limit=LIMIT)
    assert done.roots[0].missing is None and time.monotonic() - began < 30
