"""A share of the files that may be open: nobody takes more, whoever gives back lets others take."""

from __future__ import annotations

import resource
import threading

import pytest

from network.open_files import OpenFiles


def test_three_quarters_may_be_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 1000))
    files = OpenFiles()
    assert files.take(70) and files.take(5) and files.take(0)
    assert not files.take(1)
    files.give_back(70)
    assert not files.take(71) and files.take(70)


def test_without_a_limit_as_many_may_as_a_process_can_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert OpenFiles().take(16_384) and not OpenFiles().take(16_385)


def test_threads_never_have_more_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (8, 8))
    files, taken = OpenFiles(), list[int]()

    def run() -> None:
        for _ in range(2000):
            if files.take(4):
                taken.append(4)
                assert len(taken) == 1
                taken.pop()
                files.give_back(4)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert files.take(6)
