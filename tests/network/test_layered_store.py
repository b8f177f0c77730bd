"""Several stores as one: who is asked, who gets what was found, and what it means that nobody gave a block."""

from __future__ import annotations

import gc
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

from network.directory_store import DirectoryStore
from network.layered_store import LayeredStore
from network.memory_store import MemoryStore
from network.store import open_store
from network.transfer import fetch, publish
from protocol.cid import RAW, Cid, block_cid, directory_cid
from protocol.errors import BlockCorrupt, BlockMissing, InvalidInput, SearchUnfinished, StoreUnavailable
from protocol.unixfs import CHUNK, Block, directory_digest, import_directory

FILES = {"delta.safetensors": bytes(range(256)) * 10_000, "update.json": b"{}"}
MALLORY = block_cid(RAW, b"what mallory withholds")
ALICE = Block(block_cid(RAW, b"alice's update"), b"alice's update")


class Network(MemoryStore):
    """A store in memory that answers as one that searches a network: after ``delay``, or not at all while ``down``."""

    searches = True

    def __init__(self, name: str = "network", *, down: bool = False, delay: float = 0.0) -> None:
        super().__init__()
        self.name, self.down, self.delay = name, down, delay
        self.asked: list[tuple[Cid, float | None]] = []

    def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
        self.asked.append((cid, seconds))
        time.sleep(self.delay if seconds is None else min(seconds, self.delay))
        if self.down:
            raise StoreUnavailable(f"{self.name} cannot be used.", "No answer.")
        return super().get_block(cid, seconds)


class Down(MemoryStore):
    """A local store whose disk is gone or full."""

    name = "dir:/gone"

    def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
        raise StoreUnavailable("The content store in /gone cannot be used.")

    def put_blocks(self, blocks: object) -> None:
        raise StoreUnavailable("The content store in /gone cannot be used.", "The disk is full.")


class GivesOnly:
    """What a gateway is: a source that takes nothing."""

    searches = True

    def __init__(self, behind: MemoryStore) -> None:
        self.name, self._behind = "gateway:http://127.0.0.1:1", behind

    def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
        return self._behind.get_block(cid)

    def has_block(self, cid: Cid) -> bool:
        return self._behind.has_block(cid)


# Reading


def test_nobody_has_it() -> None:
    store = LayeredStore([MemoryStore(), Network("kubo:a"), Network("gateway:b")])
    with pytest.raises(BlockMissing) as caught:
        store.get_block(ALICE.cid)
    assert caught.value.cid == str(ALICE.cid)
    for name in (str(ALICE.cid), "memory:", "kubo:a", "gateway:b"):
        assert name in str(caught.value)


def test_no_source_that_could_know_answers() -> None:
    store = LayeredStore([MemoryStore(), Network("kubo:a", down=True)])
    with pytest.raises(StoreUnavailable) as caught:
        store.get_block(ALICE.cid)
    assert str(ALICE.cid) in caught.value.what
    assert "memory:: not there" in caught.value.why
    assert "kubo:a cannot be used" in caught.value.why


def test_a_dead_gateway_hides_no_other_ones_answer() -> None:
    gone, there = GivesOnly(Network(down=True)), Network("kubo:b")
    store = LayeredStore([gone, there])
    with pytest.raises(BlockMissing):
        store.get_block(ALICE.cid)
    there.put_block(ALICE)
    assert store.get_block(ALICE.cid) == ALICE.data


def test_a_gateway_makes_nothing_missing_while_ones_own_node_is_silent() -> None:
    node, gateway = Network("kubo:a", down=True), MemoryStore()
    store = LayeredStore([MemoryStore(), node, GivesOnly(gateway)])
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="kubo:a"):
            store.get_block(ALICE.cid)
    gateway.put_block(ALICE)
    assert store.get_block(ALICE.cid) == ALICE.data


def test_of_local_stores_alone_every_one_must_say_so() -> None:
    with pytest.raises(BlockMissing):
        LayeredStore([MemoryStore(), MemoryStore()]).get_block(ALICE.cid)
    with pytest.raises(StoreUnavailable):
        LayeredStore([MemoryStore(), Down()]).get_block(ALICE.cid)


def test_a_damaged_copy_that_nobody_can_mend_is_said() -> None:
    disk = MemoryStore()
    disk.blocks[ALICE.cid] = b"alice's u?date"
    with pytest.raises(BlockCorrupt, match="damaged"):
        LayeredStore([disk, Network()]).get_block(ALICE.cid)


