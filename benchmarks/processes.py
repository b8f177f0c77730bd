"""Timing whole commands as a user runs them, each process alone, with the memory that it took at its peak."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# macOS gives bytes, Linux KiB (getrusage(2) of each)
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


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
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)  # unlike Popen.wait it says how much memory was taken
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        for stream in (out, err):
            stream.seek(0)
        if process.returncode:
            raise CommandFailed(f"{command[0]} ended with {process.returncode}: {err.read().decode()[-2000:]}")
        return Timed(seconds, usage.ru_maxrss * _MAXRSS_UNIT, out.read().decode())
