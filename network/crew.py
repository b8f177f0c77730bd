"""A few threads that work side by side and can be left behind: a source that hangs must not keep a command from ending."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


class Crew(Generic[Job, Result]):
    """Runs ``work`` on jobs in up to ``size`` daemon threads, which start when they are needed.

    The threads of ``concurrent.futures`` are waited for at the end of the process, however long they take; these are not.
    """

    def __init__(self, work: Callable[[Job], Result], size: int) -> None:
        self._work, self._size = work, size
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[Job, Result | Exception]] = queue.SimpleQueue()
        self._threads = 0
        self._busy = 0  # jobs that were given out and not taken back

    def ask(self, job: Job) -> None:
        """Give out one job."""
        self._busy += 1
        if self._threads < min(self._busy, self._size):
            self._threads += 1
            threading.Thread(target=self._run, name="crew", daemon=True).start()
        self._jobs.put(job)

    def next(self, seconds: float | None) -> tuple[Job, Result | Exception]:
        """Return a finished job and its result, or what it raised.

        Raises:
            TimeoutError: None was finished for ``seconds``, or they are 0.
        """
        if seconds == 0:
            raise TimeoutError
        try:
            answer = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError from None
        self._busy -= 1
        return answer

    def drop(self) -> None:
        """Forget the jobs that no thread has begun."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._jobs.get_nowait()

    def dismiss(self) -> None:
        """Begin no more jobs, and let the threads end when they have finished theirs."""
        self.drop()
        for _ in range(self._threads):
            self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                answer: Result | Exception = self._work(job)
            except Exception as error:
                answer = error
            self._answers.put((job, answer))
            del job, answer  # before waiting for the next: an answer may be a large block