def test_what_was_found_is_on_disk_the_next_time(tmp_path: Path) -> None:
    disk, network = DirectoryStore(tmp_path), Network()
    digest = publish(network, FILES)
    store = LayeredStore([disk, network])
    assert fetch(store, digest, CHUNK * 8) == FILES
    network.down = True
    assert fetch(LayeredStore([DirectoryStore(tmp_path), network]), digest, CHUNK * 8) == FILES


def test_a_damaged_copy_is_mended(tmp_path: Path) -> None:
    disk, network = DirectoryStore(tmp_path), Network()
    for store in (disk, network):
        store.put_block(ALICE)
    disk.path(ALICE.cid).write_bytes(b"alice's u?date")
    assert LayeredStore([disk, network]).get_block(ALICE.cid) == ALICE.data
    assert disk.get_block(ALICE.cid) == ALICE.data


def test_what_a_node_gives_is_not_put_into_nodes() -> None:
    first, second = Network("kubo:a"), Network("kubo:b")
    second.put_block(ALICE)
    assert LayeredStore([first, second]).get_block(ALICE.cid) == ALICE.data
    assert not first.has_block(ALICE.cid)  # a node gets what is its user's by being told to keep it


def test_a_full_cache_keeps_nobody_from_reading() -> None:
    class Full(MemoryStore):
        def put_blocks(self, blocks: object) -> None:
            raise StoreUnavailable("full")

    network = Network()
    network.put_block(ALICE)
    assert LayeredStore([Full(), network]).get_block(ALICE.cid) == ALICE.data


def test_sources_share_the_time() -> None:
    slow, fast = Network("kubo:a", delay=60), Network("gateway:b")
    fast.put_block(ALICE)
    store = LayeredStore([MemoryStore(), slow, fast])
    began = time.monotonic()
    assert store.get_block(ALICE.cid, 1.0) == ALICE.data
    assert 0.4 < time.monotonic() - began < 0.9
    assert fast.asked[0][1] is not None
    assert 0.3 < fast.asked[0][1] <= 0.6


def test_without_a_limit_each_has_its_own() -> None:
    network = Network()
    network.put_block(ALICE)
    LayeredStore([network, Network()]).get_block(ALICE.cid)
    assert network.asked == [(ALICE.cid, None)]


def test_a_source_that_did_not_answer_rests() -> None:
    gone, there = Network("kubo:a", down=True), Network("gateway:b")
    there.put_block(ALICE)
    store = LayeredStore([gone, there], rest_seconds=0.2)
    for _ in range(5):
        assert store.get_block(ALICE.cid) == ALICE.data
    assert len(gone.asked) == 1
    time.sleep(0.25)
    gone.down = False
    gone.put_block(ALICE)
    store.get_block(ALICE.cid)
    assert (len(gone.asked), len(there.asked)) == (2, 5)
    store.get_block(ALICE.cid)
    assert (len(gone.asked), len(there.asked)) == (3, 5)


def test_one_that_rests_is_no_answer() -> None:
    store = LayeredStore([Network("kubo:a", down=True)], rest_seconds=60)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="kubo:a"):
            store.get_block(ALICE.cid)


def test_one_that_was_cut_off_while_it_looked_does_not_rest() -> None:
    class Hanging(GivesOnly):
        def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
            if not self.has_block(cid):
                raise SearchUnfinished("gateway:b is looking still.")
            return super().get_block(cid)

    behind = MemoryStore()
    behind.put_block(ALICE)
    store = LayeredStore([MemoryStore(), Hanging(behind)], rest_seconds=60)
    for _ in range(2):
        with pytest.raises(SearchUnfinished, match=str(MALLORY)):
            store.get_block(MALLORY, 0.1)
    assert store.get_block(ALICE.cid, 0.1) == ALICE.data
    with pytest.raises(SearchUnfinished):
        store.get_block(MALLORY)  # it had all the time that it takes for itself
    with pytest.raises(StoreUnavailable, match="looking still"):
        store.get_block(block_cid(RAW, b"bob's update"), 0.1)


