"""Trying again: what passes by itself (a dropped connection, a node that restarts, a busy server) is asked anew until its time is over.

Waits grow exponentially up to two seconds, each at a random length, so that many clients do not come back in step
(https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/, "full jitter").
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import tenacity

_T = TypeVar("_T")
_backoff = tenacity.wait_random_exponential(multiplier=0.1, max=2.0)


class Again(Exception):
    """What failed may succeed if it is tried again, not before ``after`` seconds where the other side said so."""

    def __init__(self, why: str, after: float = 0.0) -> None:
        self.why, self.after = why, after
        super().__init__(why)


class GaveUp(Exception):
    """It still failed when its time was over; ``why`` is the last reason, and says how often and how long it was tried."""

    def __init__(self, why: str, tries: int, seconds: float) -> None:
        times = "once" if tries == 1 else f"{tries} times"
        self.why = f"{why} Tried {times} in {seconds:.1f} s."
        super().__init__(self.why)


def persist(call: Callable[[], _T], seconds: float) -> _T:
    """Return what ``call`` returns, made again as long as it raises Again; no try begins after ``seconds``.

    A wait that would end later than that is not begun either. Whatever else ``call`` raises is a definite answer.

    Raises:
        GaveUp: The time is over.
    """
    started = time.monotonic()
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(Again), wait=_wait, stop=tenacity.stop_before_delay(seconds)
    )
    try:
        return attempts(call)
    except tenacity.RetryError as error:
        last = error.last_attempt
        raise GaveUp(str(last.exception()), last.attempt_number, time.monotonic() - started) from last.exception()


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return max(_backoff(state), error.after if isinstance(error, Again) else 0.0)
