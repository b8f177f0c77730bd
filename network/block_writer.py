"""Handing blocks to a store in batches, because one call for a thousand blocks costs far less than a thousand calls."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from protocol.unixfs import Block

if TYPE_CHECKING:
    from network.store import ContentStore

BATCH_BYTES = 16 * 1024 * 1024


class BlockWriter:
    """Collects what is emitted and puts it in order, ``BATCH_BYTES`` at a time; leaving the context puts the rest.

    Where the context ends with an error the rest is dropped: blocks without their root do no harm.
    """

    def __init__(self, store: ContentStore) -> None:
        self._store = store
        self._waiting: list[Block] = []
        self._bytes = 0

    def emit(self, block: Block) -> None:
        """Take one block; raises as ``ContentStore.put_blocks``."""
        self._waiting.append(block)
        self._bytes += len(block.data)
        if self._bytes >= BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._store.put_blocks(self._waiting)
        self._waiting, self._bytes = [], 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._waiting:
            self._flush()
