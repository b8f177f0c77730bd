"""Probing many artifacts at once: withheld ones cost seconds together, not each, and starve nobody."""

from __future__ import annotations

import random
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from network.directory_store import DirectoryStore
from network.memory_store import MemoryStore
from network.probe import probe
from network.transfer import publish
from protocol.cid import RAW, Cid, block_cid, directory_cid
from protocol.dag_pb import Kind, Node, PbLink
from protocol.errors import SearchUnfinished, StoreUnavailable
from protocol.types import Digest
from protocol.unixfs import CHUNK, Block, directory_digest, emit_node
from tests.network.counting import CountingSource


class Searching(MemoryStore):
    """Looks for what it lacks as long as it may, as a node of a network does; ``delay`` is what a block takes to come."""

    def __init__(self, delay: float = 0.0) -> None:
        super().__init__()
        self.delay = delay
        self.asked: list[float] = []
        self._busy, self.most_busy = 0, 0
        self._lock = threading.Lock()

    def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
        seconds = 30.0 if seconds is None else seconds
        with self._lock:
            self.asked.append(seconds)
            self._busy += 1
            self.most_busy = max(self.most_busy, self._busy)
        try:
            time.sleep(seconds if not self.has_block(cid) else min(seconds, self.delay))
            return super().get_block(cid)
        finally:
            with self._lock:
                self._busy -= 1


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def randbytes(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311


def artifact(number: int) -> dict[str, bytes]:
    return {"update.json": b"%d" % number, "delta.safetensors": bytes([number % 256]) * 10}


def withheld(count: int) -> list[Digest]:
    return [directory_digest(artifact(1000 + number)) for number in range(count)]


def test_nothing_to_look_for() -> None:
    assert probe(MemoryStore(), [], 100, 1.0) == set()


def test_what_is_there_is_found_at_once() -> None:
    store = Searching()
    digests = [publish(store, artifact(number)) for number in range(30)]
    with within(5):
        assert probe(store, digests, 100, 60.0) == set(digests)


def test_bytes_that_will_be_refused_were_published() -> None:
    store = MemoryStore()
    large = publish(store, {"delta.safetensors": bytes(2 * CHUNK)})
    assert probe(store, [large], 100, 1.0) == {large}


def test_an_artifact_without_all_its_blocks_is_not_found() -> None:
    store = MemoryStore()
    digest = publish(store, artifact(1))
    store.blocks = {cid: data for cid, data in store.blocks.items() if cid == directory_cid(digest)}
    assert probe(store, [digest], 100, 1.0) == set()


def test_damaged_bytes_are_not_found() -> None:
    store = MemoryStore()
    digest = publish(store, artifact(1))
    store.blocks[directory_cid(digest)] += b"?"
    assert probe(store, [digest], 100, 1.0) == set()


def test_a_refusal_is_found_though_what_follows_is_withheld() -> None:
    store = MemoryStore()
    leaf, last = Block(block_cid(RAW, b"short"), b"short"), block_cid(RAW, b"nobody has this")
    links = (PbLink(leaf.cid, "", CHUNK), PbLink(last, "", CHUNK))
    store.put_block(leaf)
    file = emit_node(Node(Kind.FILE, links, (CHUNK, CHUNK)), 2 * CHUNK, store.put_block)
    root = emit_node(Node(Kind.DIRECTORY, (PbLink(file.cid, "a", file.total_size),)), 0, store.put_block)
    assert probe(store, [root.cid.digest], 4 * CHUNK, 1.0) == {root.cid.digest}


def test_what_is_withheld_before_a_refusal_is_missing() -> None:
    store = MemoryStore()
    leaf, first = Block(block_cid(RAW, b"short"), b"short"), block_cid(RAW, b"nobody has this")
    links = (PbLink(first, "", CHUNK), PbLink(leaf.cid, "", CHUNK))
    store.put_block(leaf)
    file = emit_node(Node(Kind.FILE, links, (CHUNK, CHUNK)), 2 * CHUNK, store.put_block)
    root = emit_node(Node(Kind.DIRECTORY, (PbLink(file.cid, "a", file.total_size),)), 0, store.put_block)
    assert probe(store, [root.cid.digest], 4 * CHUNK, 1.0) == set()


def test_every_block_is_asked_for_once_and_none_is_kept(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    digests = [publish(store, {"a": b"x%d" % at, "b": randbytes(at, 8 * CHUNK), "c": b""}) for at in range(4)]
    source = CountingSource(store)
    tracemalloc.start()
    assert probe(source, digests, 9 * CHUNK, 60.0) == set(digests)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * CHUNK  # of 32, and four blocks come at a time
    assert {count for cid, count in source.asked.items() if cid != block_cid(RAW, b"")} == {1}


def test_many_withheld_updates_cost_one_deadline_together() -> None:
    store = Searching()
    first, last = publish(store, artifact(1)), publish(store, artifact(2))
    with within(4.0):
        assert probe(store, [first, *withheld(200), last], 100, 3.0) == {first, last}
    assert store.most_busy <= 32


def test_a_probe_ends_early_once_all_was_looked_for_with_patience() -> None:
    store = Searching()
    with within(4.0):
        assert probe(store, withheld(10), 100, 600.0, patience=0.5) == set()
    assert max(store.asked) == 0.5


def test_a_slow_store_is_given_its_time() -> None:
    store = Searching(delay=1.5)  # the first, short search finds nothing
    digest = publish(store, artifact(1))
    with within(20):
        assert probe(store, [digest], 100, 60.0, patience=4.0) == {digest}


def test_no_deadline_no_look() -> None:
    store = MemoryStore()
    assert probe(store, [publish(store, artifact(1))], 100, 0.0) == set()


def test_a_store_that_does_not_answer_is_said() -> None:
    class Away(MemoryStore):
        def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
            raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable), within(2):
        probe(Away(), withheld(100), 100, 60.0)


class Hanging(MemoryStore):
    """Has what it has at once, and of what it lacks it says nothing as long as anybody waits."""

    def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
        if not self.has_block(cid):
            time.sleep(30.0 if seconds is None else seconds)
            raise SearchUnfinished("still looking")
        return super().get_block(cid)


def test_who_withholds_from_a_source_that_hangs_hides_nobody_else() -> None:
    store = Hanging()
    there, found = publish(store, artifact(1)), set[Digest]()
    with pytest.raises(SearchUnfinished), within(4):  # nothing can be said of the other one
        probe(store, [*withheld(1), there], 100, 2.0, on_found=found.update)
    assert found == {there}


def test_a_source_that_hangs_is_asked_no_longer_than_patience() -> None:
    with pytest.raises(SearchUnfinished), within(4):
        probe(Hanging(), withheld(1), 100, 600.0, patience=0.5)


def test_what_was_found_before_a_store_failed_is_told() -> None:
    class Failing(MemoryStore):
        def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
            if not self.has_block(cid):
                raise StoreUnavailable("away")
            return super().get_block(cid)

    store = Failing()
    there, found = publish(store, artifact(1)), set[Digest]()
    with pytest.raises(StoreUnavailable):
        probe(store, [there, *withheld(1)], 100, 2.0, workers=1, on_found=found.update)
    assert found == {there}
