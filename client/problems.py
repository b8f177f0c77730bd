"""Rounds that could not be paid: why, and when each is worth another look."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.errors import RondoError
from protocol.types import RoundId

# A look can cost a download of every update and a merge, so it is not taken at every poll. Unclaimed pay never expires.
FIRST_PAUSE_SECONDS = 15
LONGEST_PAUSE_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class _Problem:
    error: RondoError
    pause: int  # seconds
    again_at: int  # chain seconds


class Problems:
    """The problems of one account's rounds; times are chain seconds."""

    def __init__(self) -> None:
        self._found: dict[RoundId, _Problem] = {}

    @property
    def errors(self) -> dict[RoundId, RondoError]:
        """The latest problem of each round that has one."""
        return {round_id: problem.error for round_id, problem in self._found.items()}

    def add(self, round_id: RoundId, error: RondoError, now: int) -> None:
        """Note that the round failed at ``now``: each time it is left alone for twice as long."""
        before = self._found.get(round_id)
        pause = FIRST_PAUSE_SECONDS if before is None else min(2 * before.pause, LONGEST_PAUSE_SECONDS)
        self._found[round_id] = _Problem(error, pause, now + pause)

    def clear(self, round_id: RoundId) -> None:
        """Forget the round's problem, if it has one."""
        self._found.pop(round_id, None)

    def rests(self, round_id: RoundId, now: int) -> bool:
        """Whether the round is to be left alone at ``now``."""
        problem = self._found.get(round_id)
        return problem is not None and now < problem.again_at
