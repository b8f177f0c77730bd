"""Child processes that never outlive us: when our end of a pipe closes, however we end, they are told to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

# Runs a command and stops it when standard input closes. That is the end of our pipe, so it stops with us however we
# end, kill -9 included, and saves its state; unlike PR_SET_PDEATHSIG this is portable and not bound to one thread.
GUARD = """
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
{ read -r _ <&3; kill -TERM "$child"; } 2>/dev/null &
watcher=$!
exec 3<&-
trap 'kill -TERM "$child"' TERM INT
wait "$child"; status=$?
kill -TERM "$watcher" 2>/dev/null
wait "$child" 2>/dev/null
exit "$status"
"""
STOP_SECONDS = 20


def start_guarded(
    command: Sequence[str], log: Path | None, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start ``command`` under the guard; what it says is appended to ``log``, or dropped.

    It is in a session of its own, so that Ctrl-C at the terminal reaches us first and we stop it last.

    Args:
        environment: Variables on top of ours.

    Raises:
        OSError: The log cannot be written, or there is no shell.
    """
    output: IO[bytes] | int = subprocess.DEVNULL
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        output = log.open("ab")
    try:
        return subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "guard", *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    finally:
        if not isinstance(output, int):
            output.close()


def stop_guarded(process: subprocess.Popen[bytes], seconds: float = STOP_SECONDS) -> None:
    """Ask the command to stop and wait for its end; after ``seconds`` ask again, after twice as many kill it."""
    if process.stdin is not None:
        process.stdin.close()
    for insist in (process.terminate, lambda: kill_guarded(process)):
        try:
            process.wait(seconds)
            return
        except subprocess.TimeoutExpired:
            insist()
    process.wait()


def kill_guarded(process: subprocess.Popen[bytes]) -> None:
    """Kill the command and its guard at once (SIGKILL): nothing is saved."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stdin is not None:
        process.stdin.close()
    process.wait()
