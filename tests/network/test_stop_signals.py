"""A worker that is told to stop ends between its steps; told again, at once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
BUSY = """
import time
from network.session import stop_on_signal
stopped = stop_on_signal()
print("ready", flush=True)
while not stopped():
    time.sleep(0.01)
print("stopping", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_is_heard_and_the_second_ends_it(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", BUSY], cwd=ROOT, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"ready\n"
        worker.send_signal(number)
        assert worker.stdout.readline() == b"stopping\n"
        worker.send_signal(number)
        assert worker.wait(10) == -number
