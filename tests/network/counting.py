"""A source of blocks that counts what it is asked for, and that can be slow, silent, or without some of them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Collection

from network.store import BlockSource
from protocol.cid import RAW, Cid
from protocol.errors import BlockMissing

HOURS = 3600.0


class CountingSource:
    """Gives the blocks of ``inner``, and notes who asked for what.

    Args:
        delays: Seconds that each of these blocks takes; all others take ``delay``.
        withheld: Blocks that nobody gives: said at once.
        obeys: Whether it stops at the seconds it is told, as a source must.
    """

    name, searches = "counting:", True

    def __init__(
        self,
        inner: BlockSource,
        delay: float = 0.0,
        *,
        delays: dict[Cid, float] | None = None,
        withheld: Collection[Cid] = (),
        obeys: bool = True,
    ) -> None:
        self.inner, self.delay, self.delays, self.withheld = inner, delay, delays or {}, set(withheld)
        self.obeys = obeys
        self.asked: Counter[Cid] = Counter()
        self._busy, self.most_busy = 0, 0
        self._lock = threading.Lock()

    @property
    def leaves(self) -> Counter[Cid]:
        """How often each leaf was asked for."""
        return Counter({cid: count for cid, count in self.asked.items() if cid.codec == RAW})

    def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
        with self._lock:
            self.asked[cid] += 1
            self._busy += 1
            self.most_busy = max(self.most_busy, self._busy)
        try:
            delay = self.delays.get(cid, self.delay)
            is_late = self.obeys and seconds is not None and seconds < delay
            time.sleep(seconds if is_late and seconds is not None else delay)
            if is_late or cid in self.withheld:
                raise BlockMissing(str(cid), self.name)
            return self.inner.get_block(cid, seconds)
        finally:
            with self._lock:
                self._busy -= 1

    def has_block(self, cid: Cid) -> bool:
        return cid not in self.withheld and self.inner.has_block(cid)
