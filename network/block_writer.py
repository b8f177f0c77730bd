"""Handing blocks to a store in batches, because one call for a thousand blocks costs far less than a thousand calls."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Self

from protocol.unixfs import Block

if TYPE_CHECKING:
    from network.store import ContentStore

BATCH_BYTES = 16 * 1024 * 1024


class BlockWriter:
    """Collects what is emitted and puts it in order, ``BATCH_BYTES`` at a time; leaving the context puts the rest.

    While the store takes one batch the next is collected, so memory is two; no batch begins before the last one is in.
    Where the context ends with an error the rest is dropped: blocks without their root do no harm.
    """

    def __init__(self, store: ContentStore) -> None:
        self._store = store
        self._waiting: list[Block] = []
        self._bytes = 0
        self._pool: ThreadPoolExecutor | None = None  # of one thread; small artifacts need none
        self._putting: Future[None] | None = None

    def emit(self, block: Block) -> None:
        """Take one block; raises as ``ContentStore.put_blocks``, for a batch before this block."""
        self._waiting.append(block)
        self._bytes += len(block.data)
        if self._bytes >= BATCH_BYTES:
            self._await()
            self._pool = self._pool or ThreadPoolExecutor(1, "block-writer")
            self._putting = self._pool.submit(self._store.put_blocks, self._waiting)
            self._waiting, self._bytes = [], 0

    def _await(self) -> None:
        putting, self._putting = self._putting, None
        if putting is not None:
            putting.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._await()
                if self._waiting:
                    self._store.put_blocks(self._waiting)
        finally:
            if self._pool is not None:
                self._pool.shutdown()  # waits: nothing is put any more when the context has ended
