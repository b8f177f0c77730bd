"""Fault injection: the n-th call to chain or store ends in a crash, before it did anything or after it did all."""

from __future__ import annotations

import threading
from typing import Any


class Crash(BaseException):
    """The process is gone; nothing in it may catch this."""


class Faulty:
    """Counts the calls through its wrappers and raises at the ``call``-th.

    Args:
        call: Counted from 1 over all wrapped objects.
        after: Whether the call takes effect before it raises: a lost answer.
        error: What is raised.
    """

    def __init__(self, call: int, after: bool, error: BaseException | None = None) -> None:
        self.call, self.after, self.error = call, after, error or Crash()
        self.calls = 0
        self._lock = threading.Lock()  # the store is called from threads

    def wrap(self, target: Any) -> Any:
        """``target`` with its methods counted."""
        return _Wrapper(self, target)

    def through(self, method: Any, args: Any, kwargs: Any) -> Any:
        with self._lock:
            self.calls += 1
            mine = self.calls == self.call
        if not mine:
            return method(*args, **kwargs)
        if self.after:
            method(*args, **kwargs)
        raise self.error


class _Wrapper:
    def __init__(self, faulty: Faulty, target: Any) -> None:
        self._faulty, self._target = faulty, target

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not callable(found):
            return found
        return lambda *args, **kwargs: self._faulty.through(found, args, kwargs)
