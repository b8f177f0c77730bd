"""Reading updates by digest: each is fetched once, what is kept is small, and what fails goes through."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from processor.runs import Threads
from processor.updates import UpdateReader
from protocol.content import Files
from protocol.errors import BlockMissing, WrongFiles
from protocol.tensors import Stored, whole
from protocol.types import Digest
from tests.processor.contents import files_on_disk
from tests.processor.factory import KERNEL, TinyRound


class Counting:
    """Counts the fetches of a round's updates, which it gives from disk where there is a ``folder``."""

    def __init__(self, ring: TinyRound, folder: Path | None = None) -> None:
        self.ring, self.folder, self.count = ring, folder, 0

    def __call__(self, digest: Digest) -> Mapping[str, bytes] | Files:
        self.count += 1
        files = self.ring.fetch(digest)
        return files if self.folder is None else files_on_disk(files, self.folder / digest.hex())


def test_missing_bytes_go_through() -> None:
    with pytest.raises(BlockMissing):
        UpdateReader(TinyRound().fetch)(Digest(bytes(32)))


def test_refusals_go_through_every_time() -> None:
    ring = TinyRound()
    digest = ring.post("mallory", {})
    reader = UpdateReader(ring.fetch)

    for _ in range(2):
        with pytest.raises(WrongFiles):
            reader(digest)


@pytest.mark.parametrize("disk", [False, True])
def test_every_update_is_fetched_once(disk: bool, tmp_path: Path) -> None:
    ring = TinyRound()
    alice, bob = ring.post("alice"), ring.post("bob")
    fetch = Counting(ring, tmp_path if disk else None)
    reader = UpdateReader(fetch)

    for _ in range(3):
        assert reader(alice) is reader(alice)
        assert reader(bob) is not reader(alice)

    assert fetch.count == 2


def test_what_lies_on_disk_stays_there(tmp_path: Path) -> None:
    ring = TinyRound()
    digest = ring.post("alice")

    update = UpdateReader(Counting(ring, tmp_path))(digest)

    assert isinstance(update.deltas[KERNEL], Stored)
    assert np.array_equal(whole(update.deltas[KERNEL]), np.asarray(ring.update("alice").deltas[KERNEL]))


def test_threads_that_want_the_same_update_fetch_it_once() -> None:
    """As where mallory commits alice's digest: both are looked at side by side."""
    ring = TinyRound()
    alice, bob = ring.post("alice"), ring.post("bob")
    fetch = Counting(ring)

    def slow(digest: Digest) -> Mapping[str, bytes] | Files:
        time.sleep(0.02)
        return fetch(digest)

    reader = UpdateReader(slow)
    found = list(Threads(8)(reader, [alice, alice, bob, alice, bob, bob, alice, alice]))

    assert fetch.count == 2
    assert len({id(update) for update in found}) == 2
