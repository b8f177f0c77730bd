"""Whose bytes this auditor fetched while they had to be public: what it needs to contest a false ``unavailable``."""

from __future__ import annotations

import json
from pathlib import Path

from network.chain import Chain
from network.files import make_directory, write_atomic
from network.probe import probe
from network.store import ContentStore
from protocol.state import RoundState
from protocol.task import Task
from protocol.types import Address, Digest, RoundId

# A look takes a quarter of what is left of the window, within these bounds: little is lost where the window ends during
# it, and an update of gigabytes has the time that it takes. The worker looks at every pass.
LOOK_SECONDS, MOST_LOOK_SECONDS = 2.0, 60.0


class Availability:
    """A durable record, one small file a round, of updates fetched within the publication window (SPECIFICATION D3).

    Args:
        home: Folder of the record; lost, the auditor can contest nothing, and otherwise works as before.
    """

    def __init__(self, chain: Chain, store: ContentStore, home: Path) -> None:
        self._chain, self._store, self._home = chain, store, home

    def fetched_in_time(self, round_id: RoundId) -> frozenset[Address]:
        """The clients whose whole update this auditor held before the window ended."""
        try:
            return frozenset(json.loads(self._file(round_id).read_bytes()))
        except (OSError, ValueError):
            return frozenset()

    def watch(self, round_: RoundState, task: Task) -> None:
        """Look once, briefly, for what is public by now, and record it, also where the store fails for the rest.

        The chain's clock is read again after the look: bytes that came while it was under way, but after the window,
        are late like any others.

        Raises:
            ChainError: The chain does not answer. StoreUnavailable: The store does not.
        """
        if round_.training_closed_at is None:
            return
        window_ends = round_.training_closed_at + task.publication_seconds
        left = window_ends - self._chain.now()
        if left <= 0:
            return
        seen = self.fetched_in_time(round_.id)
        missing: dict[Digest, set[Address]] = {}  # a digest that others copied is all of theirs
        for update in round_.updates:
            if update.client not in seen:
                missing.setdefault(update.digest, set()).add(update.client)
        found: set[Digest] = set()
        seconds = max(LOOK_SECONDS, min(left / 4, MOST_LOOK_SECONDS))
        try:
            probe(self._store, missing, task.limits.update_bytes, seconds, on_found=found.update)
        finally:
            self._record(round_.id, seen.union(*(missing[digest] for digest in found)), seen, window_ends)

    def _record(
        self, round_id: RoundId, fetched: frozenset[Address], before: frozenset[Address], window_ends: int
    ) -> None:
        if fetched == before or self._chain.now() >= window_ends:
            return
        make_directory(self._home)
        write_atomic(self._file(round_id), json.dumps(sorted(fetched)).encode())

    def _file(self, round_id: RoundId) -> Path:
        return self._home / f"fetched-{round_id.hex()}.json"
