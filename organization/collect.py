"""Collecting a round's updates: whose bytes can be fetched, and how long to wait for the others'."""

from __future__ import annotations

from dataclasses import dataclass

from network.probe import PATIENCE_SECONDS, probe
from network.store import ContentStore
from protocol.replay import RoundState
from protocol.task import Task
from protocol.types import Address, Digest

# A look within the publication window: it comes again, so what is not there yet may not delay it.
_EARLY_SECONDS, _EARLY_PATIENCE = 30.0, 2.0


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
    window_ends = round_.training_closed_at + task.publication_seconds
    if now < window_ends:
        seconds, patience = _EARLY_SECONDS, _EARLY_PATIENCE
    else:
        seconds, patience = look_seconds(round_, window_ends, now), PATIENCE_SECONDS
    unseen = [update.digest for update in round_.updates if update.digest not in have]
    have |= probe(store, unseen, task.limits.update_bytes, seconds, patience=patience, on_found=have.update)
    missing = frozenset(update.client for update in round_.updates if update.digest not in have)
    return Collection(missing, now, window_ends)


def look_seconds(round_: RoundState, window_ends: int, now: int) -> float:
    """How long a look that begins at ``now``, after the publication window, may last.

    Merging, publishing and the transaction need time before the settlement window ends, or the bond is lost: a quarter
    of the window is left for them, or half of what follows the publication window where that is less. Whoever comes
    later than that still looks, for a quarter of the time that remains.
    """
    ends = round_.settlement_ends
    closed = round_.training_closed_at or round_.training_ends
    reserve = min((ends - closed) / 4, (ends - window_ends) / 2)
    return max(ends - reserve - now, (ends - now) / 4, 0.0)
