"""How many processors this process may use."""

from __future__ import annotations

import os

import pytest

from network.processors import usable_processors


def test_at_least_one_and_no_more_than_there_are() -> None:
    assert 1 <= usable_processors() <= (os.cpu_count() or 1)


def test_what_the_system_allows_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 5, 7}, raising=False)

    assert usable_processors() == 3


def test_where_the_system_cannot_say_all_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)

    assert usable_processors() == 1
