"""Reads a contract's events as blocks come, and forgets those that a reorganisation took back."""

from __future__ import annotations

from collections import deque

from network.answer_codec import Block
from network.event_codec import EventCodec
from network.rpc import Rpc, Unanswered
from protocol.errors import ChainUnavailable
from protocol.events import Logged
from protocol.types import Address, Hash

MAX_SPAN = 10_000  # blocks in one eth_getLogs; halved where the node says that this is too much
KEPT_CHECKPOINTS = 256


class LogCursor:
    """All events of one contract up to a block, by ``eth_getLogs``: filters are flaky on real nodes.

    After each span the hash of its last block is kept. Where the chain has another block there later, the cursor goes
    back to the last block that both have, and reads again from it.

    Args:
        rpc: The node.
        contract: Whose events to read.
        codec: Decodes them.
        first_block: The first block to look at; the contract's own, where known, saves the rest of the chain.
        confirmations: How many blocks to stay behind the latest.
    """

    def __init__(
        self, rpc: Rpc, contract: Address, codec: EventCodec, *, first_block: int = 0, confirmations: int = 0
    ) -> None:
        self._rpc, self._contract, self._codec = rpc, contract, codec
        self._first_block, self._confirmations = first_block, confirmations
        self._span = MAX_SPAN
        self._checkpoints: deque[tuple[int, Hash]] = deque(maxlen=KEPT_CHECKPOINTS)
        self.logs: list[Logged] = []
        self.generation = 0  # goes up whenever `logs` lost something

    def head(self) -> Block:
        """Return the block that counts as the latest."""
        latest = self._rpc.latest()
        if not self._confirmations:
            return latest
        return self._rpc.block(max(latest.number - self._confirmations, 0)) or latest

    def forget(self) -> None:
        """Start over, where what the node said turned out to be incomplete."""
        self._checkpoints.clear()
        self._drop_after(-1)

    def refresh(self) -> Block:
        """Read what is new and return the head as of which `logs` is complete.

        Raises:
            ChainUnavailable: The node does not answer, or its chain kept changing while it was read.
            LogsIncomplete: A log does not decode.
        """
        for _ in range(5):
            head = self.head()
            self._rewind(head)
            head = self._not_before_checkpoint(head)
            self._read_to(head)
            # If the head is still there after the last answer, so were all blocks below it for all of them.
            if self._is_there(head.number, head.hash):
                return head
        raise ChainUnavailable(
            f"The chain behind {self._rpc.url} keeps changing.",
            "It is reorganised again and again while it is read.",
            "Wait, or set more confirmations.",
        )

    def _is_there(self, number: int, hash: Hash) -> bool:
        block = self._rpc.block(number)
        return block is not None and block.hash == hash

    def _rewind(self, head: Block) -> None:
        """Forget the blocks that are not on the chain of ``head``."""
        if self._checkpoints and self._checkpoints[-1] == (head.number, head.hash):
            return
        while self._checkpoints and not self._is_there(*self._checkpoints[-1]):
            self._checkpoints.pop()
        self._drop_after(self._checkpoints[-1][0] if self._checkpoints else -1)

    def _not_before_checkpoint(self, head: Block) -> Block:
        """Return the head, or the last block read where that is later: one of several nodes behind a URL can lag."""
        if not self._checkpoints or self._checkpoints[-1][0] <= head.number:
            return head
        return self._rpc.block(self._checkpoints[-1][0]) or head

    def _drop_after(self, block: int) -> None:
        kept = len(self.logs)
        while kept and self.logs[kept - 1].block > block:
            kept -= 1
        if kept < len(self.logs):
            del self.logs[kept:]
            self.generation += 1

    def _read_to(self, head: Block) -> None:
        start = self._checkpoints[-1][0] + 1 if self._checkpoints else self._first_block
        while start <= head.number:
            last = min(start + self._span - 1, head.number)
            # The hash first: if the chain changes after it, the next `_rewind` sees the difference.
            checkpoint = head if last == head.number else self._rpc.block(last)
            try:
                raw = self._rpc.logs(self._contract, start, last)
            except Unanswered:
                raise
            except ChainUnavailable:
                if self._span == 1:
                    raise
                self._span = max(min(self._span, last - start + 1) // 2, 1)
                continue
            decoded = (self._codec.decode(log) for log in raw)
            self.logs.extend(
                sorted((log for log in decoded if log is not None), key=lambda log: (log.block, log.log_index))
            )
            if checkpoint is None:
                return
            self._checkpoints.append((checkpoint.number, checkpoint.hash))
            self._span = min(self._span * 2, MAX_SPAN)
            start = last + 1
