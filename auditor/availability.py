"""Whose bytes this auditor fetched while they had to be public: what it needs to contest a false ``unavailable``."""

from __future__ import annotations

import json
from pathlib import Path

from network.chain import Chain
from network.files import make_directory, write_atomic
from network.store import ContentStore, fetch
from protocol.cid import directory_cid
from protocol.errors import ArtifactRefused, ContentError
from protocol.state import RoundState, UpdateState
from protocol.task import Task
from protocol.types import Address, RoundId


class Availability:
    """A durable record, one small file a round, of updates fetched within the publication window (DESIGN 3).

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
        """Fetch what is public by now and record it. Ends early when the window does.

        The chain's clock is read again after every fetch: bytes that came while a slow look was under way, but after
        the window, are late like any others.

        Raises:
            ChainError: The chain does not answer.
        """
        if round_.training_closed_at is None:
            return
        window_ends = round_.training_closed_at + task.publication_seconds
        seen = set(self.fetched_in_time(round_.id))
        for update in round_.updates:
            if self._chain.now() >= window_ends:
                return
            if update.client in seen or not self._is_public(update, task) or self._chain.now() >= window_ends:
                continue
            seen.add(update.client)
            make_directory(self._home)
            write_atomic(self._file(round_.id), json.dumps(sorted(seen)).encode())

    def _is_public(self, update: UpdateState, task: Task) -> bool:
        try:
            fetch(self._store, update.digest, task.limits.update_bytes)
            # Kept here, the bytes can be had by the organization too, whoever its client chose to serve.
            self._store.keep(directory_cid(update.digest))
        except ContentError:
            return False
        except ArtifactRefused:
            return True  # the bytes are there; that they are refused is another verdict
        return True

    def _file(self, round_id: RoundId) -> Path:
        return self._home / f"fetched-{round_id.hex()}.json"
