"""What is shown of a transfer: nothing of small ones, a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import io

import pytest

from network.progress import LINE_SECONDS, SMALL_BYTES, TransferProgress, unwatched

LARGE = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def log(steps: list[tuple[float, int]], total: int = LARGE) -> list[str]:
    """Return the lines of a transfer that is told (seconds since the beginning, bytes)."""
    stream, clock = io.StringIO(), Clock()
    with TransferProgress("base model", stream, clock) as on_progress:
        for seconds, done in steps:
            clock.now = 100.0 + seconds
            on_progress(done, total)
    return stream.getvalue().splitlines()


def test_nothing_is_said_of_a_small_transfer() -> None:
    for stream in (io.StringIO(), Terminal()):
        with TransferProgress("update", stream) as on_progress:
            for done in range(0, SMALL_BYTES, SMALL_BYTES // 10):
                on_progress(done, SMALL_BYTES - 1)
        assert stream.getvalue() == ""


def test_nothing_is_said_of_what_is_over_at_once() -> None:
    assert log([(0.09 * share, LARGE * share // 10) for share in range(1, 11)]) == []


def test_a_log_has_a_line_each_tenth() -> None:
    lines = log([(2.0 * share / 10, LARGE * share // 100) for share in range(1, 101)])
    assert len(lines) == 10
    assert lines[0] == "base model: 100 of 1000 MB (10 %), 50.0 MB/s, 18 s left"
    assert lines[-1] == "base model: 1000 of 1000 MB (100 %), 50.0 MB/s"


def test_a_slow_transfer_has_a_line_each_few_seconds() -> None:
    lines = log([(seconds, LARGE * seconds // 10_000) for seconds in range(1, 31)])
    assert len(lines) == 30 / LINE_SECONDS
    assert lines[0] == "base model: 0 of 1000 MB (0 %), 0.1 MB/s, 9995 s left"


def test_no_two_lines_come_within_a_second_but_the_last() -> None:
    lines = log([(0.3 * share, LARGE * share // 10) for share in range(1, 11)])
    assert len(lines) == 3 and lines[-1].startswith("base model: 1000 of 1000 MB (100 %)")
    assert lines[-1:] == log([(0.3 * min(share, 10), LARGE * min(share, 10) // 10) for share in range(1, 20)])[-1:]


def test_a_stalled_transfer_names_no_end() -> None:
    assert log([(6, 0), (12, 0)]) == ["base model: 0 of 1000 MB (0 %), 0.0 MB/s"] * 2


def test_a_terminal_has_a_bar_that_is_wiped() -> None:
    stream = Terminal()
    with TransferProgress("base model", stream) as on_progress:
        on_progress(LARGE // 2, LARGE)
        on_progress(LARGE, LARGE)
    shown = stream.getvalue()
    assert "base model" in shown and "1.0/1.0 GB" in shown and "\x1b[2K" in shown[-10:]


def test_a_terminals_bar_ends_with_an_error_too() -> None:
    stream = Terminal()
    with pytest.raises(KeyError), TransferProgress("base model", stream) as on_progress:
        on_progress(LARGE // 2, LARGE)
        raise KeyError
    assert stream.getvalue().endswith("\x1b[2K") and "\x1b[?25h" in stream.getvalue(), "the cursor is back"


def test_by_default_nobody_is_told() -> None:
    with unwatched("base model") as on_progress:
        on_progress(1, LARGE)
