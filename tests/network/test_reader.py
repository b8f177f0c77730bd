"""Reading whole files: what is refused before a leaf is asked for, which error wins, and how much is under way."""

from __future__ import annotations

import io
import random
import time

import pytest

from network.memory_store import MemoryStore
from network.reader import WINDOW, WORKERS, Reader
from protocol import unixfs
from protocol.cid import Cid
from protocol.dag_pb import Kind, Node, PbLink
from protocol.errors import BlockCorrupt, BlockMissing, NotCanonical, StoreUnavailable, TooLarge
from protocol.unixfs import Block, Leaf, file_leaves, import_file
from tests.network.counting import HOURS, CountingSource

CHUNK, WIDTH = 16, 4
COUNT = 60  # leaves, four levels
NO_LIMIT = 2**62


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make small leaves and narrow nodes, so that small files have trees of many levels."""
    monkeypatch.setattr(unixfs, "CHUNK", CHUNK)
    monkeypatch.setattr(unixfs, "WIDTH", WIDTH)


def content(count: int = COUNT) -> bytes:
    return random.Random(count).randbytes(CHUNK * count)  # noqa: S311


class Published(MemoryStore):
    """A store with one file, and the CIDs of its leaves in order."""

    def __init__(self, data: bytes = b"") -> None:
        super().__init__()
        self.data = data or content()
        self.cid = import_file(io.BytesIO(self.data), self.put_block).cid
        self.leaves = [leaf.cid for leaf in file_leaves(self.cid, self.get_block, NO_LIMIT)]

    def shorten(self, number: int) -> None:
        """Let the tree say of one leaf that it is as long as the others, which it is not."""
        short = Block(unixfs.block_cid(unixfs.RAW, b"short"), b"short")
        self.put_block(short)
        self.cid = self._with_leaf(self.cid, self.leaves[number], short.cid)
        self.leaves[number] = short.cid

    def _with_leaf(self, cid: Cid, old: Cid, new: Cid) -> Cid:
        if cid == old:
            return new
        if cid.codec == unixfs.RAW:
            return cid
        node = unixfs.decode_node(self.get_block(cid))
        links = [PbLink(self._with_leaf(link.cid, old, new), "", link.total_size) for link in node.links]
        return unixfs.emit_node(Node(Kind.FILE, tuple(links), node.sizes), node.size, self.put_block).cid


def read(source: CountingSource, cid: Cid, seconds: float | None = None, limit: int = NO_LIMIT) -> bytes:
    out = io.BytesIO()
    for leaf, data in Reader(source, seconds=seconds).leaves(cid, limit):
        out.seek(leaf.offset)
        out.write(data or b"")
    return out.getvalue()


# What is refused, and what cannot be had


def test_a_file_over_the_limit_is_refused_before_any_leaf_is_asked_for() -> None:
    store = Published()
    source = CountingSource(store)
    with pytest.raises(TooLarge):
        read(source, store.cid, limit=len(store.data) - 1)
    assert not source.leaves
    assert read(source, store.cid, limit=len(store.data)) == store.data


def test_a_missing_leaf_is_named() -> None:
    store = Published()
    with pytest.raises(BlockMissing) as caught:
        read(CountingSource(store, withheld=[store.leaves[20]]), store.cid)
    assert caught.value.cid == str(store.leaves[20])


def test_the_first_missing_leaf_is_named_whichever_is_noticed_first() -> None:
    store = Published()
    for delays in ({3: 0.3}, {0: 0.4, 5: 0.2}):
        slow = {store.leaves[number]: seconds for number, seconds in delays.items()}
        source = CountingSource(store, delays=slow, withheld=[store.leaves[3], store.leaves[5]])
        with pytest.raises(BlockMissing) as caught:
            read(source, store.cid)
        assert caught.value.cid == str(store.leaves[3])


def test_a_missing_leaf_ends_the_asking() -> None:
    store = Published()
    source = CountingSource(store, 0.001, withheld=[store.leaves[0]])
    with pytest.raises(BlockMissing):
        read(source, store.cid)
    time.sleep(0.1)
    assert source.leaves.total() <= WINDOW


def test_what_is_behind_a_missing_leaf_is_not_begun_while_others_are_awaited() -> None:
    store = Published()
    delays = {**dict.fromkeys(store.leaves, 0.2), store.leaves[0]: 0.8, store.leaves[1]: 0.0}
    source = CountingSource(store, delays=delays, withheld=[store.leaves[1]])
    with pytest.raises(BlockMissing):
        read(source, store.cid)
    assert source.leaves.total() < WORKERS + 4


def test_a_withheld_leaf_cannot_hide_a_refusal_before_it() -> None:
    store = Published()
    store.shorten(3)
    source = CountingSource(store, delays={store.leaves[3]: 0.3}, withheld=store.leaves[4:])
    with pytest.raises(NotCanonical, match=str(store.leaves[3])):
        read(source, store.cid)


def test_a_refusal_waits_for_nobody() -> None:
    store = Published()
    store.shorten(4)
    began = time.monotonic()
    with pytest.raises(NotCanonical, match=str(store.leaves[4])):
        read(CountingSource(store, delays={store.leaves[0]: HOURS}), store.cid)
    assert time.monotonic() - began < 2


def test_a_missing_node_is_said_after_the_leaves_before_it() -> None:
    store = Published()
    node = next(cid for cid in reversed(list(store.blocks)) if cid.codec != unixfs.RAW and cid != store.cid)
    source = CountingSource(store, withheld=[node])
    came: list[Leaf] = []
    with pytest.raises(BlockMissing) as caught:
        came.extend(leaf for leaf, _ in Reader(source).leaves(store.cid, NO_LIMIT))
    assert caught.value.cid == str(node)
    assert len(came) == 48  # all below the three nodes before it


def test_a_damaged_block_is_refused_by_name() -> None:
    store = Published()
    store.blocks[store.leaves[7]] = bytes(CHUNK)
    with pytest.raises(BlockCorrupt) as caught:
        read(CountingSource(store), store.cid)
    assert caught.value.cid == str(store.leaves[7])


@pytest.mark.parametrize("obeys", [True, False])
def test_time_over_is_said_with_what_came(obeys: bool) -> None:
    store = Published()
    source = CountingSource(store, delays={store.leaves[40]: HOURS if not obeys else 60.0}, obeys=obeys)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"within 0\.5 seconds") as caught:
        read(source, store.cid, seconds=0.5)
    assert 0.4 < time.monotonic() - began < 2.5
    assert str(store.cid) in caught.value.what and source.name in caught.value.what
    assert f"of {len(store.data)} bytes came" in caught.value.why
    assert (f"Block {store.leaves[40]} is not in" in caught.value.why) == obeys


def test_time_ends_though_blocks_come_all_the_while() -> None:
    store = Published(content(2000))
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"within 0\.3 seconds"):
        read(CountingSource(store, 0.02, obeys=False), store.cid, seconds=0.3)
    assert time.monotonic() - began < 1.5


def test_without_time_nothing_is_asked_for() -> None:
    store = Published()
    with pytest.raises(StoreUnavailable):
        read(CountingSource(store), store.cid, seconds=0)


def test_an_error_of_whoever_says_what_is_there_comes_at_once() -> None:
    store = Published()

    def have(leaf: Leaf) -> bool:
        raise OSError(5, "the disk failed")

    with pytest.raises(OSError, match="the disk failed"):
        list(Reader(store).leaves(store.cid, NO_LIMIT, have))


# What is read


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK * WIDTH, CHUNK * WIDTH + 1, 1000])
def test_reads_what_was_published(size: int) -> None:
    store = MemoryStore()
    data = random.Random(size).randbytes(size)  # noqa: S311
    cid = import_file(io.BytesIO(data), store.put_block).cid
    source = CountingSource(store)
    assert read(source, cid) == data
    assert set(source.leaves.values()) == {1}


def test_several_leaves_are_under_way_and_never_more_than_the_workers() -> None:
    store = Published()
    source = CountingSource(store, 0.01)
    assert read(source, store.cid) == store.data
    assert 1 < source.most_busy <= WORKERS + 1, "one for the next node"


def test_who_does_not_take_stops_the_asking() -> None:
    store = Published()
    source = CountingSource(store)
    leaves = Reader(source).leaves(store.cid, NO_LIMIT)
    next(leaves)
    time.sleep(0.2)
    assert source.leaves.total() <= WINDOW
    leaves.close()
    time.sleep(0.1)
    before = source.leaves.total()
    time.sleep(0.1)
    assert source.leaves.total() == before


def test_a_slow_leaf_does_not_hold_the_others_up() -> None:
    store = Published()
    source = CountingSource(store, delays={store.leaves[0]: 0.5})
    order = [leaf.cid for leaf, _ in Reader(source).leaves(store.cid, NO_LIMIT)]
    assert order[-1] == store.leaves[0] and sorted(order, key=str) == sorted(store.leaves, key=str)


def test_nodes_are_fetched_when_their_leaves_are_near() -> None:
    store = Published(content(2000))
    source = CountingSource(store)
    leaves = Reader(source).leaves(store.cid, NO_LIMIT)
    for _ in range(3):
        next(leaves)
    assert len(source.asked) < 50
    leaves.close()


def test_what_is_there_comes_without_bytes_and_is_not_asked_for() -> None:
    store = Published()
    source = CountingSource(store)
    there = set(store.leaves[:30])
    arrivals = Reader(source).leaves(store.cid, NO_LIMIT, lambda leaf: leaf.cid in there)
    came = {leaf.cid: data for leaf, data in arrivals}
    assert {cid for cid, data in came.items() if data is None} == there
    assert set(source.leaves) == set(store.leaves[30:])


def test_progress_is_told_up_to_the_end() -> None:
    store = Published()
    told: list[tuple[int, int]] = []
    list(Reader(store, on_progress=lambda done, total: told.append((done, total))).leaves(store.cid, NO_LIMIT))
    assert told == [(CHUNK * number, len(store.data)) for number in range(1, COUNT + 1)]
