"""Files and directories as blocks: Kubo's CIDs (vectors), and no other tree is read."""

from __future__ import annotations

import io
import json
import tracemalloc
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import sha256_lanes, unixfs
from protocol.chunks import MOST_CHUNKS
from protocol.cid import DAG_PB, RAW, Cid, block_cid
from protocol.dag_pb import MAX_DIRECTORY_LINKS, Kind, Node, PbLink, encode_node
from protocol.errors import BlockCorrupt, BlockMissing, InvalidInput, NotCanonical, TooLarge
from protocol.sha256_lanes import together
from protocol.types import Digest
from protocol.unixfs import (
    CHUNK,
    Block,
    Leaf,
    Root,
    child_cids,
    directory_digest,
    file_leaves,
    import_directory,
    import_file,
    list_directory,
    read_file,
    read_leaf,
)
from tests.protocol.blocks import Blocks
from tests.protocol.content_patterns import PatternStream, content

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent.parent / "vectors/unixfs.json").read_text())
LARGE = 64 * CHUNK
NO_LIMIT = 2**62


@pytest.fixture
def blocks() -> Blocks:
    return Blocks()


@dataclass(frozen=True)
class Scale:
    """The measures of a profile with small leaves and narrow nodes, so that small files have trees of many levels."""

    chunk: int
    width: int


@pytest.fixture
def scaled(monkeypatch: pytest.MonkeyPatch) -> Scale:
    scale = Scale(VECTORS["scaled"]["chunk"], VECTORS["scaled"]["width"])
    monkeypatch.setattr(unixfs, "CHUNK", scale.chunk)
    monkeypatch.setattr(unixfs, "WIDTH", scale.width)
    return scale


def by_size(vector: dict[str, Any]) -> Any:
    marks = [pytest.mark.slow] if vector["size"] > LARGE else []
    return pytest.param(vector, marks=marks, id=f"{vector['pattern']}-{vector['size']}")


# What is refused


def test_import_refuses_nine_files() -> None:
    with pytest.raises(InvalidInput, match="make no artifact"):
        directory_digest({str(number): b"" for number in range(9)})


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "é", "a\nb", "a\x7f", "a\0", "n" * 256])
def test_names_that_are_not_plain_are_refused_both_ways(name: str, blocks: Blocks) -> None:
    with pytest.raises(InvalidInput):
        directory_digest({name: b""})
    leaf = blocks.leaf(b"")
    root = blocks.node(Node(Kind.DIRECTORY, (PbLink(leaf.cid, name, 0),)))
    with pytest.raises(NotCanonical, match="name"):
        list_directory(root.cid, blocks.get, NO_LIMIT)


@pytest.mark.parametrize("names", [("b", "a"), ("a", "a"), ("a", "B")])
def test_refuses_names_out_of_order(names: tuple[str, ...], blocks: Blocks) -> None:
    leaf = blocks.leaf(b"x")
    root = blocks.node(Node(Kind.DIRECTORY, tuple(PbLink(leaf.cid, name, 1) for name in names)))
    with pytest.raises(NotCanonical, match="ascending"):
        list_directory(root.cid, blocks.get, NO_LIMIT)


def test_refuses_a_directory_of_nine(blocks: Blocks) -> None:
    leaf = blocks.leaf(b"x")
    root = blocks.node(Node(Kind.DIRECTORY, tuple(PbLink(leaf.cid, str(number), 1) for number in range(9))))
    with pytest.raises(NotCanonical, match="9 entries"):
        list_directory(root.cid, blocks.get, NO_LIMIT)


def test_refuses_a_directory_in_a_directory(blocks: Blocks) -> None:
    inner = blocks.node(Node(Kind.DIRECTORY, ()), "inner")
    root = blocks.node(Node(Kind.DIRECTORY, (inner,)))
    with pytest.raises(NotCanonical, match="directory where a file"):
        list_directory(root.cid, blocks.get, NO_LIMIT)


