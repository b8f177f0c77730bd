"""What calls a function on many pieces of work, wherever it runs them: it can make a difference in nothing but time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

Work = TypeVar("Work")
Result = TypeVar("Result")


class Run(Protocol):
    """Calls ``function`` on each of ``items`` and yields the results in their order."""

    def __call__(self, function: Callable[[Work], Result], items: Sequence[Work]) -> Iterator[Result]:
        """Raises whatever the function does."""
        ...


def serial(function: Callable[[Work], Result], items: Sequence[Work]) -> Iterator[Result]:
    """One after another, in this thread."""
    yield from map(function, items)
