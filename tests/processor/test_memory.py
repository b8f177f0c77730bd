"""Memory does not grow with the number of updates."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np

from processor import ewc, fedavg
from processor.updates import Accepted
from protocol.specs import TensorClass, TensorSpec
from protocol.task import Consolidation
from protocol.types import Digest
from protocol.update import Update
from tests.processor.factory import TinyRound, account, tiny_model, tiny_terms

WEIGHT = "00000.w"
SIZE = 300_000


def big_round() -> TinyRound:
    specs = (TensorSpec(WEIGHT, (SIZE,), TensorClass.TRAINABLE, -20),)
    return TinyRound(base=tiny_model(specs=specs), terms=tiny_terms(consolidate=True))


def peak(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_merging_and_consolidating_many_updates_takes_the_memory_of_few() -> None:
    ring = big_round()

    def load(digest: Digest) -> Update:  # made when asked for, as a fetch would
        return ring.update("alice", seed=digest[0])

    def accepted(count: int) -> list[Accepted]:
        return [Accepted(account("alice"), Digest(bytes([k]) * 32), 10, 2, 10) for k in range(count)]

    def work(count: int) -> None:
        fedavg.merge(ring.task, ring.base, accepted(count), load)
        ewc.consolidate(Consolidation(), ring.base, accepted(count), load, working_bytes=1 << 20)

    few, many = (peak(lambda count=count: work(count)) for count in (2, 20))  # type: ignore[misc]

    assert few > np.dtype(np.int64).itemsize * SIZE
    assert many < 1.1 * few
