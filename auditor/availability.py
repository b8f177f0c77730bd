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
from protocol.types import Address, RoundId

# One look is short, so that little is lost where the window ends during it; the worker looks at every pass.
LOOK_SECONDS = 2.0


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
        """Look once, briefly, for what is public by now, and record it.

        The chain's clock is read again after the look: bytes that came while it was under way, but after the window,
        are late like any others.

        Raises:
            ChainError: The chain does not answer. StoreUnavailable: The store does not.
        """
        if round_.training_closed_at is None:
            return
        window_ends = round_.training_closed_at + task.publication_seconds
        if self._chain.now() >= window_ends:
            return
        seen = self.fetched_in_time(round_.id)
        missing = {update.digest: update.client for update in round_.updates if update.client not in seen}
        found = probe(self._store, missing, task.limits.update_bytes, LOOK_SECONDS)
        if not found or self._chain.now() >= window_ends:
            return
        make_directory(self._home)
        fetched = seen | {missing[digest] for digest in found}
        write_atomic(self._file(round_.id), json.dumps(sorted(fetched)).encode())

    def _file(self, round_id: RoundId) -> Path:
        return self._home / f"fetched-{round_id.hex()}.json"
