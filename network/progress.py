"""How far a transfer is: a bar on a terminal, now and then a line in a log, nothing where it is small.

All of it goes to stderr, so that stdout holds a command's result alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO, TypeAlias

if TYPE_CHECKING:
    from rich.progress import Progress

SMALL_BYTES = 8 * 1024 * 1024  # a transfer of less is over before anybody has read of it
LINE_SECONDS = 5.0  # between lines of a log where a transfer is slow,
LINE_SHARE = 0.1  # and what is new in each where it is fast;
LEAST_SECONDS = 1.0  # but never are two lines closer than this

OnProgress: TypeAlias = Callable[[int, int], None]  # takes the content bytes that are there, and those that will be
Watch: TypeAlias = Callable[[str], AbstractContextManager[OnProgress]]  # makes one for what it is told the name of


def silent(done: int, total: int) -> None:
    """Tell nobody."""


def unwatched(name: str) -> AbstractContextManager[OnProgress]:
    """Return what tells nobody, as a context."""
    return nullcontext(silent)


class TransferProgress:
    """``with TransferProgress("base model") as on_progress``: shows what it is told, until the context ends.

    Args:
        name: What is on its way.
        stream: Where it is shown; stderr by default.
        clock: Gives seconds.
    """

    def __init__(self, name: str, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._name, self._stream, self._clock = name, stream or sys.stderr, clock
        self._bar: Progress | None = None
        self._last_time, self._last_done = clock(), 0
        self._said = False

    def __call__(self, done: int, total: int) -> None:
        """Take the bytes that are there, and those that will be."""
        if total < SMALL_BYTES:
            return
        if self._stream.isatty():
            self._draw(done, total)
        else:
            self._write(done, total)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _draw(self, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = _bar(self._stream)
            self._bar.add_task(self._name, total=total, completed=done)
            self._bar.start()
        else:
            self._bar.update(self._bar.task_ids[0], completed=done, total=total)

    def _write(self, done: int, total: int) -> None:
        passed, new = self._clock() - self._last_time, done - self._last_done
        is_end = done >= total and self._said and new > 0  # whoever read of a beginning wants to read of the end
        if not is_end and (passed < LEAST_SECONDS or (passed < LINE_SECONDS and new < LINE_SHARE * total)):
            return
        speed = new / passed if passed > 0 else 0.0
        left = f", {(total - done) / speed:.0f} s left" if speed and done < total else ""
        share = f"{done / 1e6:.0f} of {total / 1e6:.0f} MB ({100 * done // total} %)"
        print(f"{self._name}: {share}, {speed / 1e6:.1f} MB/s{left}", file=self._stream, flush=True)
        self._last_time, self._last_done, self._said = self._clock(), done, True


def _bar(stream: TextIO) -> Progress:
    """Return what a terminal shows; it is wiped when done, so that the result stands alone."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=Console(file=stream), transient=True)
