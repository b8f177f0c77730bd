"""A stopped benchmark goes on where it was, and never with a run of another setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.runs import Runs


def test_a_run_is_kept_and_not_repeated(tmp_path: Path) -> None:
    calls: list[int] = []

    def run() -> dict[str, int]:
        calls.append(1)
        return {"figure": len(calls)}

    first = Runs(tmp_path / "kept").record({"seed": 1}, run)
    again = Runs(tmp_path / "kept")
    assert again.record({"seed": 1}, run) == first
    assert first["setting"] == {"seed": 1}
    assert first["figure"] == len(calls) == 1
    assert again.record({"seed": 2}, run)["figure"] == len(calls) == 2
    assert again.seconds == first["seconds"] + again.record({"seed": 2}, run)["seconds"]


def test_a_run_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fails() -> dict[str, int]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Runs(tmp_path).record({}, fails)
    assert list(tmp_path.iterdir()) == []
    assert Runs(tmp_path).record({}, lambda: {"figure": 3})["figure"] == 3


def test_without_a_folder_nothing_is_kept() -> None:
    runs = Runs(None)
    assert [runs.record({}, lambda value=value: {"value": value})["value"] for value in (1, 2)] == [1, 2]
