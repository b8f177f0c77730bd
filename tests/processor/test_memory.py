"""Memory does not grow with the number of updates: their tensors are read span by span, as often as it takes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from processor import ewc
from processor.blocks import ROOM, Member
from processor.engine import merge_updates
from processor.round import derive_round
from processor.runs import Threads, serial
from protocol import tensors
from protocol.content import Content, Files
from protocol.replay import UpdateState
from protocol.specs import TensorClass, TensorSpec
from protocol.task import Consolidation
from protocol.types import Digest
from protocol.update import decode_update, encode_update
from tests.processor.contents import Made, OnDisk
from tests.processor.factory import TinyRound, account, member, tiny_model, tiny_terms

WEIGHT = "00000.w"
SIZE = 400_000
DELTA, IMPORTANCE = (np.arange(SIZE) % 97).astype(np.int16), (np.arange(SIZE) % 101).astype(np.uint8)
FEW, MANY = 32, 160  # with as few as 32 updates a block already fills its room


def big_round() -> TinyRound:
    specs = (TensorSpec(WEIGHT, (SIZE,), TensorClass.TRAINABLE, -20),)
    return TinyRound(base=tiny_model(specs=specs), terms=tiny_terms(consolidate=True, max_updates=MANY))


def made(array: np.ndarray[tuple[int], np.dtype[np.integer]], by: int) -> Made:
    """A safetensors file of ``array`` times ``by``, modulo its dtype, whose data is made when asked for."""
    whole = tensors.dumps({WEIGHT: array})
    head, size = whole[: len(whole) - array.nbytes], array.itemsize

    def make(start: int, stop: int) -> bytes:
        first, last = start // size, -(-stop // size)
        values = array[first:last] * np.array(by, array.dtype)
        return bytes(values.tobytes()[start - first * size : stop - first * size])

    return Made(head, array.nbytes, make)


def files(ring: TinyRound, name: str, by: int) -> dict[str, Content]:
    """An update of ``name`` that exists nowhere as a whole."""
    plain = ring.update(name, deltas={WEIGHT: DELTA}, importance={WEIGHT: IMPORTANCE})
    manifest = encode_update(plain)["update.json"]
    return {
        "update.json": Made(manifest, 0, lambda start, stop: b""),
        "delta.safetensors": made(DELTA, by),
        "importance.safetensors": made(IMPORTANCE, by),
    }


def crowd(ring: TinyRound, count: int) -> list[Member]:
    return [member(decode_update(files(ring, f"client {k}", k + 1))) for k in range(count)]


def peak(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_what_is_made_when_asked_for_is_the_update() -> None:
    ring = big_round()
    found = decode_update(files(ring, "alice", 3))

    assert np.array_equal(tensors.whole(found.deltas[WEIGHT]), np.arange(SIZE) % 97 * 3)
    assert np.array_equal(tensors.read_span(found.deltas[WEIGHT], 1001, 1003), np.arange(1001, 1003) % 97 * 3)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_merging_and_consolidating_many_updates_takes_the_memory_of_few(threads: int) -> None:
    ring = big_round()
    few, many = crowd(ring, FEW), crowd(ring, MANY)
    run = Threads(threads)

    def work(members: list[Member]) -> None:
        merge_updates(ring.task, ring.base, members, run=run)
        ewc.consolidate(Consolidation(), ring.base, members, run)

    work(few)  # compiles what is compiled
    of_few, of_many = (peak(lambda members=members: work(members)) for members in (few, many))  # type: ignore[misc]

    assert of_few > 4 * SIZE  # the new mantissas at least
    assert of_many < 1.1 * of_few
    assert of_many < 4 * SIZE * 2 + (4 * threads + 1) * ROOM


@pytest.mark.slow
def test_a_whole_round_of_many_updates_takes_the_memory_of_few() -> None:
    def derive(count: int) -> None:
        ring = big_round()
        published: dict[Digest, Files] = {}
        for k in range(count):
            digest = Digest(k.to_bytes(32, "big"))
            published[digest] = files(ring, f"client {k}", k + 1)
            ring.updates.append(UpdateState(account(f"client {k}"), digest, 1000, k))
        derived = derive_round(ring.facts, ring.task, ring.base, published.__getitem__, frozenset()).derived
        assert (derived.merged, derived.consolidated) == (count, True)

    derive(FEW)
    of_few, of_many = (peak(lambda count=count: derive(count)) for count in (FEW, MANY))  # type: ignore[misc]

    assert of_many < 1.1 * of_few


def test_a_merge_reads_files_on_disk_and_holds_none_of_them(tmp_path: Path) -> None:
    """Once the file is gone, so is the update: nothing of it was kept in memory."""
    ring = big_round()
    update = ring.update("alice")
    data = encode_update(update)
    path = tmp_path / "delta"
    path.write_bytes(data["delta.safetensors"])
    contents: dict[str, Content] = {name: Made(text, 0, lambda start, stop: b"") for name, text in data.items()}
    on_disk = decode_update({**contents, "delta.safetensors": OnDisk(path)})
    whole = merge_updates(ring.task, ring.base, [member(update)], run=serial)

    assert merge_updates(ring.task, ring.base, [member(on_disk)]).digest == whole.digest
    path.unlink()
    with pytest.raises(FileNotFoundError):
        merge_updates(ring.task, ring.base, [member(on_disk)])
