"""Ways to run the same pure function on many pieces of work; they can differ in nothing but time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from protocol.runs import Result, Run, Work, serial

__all__ = ["MOST_THREADS", "Run", "Threads", "serial"]

MOST_THREADS = 16


class Threads:
    """A `Run` over a pool of threads, which holds as many results ahead of the caller as it has threads, twice.

    Args:
        count: Threads, of which at most 16 are used.
    """

    def __init__(self, count: int) -> None:
        self.count = min(MOST_THREADS, count)

    def __call__(self, function: Callable[[Work], Result], items: Sequence[Work]) -> Iterator[Result]:
        """Raises whatever the function does; what has not begun then never does."""
        if self.count == 1 or len(items) < 2:
            yield from serial(function, items)
            return
        waiting: deque[Future[Result]] = deque()
        pool = ThreadPoolExecutor(self.count, "merge")
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * self.count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
