"""A merge's pieces on a Ray cluster: the same pure functions on the same pieces, so the same result.

What they work with is shipped once; tensors go as the names of their leaves (network/shipped_content.py), and each worker
reads and verifies what it needs from the store itself. A worker that is lost is a retry.
"""

from __future__ import annotations

import importlib
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from protocol.errors import ClusterUnavailable, RondoError, StoreUnavailable

Work = TypeVar("Work")
Result = TypeVar("Result")

LOCAL = "local"  # the address of a cluster that is started for one merge, on this machine
RETRIES = 5  # of a batch whose worker was lost or whose store did not answer
MOST_BATCH = 64  # pieces that one worker takes at once
ANSWER_SECONDS = 5.0
_AHEAD = 2  # batches under way for each processor of the cluster
_SETTINGS = {  # before Ray is imported: it tells nobody that it runs here, and leaves what it does not know alone
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


class MayPass(Exception):
    """A worker's store did not answer: Ray tries the batch again. ``args`` are what, why and do."""


class RayRun:
    """A `processor.runs.Run` over a Ray cluster, as a context.

    Args:
        address: Of the cluster, ``host:port``; "local" starts one on this machine and stops it at the end.
        workers: Processors of a local one; all that there are by default.

    Raises:
        ClusterUnavailable: Ray is not installed, or there is no cluster at ``address``.
    """

    def __init__(self, address: str, workers: int | None = None) -> None:
        self._ray = _connect(address, workers)
        self._task = self._ray.remote(max_retries=RETRIES, retry_exceptions=[MayPass])(work_batch)
        self.processors = max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ray.shutdown()

    def __call__(self, function: Callable[[Work], Result], items: Sequence[Work]) -> Iterator[Result]:
        """Call ``function`` on each of ``items`` on the cluster and yield the results in their order.

        Raises:
            RondoError: What the function raised. ClusterUnavailable: Workers were lost again and again.
        """
        shipped, waiting = self._ray.put(function), deque[Any]()
        for batch in _batches(items, self.processors):
            waiting.append(self._task.remote(shipped, batch))
            if len(waiting) > _AHEAD * self.processors:
                yield from self._get(waiting.popleft())
        while waiting:
            yield from self._get(waiting.popleft())

    def _get(self, reference: Any) -> list[Any]:
        exceptions = self._ray.exceptions
        try:
            answer: list[Any] | Refusal = self._ray.get(reference)
        except exceptions.RayTaskError as error:
            if isinstance(error.cause, MayPass):
                raise StoreUnavailable(*error.cause.args) from error
            raise error.cause from error
        except exceptions.RayError as error:
            raise ClusterUnavailable(
                "The Ray cluster lost a part of the merge.",
                f"{type(error).__name__}: {error}",
                "Look at its workers' logs.",
            ) from error
        if isinstance(answer, Refusal):
            raise answer.error()
        return answer


class Refusal:
    """A `RondoError` as it crosses processes: its class by name, since not every class is made of what, why and do."""

    def __init__(self, error: RondoError) -> None:
        self._class = (type(error).__module__, type(error).__qualname__)
        self._words = (error.what, error.why, error.do)

    def error(self) -> RondoError:
        """Return the error again."""
        kind = getattr(importlib.import_module(self._class[0]), self._class[1])
        again: RondoError = kind.__new__(kind)
        RondoError.__init__(again, *self._words)
        return again


def work_batch(function: Callable[[Work], Result], items: Sequence[Work]) -> list[Result] | Refusal:
    """Do a batch in a worker.

    Raises:
        MayPass: The store did not answer.
    """
    try:
        return [function(item) for item in items]
    except StoreUnavailable as error:
        raise MayPass(error.what, error.why, error.do) from None
    except RondoError as error:
        return Refusal(error)


def _batches(items: Sequence[Work], processors: int) -> Iterator[Sequence[Work]]:
    """Cut ``items`` so that every processor gets several batches, and neighbours, which share leaves, stay together."""
    size = max(1, min(MOST_BATCH, len(items) // (4 * processors)))
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _connect(address: str, workers: int | None) -> Any:
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise ClusterUnavailable("Ray is not installed.", "--ray needs it.", "pip install rondo-fl[ray]") from error
    _require_answer(address)
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    try:
        if address == LOCAL:
            ray.init(num_cpus=workers, include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise _no_cluster(address, error) from error
    return ray


def _require_answer(address: str) -> None:
    """Refuse an address where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "://" in address:
        return  # a name that Ray understands
    try:
        socket.create_connection((host, int(port)), ANSWER_SECONDS).close()
    except OSError as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> ClusterUnavailable:
    return ClusterUnavailable(
        f"There is no Ray cluster at {address}.", f"{error}.", "Give --ray the address that `ray start` said, or local."
    )
