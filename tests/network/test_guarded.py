"""Guarded children: they end with us, when they are told, and at the latest when they are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from network.guarded import kill_guarded, start_guarded, stop_guarded

LISTENS = "echo $$ > pid.new; mv pid.new pid; exec sleep 60"
IS_DEAF = "trap '' TERM; echo $$ > pid.new; mv pid.new pid; while :; do sleep 0.1; done"
WANTS_ASKING_TWICE = """
trap 'test -e asked && exit 0; : > asked' TERM
echo $$ > pid.new; mv pid.new pid
while :; do sleep 0.1; done
"""


def wait_for(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text() if Path("/proc/self").exists() else True


def start(directory: Path, script: str) -> tuple[subprocess.Popen[bytes], int]:
    process = start_guarded(["/bin/sh", "-c", f"cd {directory}; {script}"], directory / "log")
    wait_for((directory / "pid").exists)
    return process, int((directory / "pid").read_text())


def test_what_listens_is_stopped_and_what_it_said_is_kept(tmp_path: Path) -> None:
    process, pid = start(tmp_path, "echo hello; " + LISTENS)
    assert lives(pid)
    stop_guarded(process)
    assert not lives(pid) and (tmp_path / "log").read_text().startswith("hello\n")


def test_what_wants_to_be_asked_twice_is(tmp_path: Path) -> None:
    process, pid = start(tmp_path, WANTS_ASKING_TWICE)
    stop_guarded(process, seconds=1)
    assert not lives(pid) and process.returncode != -signal.SIGKILL


def test_what_does_not_listen_is_killed(tmp_path: Path) -> None:
    process, pid = start(tmp_path, IS_DEAF)
    started = time.monotonic()
    stop_guarded(process, seconds=0.5)
    assert not lives(pid) and 1 <= time.monotonic() - started < 5


def test_killing_kills_the_command_and_not_its_guard_alone(tmp_path: Path) -> None:
    process, pid = start(tmp_path, IS_DEAF)
    kill_guarded(process)
    assert process.returncode == -signal.SIGKILL
    wait_for(lambda: not lives(pid))


def test_killed_ourselves_we_leave_nothing_running(tmp_path: Path) -> None:
    script = f"""
import pathlib, time
from network.guarded import start_guarded
child = start_guarded(["/bin/sh", "-c", {f"cd {tmp_path}; {LISTENS}"!r}], None)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script]) as parent:
        wait_for((tmp_path / "pid").exists)
        pid = int((tmp_path / "pid").read_text())
        assert lives(pid)
        parent.kill()
    wait_for(lambda: not lives(pid))
