"""Putting in batches: what fails is said, nothing is put after it, and memory is two batches."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

from network.block_writer import BATCH_BYTES, BlockWriter
from network.memory_store import MemoryStore
from protocol.cid import RAW, block_cid
from protocol.errors import StoreUnavailable
from protocol.unixfs import Block

MIB = 1024 * 1024
BATCH = BATCH_BYTES // MIB  # blocks of one MiB


def block(number: int) -> Block:
    data = number.to_bytes(8, "big") * (MIB // 8)
    return Block(block_cid(RAW, data), data)


class Recorder(MemoryStore):
    """Notes what comes in, slowly, and fails at one batch."""

    def __init__(self, fail_at: int | None = None, delay: float = 0.0) -> None:
        super().__init__()
        self.fail_at, self.delay = fail_at, delay
        self.batches: list[list[Block]] = []
        self.threads: set[int] = set()

    def put_blocks(self, blocks: Sequence[Block]) -> None:
        assert not self.busy, "two batches at once have no order"
        self.busy = True
        try:
            time.sleep(self.delay)
            if len(self.batches) == self.fail_at:
                raise StoreUnavailable("the disk is full")
            self.batches.append(list(blocks))
            self.threads.add(threading.get_ident())
        finally:
            self.busy = False

    busy = False


def test_a_batch_that_fails_ends_the_writing() -> None:
    store = Recorder(fail_at=1)
    emitted = 0
    with pytest.raises(StoreUnavailable, match="the disk is full"), BlockWriter(store) as writer:
        for number in range(10 * BATCH):
            writer.emit(block(number))
            emitted += 1
    assert len(store.batches) == 1 and emitted < 3 * BATCH


def test_the_last_batch_that_fails_is_said_too() -> None:
    for blocks, batch in ((BATCH + 1, 1), (BATCH, 0), (1, 0)):
        store = Recorder(fail_at=batch, delay=0.05)
        with pytest.raises(StoreUnavailable, match="the disk is full"), BlockWriter(store) as writer:
            for number in range(blocks):
                writer.emit(block(number))


def test_an_error_drops_the_rest_and_waits_for_what_is_under_way() -> None:
    store = Recorder(delay=0.2)
    with pytest.raises(KeyError), BlockWriter(store) as writer:
        for number in range(BATCH + 3):
            writer.emit(block(number))
        raise KeyError
    assert [len(batch) for batch in store.batches] == [BATCH] and not store.busy


def test_puts_everything_once_and_in_order() -> None:
    store = Recorder(delay=0.01)
    blocks = [block(number) for number in range(2 * BATCH + 5)]
    with BlockWriter(store) as writer:
        for one in blocks:
            writer.emit(one)
    assert [one for batch in store.batches for one in batch] == blocks
    assert [len(batch) for batch in store.batches] == [BATCH, BATCH, 5]


def test_no_more_than_two_batches_are_in_memory() -> None:
    store = Recorder(delay=0.05)
    with BlockWriter(store) as writer:
        for number in range(4 * BATCH):
            writer.emit(block(number))
            assert number + 1 - sum(map(len, store.batches)) <= 2 * BATCH


def test_a_small_artifact_needs_no_thread() -> None:
    store = Recorder()
    with BlockWriter(store) as writer:
        writer.emit(block(1))
    with BlockWriter(store):
        pass
    assert [len(batch) for batch in store.batches] == [1] and store.threads == {threading.get_ident()}
