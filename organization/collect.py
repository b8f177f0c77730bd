"""Collecting a round's updates: whose bytes can be fetched, and how long to wait for the others'."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from network.store import ContentStore, fetch
from protocol.errors import ArtifactRefused, BlockCorrupt, BlockMissing
from protocol.replay import RoundState, UpdateState
from protocol.task import Task
from protocol.types import Address, Digest


@dataclass(frozen=True, slots=True)
class Collection:
    """What a look at the store found.

    Args:
        missing: Clients whose update's bytes cannot be fetched.
        looked_at: Chain time before the look, in seconds.
        window_ends: Chain time at which the publication window is over.
    """

    missing: frozenset[Address]
    looked_at: int
    window_ends: int

    @property
    def is_complete(self) -> bool:
        """Whether the round can be settled: nothing is missing, or what is missing was missing after the window."""
        return not self.missing or self.looked_at >= self.window_ends


def collect(store: ContentStore, round_: RoundState, task: Task, now: int, have: set[Digest]) -> Collection:
    """Look whether all bytes of the round's updates can be fetched.

    An update is present where it can be fetched whole, and also where its bytes are such that it will be refused: that
    is a verdict on what was published. Bytes that do not hash to their name were not published by the client.

    Args:
        round_: A round whose training is closed.
        now: Chain time in seconds, *read before this look*: bytes published in time are then seen by the last look.
        have: Digests known to be there; grows. A caller that meets a missing block later empties it.

    Raises:
        StoreUnavailable: Whether bytes are there cannot be told; that is nobody's verdict.
    """
    if round_.training_closed_at is None:
        raise ValueError("training is open")
    missing = frozenset(_missing(store, round_.updates, task.limits.update_bytes, have))
    return Collection(missing, now, round_.training_closed_at + task.publication_seconds)


def _missing(store: ContentStore, updates: Iterable[UpdateState], limit: int, have: set[Digest]) -> Iterable[Address]:
    for update in updates:
        if update.digest in have or _is_present(store, update.digest, limit):
            have.add(update.digest)
        else:
            yield update.client


def _is_present(store: ContentStore, digest: Digest, limit: int) -> bool:
    try:
        fetch(store, digest, limit)
    except ArtifactRefused:
        return True
    except (BlockMissing, BlockCorrupt):
        return False
    return True
