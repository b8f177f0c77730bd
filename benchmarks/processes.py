"""Timing whole commands as a user runs them, each process alone, with the memory that it took at its peak."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# macOS gives bytes, Linux KiB (getrusage(2) of each)
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024

# A process counts as its own what its parent held when it was started; so a small one starts it, whatever we hold.
_LAUNCHER = """
import json, os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)  # unlike Popen.wait it says how much memory was taken
seconds = time.perf_counter() - began
with open(sys.argv[1], "w") as file:
    json.dump([seconds, os.waitstatus_to_exitcode(status), usage.ru_maxrss], file)
"""


class CommandFailed(Exception):
    """A measured command ended with an error; there is nothing to measure then."""


@dataclass(frozen=True, slots=True)
class Timed:
    """One finished process: wall seconds from start to end, most resident memory in bytes, and what it printed."""

    seconds: float
    peak_bytes: int
    stdout: str


def run_timed(command: Sequence[str], environment: Mapping[str, str]) -> Timed:
    """Run ``command`` with ``environment`` over our own, to its end.

    Raises:
        CommandFailed: It ended with another exit code than 0; what it said is in the message.
    """
    with tempfile.TemporaryDirectory() as scratch:
        facts = Path(scratch) / "facts.json"
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(facts), *command]
        done = subprocess.run(launcher, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
        seconds, code, peak = json.loads(facts.read_text())
    if code:
        raise CommandFailed(f"{command[0]} ended with {code}: {done.stderr[-2000:]}")
    return Timed(seconds, peak * MAXRSS_UNIT, done.stdout)
