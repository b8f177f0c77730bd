"""Reading updates by digest: what is kept, what is fetched again, and what goes through."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from processor.updates import UpdateReader
from protocol.errors import BlockMissing, WrongFiles
from protocol.types import Digest
from tests.processor.factory import TinyRound


class Counting:
    """Counts the fetches of a round's updates."""

    def __init__(self, ring: TinyRound) -> None:
        self.ring, self.count = ring, 0

    def __call__(self, digest: Digest) -> Mapping[str, bytes]:
        self.count += 1
        return self.ring.fetch(digest)


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


def test_kept_updates_are_fetched_once() -> None:
    ring = TinyRound()
    digest = ring.post("alice")
    fetch = Counting(ring)
    reader = UpdateReader(fetch)

    assert reader(digest) is reader(digest)
    assert fetch.count == 1


def test_no_more_is_kept_than_allowed() -> None:
    ring = TinyRound()
    alice, bob = ring.post("alice"), ring.post("bob")
    fetch = Counting(ring)
    room_for_one = sum(map(len, ring.files[alice].values()))
    reader = UpdateReader(fetch, keep_bytes=room_for_one)

    for _ in range(3):
        reader(alice)
        reader(bob)

    assert fetch.count == 1 + 3