def test_refuses_a_file_as_directory_and_a_directory_as_file(blocks: Blocks) -> None:
    leaf, directory = blocks.leaf(b"x"), blocks.node(Node(Kind.DIRECTORY, ()))
    file = import_file(io.BytesIO(bytes(CHUNK + 1)), blocks.emit)
    for cid in (leaf.cid, file.cid):
        with pytest.raises(NotCanonical, match="directory"):
            list_directory(cid, blocks.get, NO_LIMIT)
    with pytest.raises(NotCanonical, match="directory where a file"):
        read_file(directory.cid, blocks.get, NO_LIMIT)


def test_refuses_a_leaf_over_one_chunk(blocks: Blocks) -> None:
    leaf = blocks.leaf(bytes(CHUNK + 1))
    with pytest.raises(NotCanonical, match="leaf"):
        read_file(leaf.cid, blocks.get, NO_LIMIT)
    root = blocks.node(Node(Kind.DIRECTORY, (PbLink(leaf.cid, "a", leaf.total_size),)))
    blocks.fetched.clear()
    with pytest.raises(NotCanonical, match="leaf"):
        list_directory(root.cid, blocks.get, NO_LIMIT)
    assert blocks.fetched == [root.cid]


def test_refuses_other_shapes(blocks: Blocks) -> None:
    full, rest, small = blocks.leaf(bytes(CHUNK)), blocks.leaf(b"rest"), blocks.leaf(bytes(CHUNK // 2))
    good = Node(Kind.FILE, (full, rest), (CHUNK, 4))
    inner = blocks.node(good)
    shapes = {
        "a node for one leaf": Node(Kind.FILE, (full,), (CHUNK,)),
        "no leaf at all": Node(Kind.FILE, ()),
        "smaller chunks": Node(Kind.FILE, (small,) * 3, (CHUNK // 2,) * 3),
        "the short leaf first": Node(Kind.FILE, (rest, full), (4, CHUNK)),
        "an empty last leaf": Node(Kind.FILE, (full, full, blocks.leaf(b"")), (CHUNK, CHUNK, 0)),
        "more links than sizes": Node(Kind.FILE, (full, rest, rest), (CHUNK, 4)),
        "fewer links than sizes": Node(Kind.FILE, (full,), (CHUNK, 4)),
        "a named link": Node(Kind.FILE, (full, PbLink(rest.cid, "x", 4)), (CHUNK, 4)),
        "one level too many": Node(Kind.FILE, (inner,), (CHUNK + 4,)),
        "a node in a leaf's place": Node(Kind.FILE, (inner, rest), (CHUNK, 4)),
        "a wrong Tsize": Node(Kind.FILE, (full, PbLink(rest.cid, "", 5)), (CHUNK, 4)),
        "a leaf shorter than said": Node(Kind.FILE, (full, PbLink(rest.cid, "", 5)), (CHUNK, 5)),
        "a leaf longer than said": Node(Kind.FILE, (full, PbLink(full.cid, "", 4)), (CHUNK, 4)),
    }
    for why, shape in shapes.items():
        root = blocks.node(shape)
        with pytest.raises(NotCanonical):
            read_file(root.cid, blocks.get, NO_LIMIT)
            pytest.fail(why)
    assert read_file(inner.cid, blocks.get, NO_LIMIT) == bytes(CHUNK) + b"rest"


@pytest.mark.slow
@pytest.mark.parametrize(("size_more", "total_more"), [(1, 0), (0, 1), (0, -1)])
def test_refuses_a_lying_inner_node(size_more: int, total_more: int, blocks: Blocks) -> None:
    """A file of two levels whose right node is said to hold more, or to be larger or smaller, than it is."""
    full, rest = blocks.leaf(bytes(CHUNK)), blocks.leaf(b"x")
    left = blocks.node(Node(Kind.FILE, (full,) * 1024, (CHUNK,) * 1024))
    right = blocks.node(Node(Kind.FILE, (rest,), (1,)))
    lie = PbLink(right.cid, "", right.total_size + total_more)
    root = blocks.node(Node(Kind.FILE, (left, lie), (1024 * CHUNK, 1 + size_more)))
    with pytest.raises(NotCanonical, match="where its node says" if size_more else "in all"):
        read_file(root.cid, blocks.get, NO_LIMIT)


def test_too_large_is_said_before_a_leaf_is_fetched(blocks: Blocks) -> None:
    files = {"a": bytes(3 * CHUNK), "b": bytes(2 * CHUNK), "c": b"small"}
    root = import_directory(files, blocks.emit)
    links = list_directory(root.cid, blocks.get, 5 * CHUNK + 5)
    assert {name: link.size for name, link in links.items()} == {name: len(data) for name, data in files.items()}
    blocks.fetched.clear()
    with pytest.raises(TooLarge, match=f"{5 * CHUNK + 5} bytes"):
        list_directory(root.cid, blocks.get, 5 * CHUNK + 4)
    with pytest.raises(TooLarge):
        read_file(links["a"].cid, blocks.get, 3 * CHUNK - 1)
    assert all(cid.codec == DAG_PB for cid in blocks.fetched)
    with pytest.raises(TooLarge):
        read_file(links["c"].cid, blocks.get, 4)


def test_missing_and_corrupt_blocks_are_told_apart(blocks: Blocks) -> None:
    root = import_file(io.BytesIO(bytes(CHUNK) + b"rest"), blocks.emit)
    victim = block_cid(RAW, b"rest")
    blocks.data[victim] = b"mine"
    with pytest.raises(BlockCorrupt, match=str(victim)):
        read_file(root.cid, blocks.get, NO_LIMIT)
    del blocks.data[victim]
    with pytest.raises(BlockMissing, match=str(victim)):
        read_file(root.cid, blocks.get, NO_LIMIT)


# What is made


@pytest.mark.parametrize("vector", [by_size(vector) for vector in VECTORS["files"]])
def test_files_have_kubos_cids(vector: dict[str, Any]) -> None:
    stream = cast(BinaryIO, PatternStream(vector["pattern"], vector["size"]))
    root = import_file(stream, lambda block: None)
    assert (str(root.cid), root.size, root.total_size) == (vector["cid"], vector["size"], vector["total_size"])


@pytest.mark.parametrize("vector", VECTORS["scaled"]["files"], ids=lambda vector: str(vector["size"]))
def test_trees_of_many_levels_are_kubos(vector: dict[str, Any], blocks: Blocks, scaled: Scale) -> None:
    data = content(vector)
    root = import_file(io.BytesIO(data), blocks.emit)
    assert (str(root.cid), root.size, root.total_size) == (vector["cid"], vector["size"], vector["total_size"])
    assert read_file(root.cid, blocks.get, len(data)) == data


@pytest.mark.parametrize("vector", VECTORS["directories"], ids=lambda vector: vector["name"])
def test_directories_have_kubos_cids(vector: dict[str, Any], blocks: Blocks) -> None:
    files = {name: content(recipe) for name, recipe in vector["files"].items()}
    root = import_directory(files, blocks.emit)
    assert (str(root.cid), root.total_size) == (vector["cid"], vector["total_size"])
    assert root.size == sum(map(len, files.values()))
    assert list(list_directory(root.cid, blocks.get, NO_LIMIT)) == sorted(files)


@pytest.mark.slow
def test_a_file_of_two_levels_reads_back(blocks: Blocks) -> None:
    size = 1024 * CHUNK + 1
    root = import_file(cast(BinaryIO, PatternStream("zeros", size)), blocks.emit)
    assert len(blocks.data) == 5  # two leaves, two nodes, the root
    data = read_file(root.cid, blocks.get, size)
    assert len(data) == size
    assert not data.strip(b"\0")


@given(size=st.integers(0, 3 * CHUNK))
def test_what_is_imported_reads_back(size: int) -> None:
    blocks, data = Blocks(), content({"pattern": "counter", "size": size})
    root = import_file(io.BytesIO(data), blocks.emit)
    assert root.size == size
    assert read_file(root.cid, blocks.get, size) == data
    assert root.total_size == sum(map(len, blocks.data.values()))


@given(
    st.dictionaries(st.text("abcXYZ019._-", min_size=1, max_size=20), st.binary(max_size=50), max_size=8), st.randoms()
)
def test_a_directory_is_the_set_of_its_files(files: dict[str, bytes], random: Any) -> None:
    files = {name: data for name, data in files.items() if name not in (".", "..")}
    shuffled = list(files.items())
    random.shuffle(shuffled)
    assert directory_digest(dict(shuffled)) == directory_digest(files)


def test_the_top_block_comes_last(blocks: Blocks) -> None:
    root = import_directory({"b": bytes(2 * CHUNK + 1), "a": b"x"}, blocks.emit)
    assert blocks.order[-1] == root.cid
    assert blocks.order.index(block_cid(RAW, b"x")) == 0


def test_short_reads_make_no_difference() -> None:
    class Pipe(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, 60_001))

    data = content({"pattern": "counter", "size": CHUNK + 7})
    assert import_file(Pipe(data), lambda block: None) == import_file(io.BytesIO(data), lambda block: None)


@pytest.mark.parametrize("lanes", [False, True])
def test_memory_does_not_grow_with_the_file(lanes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sha256_lanes, "_ENGINE", sha256_lanes._Engine())
    if lanes:
        sha256_lanes.description()  # compiles them
    few = 3 if together(CHUNK) == 1 else MOST_CHUNKS

    def peak(size: int) -> int:
        tracemalloc.start()
        root: Root = import_file(cast(BinaryIO, PatternStream("zeros", size)), lambda block: None)
        assert root.size == size
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    assert peak(40 * CHUNK) < peak((few + 1) * CHUNK) + CHUNK // 4
    assert peak(40 * CHUNK) < (few + 1) * CHUNK


def test_cids_and_sizes_of_leaves_are_enough_to_make_the_nodes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unixfs, "CHUNK", 4)
    monkeypatch.setattr(unixfs, "WIDTH", 3)
    roots: dict[str, Root] = {}
    files = {f"{size:03}": bytes(range(size)) for size in (*range(45), 107, 108, 109, 110)}
    for name, data in files.items():
        blocks = Blocks()
        root = import_file(io.BytesIO(data), blocks.emit)
        assert unixfs.root_of_leaves(file_leaves(root.cid, blocks.get, len(data))) == root
        roots[name] = root
    monkeypatch.setattr(unixfs, "MAX_ENTRIES", len(files))
    assert unixfs.directory_of_roots(dict(reversed(roots.items())), Blocks().emit) == import_directory(
        files, Blocks().emit
    )


def test_digest_is_the_roots() -> None:
    files = {"a": b"alice", "b": b"bob"}
    digest: Digest = directory_digest(files)
    assert import_directory(files, lambda block: None).cid == Cid(DAG_PB, digest)


# Leaf by leaf: what a download that goes to disk, breaks off and continues relies on


def three_levels(blocks: Blocks, scaled: Scale) -> tuple[Root, bytes]:
    """A file of 20 leaves below 7 nodes below 3 nodes below the top."""
    data = content({"pattern": "counter", "size": 19 * scaled.chunk + 5})
    root = import_file(io.BytesIO(data), blocks.emit)
    blocks.fetched.clear()
    return root, data


def test_leaves_stand_in_order_without_gaps(blocks: Blocks, scaled: Scale) -> None:
    root, data = three_levels(blocks, scaled)
    leaves = list(file_leaves(root.cid, blocks.get, len(data)))
    assert [leaf.offset for leaf in leaves] == [scaled.chunk * number for number in range(20)]
    assert [leaf.size for leaf in leaves] == [scaled.chunk] * 19 + [5]
    for leaf in leaves:
        assert read_leaf(leaf, blocks.get) == data[leaf.offset : leaf.offset + leaf.size]


def test_nothing_is_fetched_but_the_nodes_above_the_next_leaf(blocks: Blocks, scaled: Scale) -> None:
    root, data = three_levels(blocks, scaled)
    leaves = file_leaves(root.cid, blocks.get, len(data))
    assert blocks.fetched == [], "nothing before the first leaf is asked for"
    seen = []
    for _ in leaves:
        assert all(cid.codec == DAG_PB for cid in blocks.fetched), "no leaf is fetched at all"
        seen.append(len(blocks.fetched))
    # the top, one of 9 leaves' and one of 3 leaves' nodes; then a node each 3 leaves, and one more each 9
    assert seen == [3, 3, 3, 4, 4, 4, 5, 5, 5, 7, 7, 7, 8, 8, 8, 9, 9, 9, 11, 11]
    assert blocks.fetched[0] == root.cid
    assert len(set(blocks.fetched)) == 11, "each node once"


def test_who_begins_again_finds_the_same_leaves(blocks: Blocks, scaled: Scale) -> None:
    root, data = three_levels(blocks, scaled)
    broken_off = list(islice(file_leaves(root.cid, blocks.get, len(data)), 11))
    again = list(file_leaves(root.cid, blocks.get, len(data)))
    assert again[:11] == broken_off
    missing = [leaf for leaf in again if leaf not in broken_off]
    assert sum(leaf.size for leaf in missing) == len(data) - broken_off[-1].offset - scaled.chunk


def test_a_node_that_is_missing_stops_where_its_leaves_would_begin(blocks: Blocks, scaled: Scale) -> None:
    root, data = three_levels(blocks, scaled)
    nodes = [cid for cid in blocks.order if cid.codec == DAG_PB]
    del blocks.data[nodes[2]]  # that of leaves 6, 7, 8: children before parents, so the first node is of leaves 0, 1, 2
    leaves = file_leaves(root.cid, blocks.get, len(data))
    assert [leaf.offset // scaled.chunk for leaf in islice(leaves, 6)] == [0, 1, 2, 3, 4, 5]
    with pytest.raises(BlockMissing, match=str(nodes[2])):
        next(leaves)


def test_a_file_of_one_leaf_is_that_leaf(blocks: Blocks) -> None:
    for data in (b"", b"alice"):
        root = import_file(io.BytesIO(data), blocks.emit)
        assert list(file_leaves(root.cid, blocks.get, len(data))) == [Leaf(root.cid, 0, len(data))]
    with pytest.raises(TooLarge, match="5 bytes"):
        list(file_leaves(root.cid, blocks.get, 4))


def test_a_leaf_is_read_as_it_was_announced(blocks: Blocks) -> None:
    link = blocks.leaf(b"alice")
    assert read_leaf(Leaf(link.cid, 0, 5), blocks.get) == b"alice"
    for size in (4, 6):
        with pytest.raises(NotCanonical, match="holds 5 bytes where its node says"):
            read_leaf(Leaf(link.cid, 0, size), blocks.get)
    blocks.data[link.cid] = b"malls"
    with pytest.raises(BlockCorrupt):
        read_leaf(Leaf(link.cid, 0, 5), blocks.get)


# What a block links to: what keeping, collecting and exporting rely on


def test_children_are_all_in_their_order(blocks: Blocks) -> None:
    root = import_directory({"b": bytes(2 * CHUNK + 1), "a": b"x"}, blocks.emit)
    small, large = child_cids(Block(root.cid, blocks.data[root.cid]))
    assert small == block_cid(RAW, b"x")
    zeros, rest = block_cid(RAW, bytes(CHUNK)), block_cid(RAW, b"\0")
    assert child_cids(Block(large, blocks.data[large])) == (zeros, zeros, rest)
    assert child_cids(Block(small, b"x")) == ()


def test_children_of_the_largest_directory_are_known() -> None:
    target = block_cid(RAW, b"")
    widest = Node(Kind.DIRECTORY, (PbLink(target, "a", 0),) * MAX_DIRECTORY_LINKS)
    data = encode_node(widest)
    assert child_cids(Block(block_cid(DAG_PB, data), data)) == (target,) * MAX_DIRECTORY_LINKS


def test_what_is_no_node_has_no_children() -> None:
    raw = encode_node(Node(Kind.DIRECTORY, (PbLink(block_cid(RAW, b"x"), "a", 1),)))
    assert child_cids(Block(block_cid(RAW, raw), raw)) == (), "a leaf that looks like a node is a leaf"
    for data in (b"", b"no node", raw[:-1]):
        assert child_cids(Block(block_cid(DAG_PB, data), data)) == ()
