"""Trying again, and giving up."""

from __future__ import annotations

import time

import pytest

from network.retries import Again, GaveUp, persist


class Door:
    """Opens at the ``opens_at``-th knock; before it says ``error``."""

    def __init__(self, opens_at: int, error: Exception) -> None:
        self.knocks, self._opens_at, self._error = 0, opens_at, error
        self.times: list[float] = []

    def __call__(self) -> str:
        self.knocks += 1
        self.times.append(time.monotonic())
        if self.knocks < self._opens_at:
            raise self._error
        return "open"


def test_what_passes_is_tried_until_it_has_passed() -> None:
    door = Door(4, Again("closed"))
    assert persist(door, 5) == "open"
    assert door.knocks == 4


def test_a_definite_answer_is_taken() -> None:
    door = Door(2, ValueError("never"))
    with pytest.raises(ValueError, match="never"):
        persist(door, 5)
    assert door.knocks == 1


def test_giving_up_says_why_how_often_and_how_long() -> None:
    door, started = Door(1000, Again("It was closed.")), time.monotonic()
    with pytest.raises(GaveUp, match=r"^It was closed\. Tried \d+ times in 0\.\d s\.$"):
        persist(door, 0.6)
    assert 1 < door.knocks < 100
    assert time.monotonic() - started < 0.8


@pytest.mark.parametrize("seconds", [0, -1])
def test_without_time_it_is_tried_once(seconds: float) -> None:
    door = Door(2, Again("closed"))
    with pytest.raises(GaveUp, match="Tried once"):
        persist(door, seconds)
    assert door.knocks == 1


def test_it_waits_as_long_as_it_is_told() -> None:
    door = Door(3, Again("later", after=0.3))
    assert persist(door, 5) == "open"
    assert all(later - earlier >= 0.3 for earlier, later in zip(door.times, door.times[1:], strict=False))


def test_it_does_not_wait_beyond_its_time() -> None:
    door, started = Door(2, Again("later", after=3.0)), time.monotonic()
    with pytest.raises(GaveUp, match="later"):
        persist(door, 1)
    assert time.monotonic() - started < 0.5


def test_waits_differ_and_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    clock = [0.0]

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr("tenacity.nap.time.sleep", sleep)
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    with pytest.raises(GaveUp):
        persist(Door(10_000, Again("closed")), 120)
    assert len(set(waits)) > len(waits) // 2  # by chance
    assert max(waits[:3]) <= 0.8
    assert max(waits) <= 2.0
    assert sum(waits[-40:]) > 10 * sum(waits[:3])