@pytest.mark.parametrize("first", [Network("kubo:a"), Network("kubo:a", down=True)])
def test_what_was_given_is_not_remembered(first: Network) -> None:
    """An error's traceback holds the frames that it went through, and what they found after it."""

    class Fresh(GivesOnly):
        def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
            return bytearray(CHUNK)  # type: ignore[return-value] - new every time

    store = LayeredStore([first, Fresh(MemoryStore())])
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(20):
            store.get_block(ALICE.cid)
        assert tracemalloc.get_traced_memory()[0] < 2 * CHUNK
    finally:
        tracemalloc.stop()
        gc.enable()


# Writing and keeping


def test_nothing_can_be_put_where_all_only_give() -> None:
    store = LayeredStore([GivesOnly(MemoryStore())])
    for action in (lambda: store.put_block(ALICE), lambda: store.keep(ALICE.cid), lambda: store.release(ALICE.cid)):
        with pytest.raises(StoreUnavailable, match=r"only give blocks.*dir:"):
            action()
    assert store.kept() == frozenset()
    assert not store.has_block(ALICE.cid)


def test_one_that_fails_is_named_after_the_others_were_written() -> None:
    last = MemoryStore()
    with pytest.raises(StoreUnavailable, match=r"/gone.*full"):
        LayeredStore([Down(), last]).put_block(ALICE)
    assert last.has_block(ALICE.cid)


def test_writes_through_and_reads_from_whoever_has_it() -> None:
    first, behind, second = MemoryStore(), MemoryStore(), MemoryStore()
    store = LayeredStore([first, GivesOnly(behind), second])
    digest = publish(store, FILES)
    assert fetch(first, digest, CHUNK * 8) == fetch(second, digest, CHUNK * 8) == FILES
    assert first.kept() == second.kept() == store.kept() == {directory_cid(digest)}
    assert not behind.blocks


def test_has_is_what_every_store_has() -> None:
    first, second = MemoryStore(), MemoryStore()
    store = LayeredStore([first, second])
    first.put_block(ALICE)
    assert not store.has_block(ALICE.cid)
    second.put_block(ALICE)
    assert store.has_block(ALICE.cid)


@pytest.mark.parametrize("lacking", ["disk", "node"])
def test_keeping_brings_the_tree_to_who_lacks_it(lacking: str, tmp_path: Path) -> None:
    disk, node = DirectoryStore(tmp_path), Network("kubo:a")
    root = import_directory(FILES, (node if lacking == "disk" else disk).put_block).cid
    store = LayeredStore([disk, node])
    store.keep(root)
    assert disk.kept() == node.kept() == store.kept() == {root}
    for one in (disk, node):
        assert fetch(one, root.digest, CHUNK * 8) == FILES
    store.release(root)
    assert disk.kept() == node.kept() == frozenset()


def test_a_tree_that_nobody_has_whole_is_kept_by_none() -> None:
    node = Network("kubo:a")
    root = import_directory(FILES, node.put_block).cid
    del node.blocks[block_cid(RAW, b"{}")]
    store = LayeredStore([MemoryStore(), node])
    with pytest.raises(BlockMissing, match=str(block_cid(RAW, b"{}"))):
        store.keep(root)
    assert store.kept() == frozenset()


def test_a_lease_is_one_on_all(tmp_path: Path) -> None:
    stores = [DirectoryStore(tmp_path / name) for name in "ab"]
    with LayeredStore([*stores, Network()]).lease(ALICE.cid):
        assert [[lease.roots for lease in store.leases.live()] for store in stores] == [[(ALICE.cid,)]] * 2
    assert [list(store.leases.live()) for store in stores] == [[], []]


def test_threads_share_it() -> None:
    network = Network()
    digest = publish(network, FILES)
    store = LayeredStore([MemoryStore(), Network(down=True), network])
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda: found.append(fetch(store, digest, CHUNK * 8) == FILES)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 8


# Naming


def test_a_list_in_the_setting_is_a_combination(tmp_path: Path) -> None:
    store = open_store(f"dir:{tmp_path}/a, memory:,dir:{tmp_path}/b")
    assert isinstance(store, LayeredStore)
    assert store.name == f"dir:{tmp_path}/a, memory:, dir:{tmp_path}/b"
    assert directory_digest(FILES) == publish(store, FILES)


@pytest.mark.parametrize("setting", ["memory:,", "memory:, ,memory:", "memory:,nonsense:x"])
def test_the_part_that_is_wrong_is_named(setting: str) -> None:
    with pytest.raises(InvalidInput, match="names no content store") as caught:
        open_store(setting)
    assert "memory" not in caught.value.what
