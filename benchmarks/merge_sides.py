"""The two sides of the measurement of merging, each a process of its own that this one starts, asks and watches."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.merge_inputs import Size
from benchmarks.processes import CommandFailed, run_timed

ROOT = Path(__file__).resolve().parent.parent
PEER_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
LOOK_SECONDS = 0.01  # between two looks at how much memory a process holds
KINDS = {"ewc": "ewc", "four_bytes": "int32"}  # of inputs (benchmarks/merge_store.py); int16 for all other cases


class NoPeer(Exception):
    """There is no environment with Flower: `make .venv-bench/.done` makes it."""


class Ours:
    """Our side at one size, with its inputs in ``scratch``/<size>, written when they are first needed."""

    def __init__(self, scratch: Path, size: Size) -> None:
        self.size = size
        self._here = scratch / size.name

    def run(self, case: str, terms: dict[str, Any]) -> dict[str, Any]:
        """Merge once in a fresh process; return its seconds, memory and the model's CID."""
        kind = KINDS.get(case, "int16")
        inputs = self._inputs(self._here, self.size, kind)
        if case == "command":
            return self._command(inputs)
        request = {
            "store": str(self._here / "store"),
            "inputs": str(inputs),
            "terms": terms,
            "consolidate": case == "ewc",
        }
        command = [sys.executable, "-m", "benchmarks.merge_ours", json.dumps(request)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        private = _watch(process)
        said, errors = process.communicate()
        if process.returncode:
            raise CommandFailed(f"{case} at {self.size.name} ended with {process.returncode}: {errors[-2000:]}")
        return {**json.loads(said), "private_bytes": private}

    def _command(self, inputs: Path) -> dict[str, Any]:
        """Run `rondo merge` as a user does: interpreter, imports and compiling included."""
        listed = json.loads(inputs.read_text())
        names = self._here / "updates.txt"
        names.write_text("\n".join(listed["updates"]))
        environment = {"RONDO_STORE": f"dir:{self._here / 'store'}", "RONDO_CONFIG": "", "RONDO_HOME": str(self._here)}
        run = run_timed([sys.executable, "-m", "rondo", "merge", listed["base"], f"@{names}"], environment)
        answer = {"seconds": run.seconds, "peak_bytes": run.peak_bytes, "private_bytes": run.peak_bytes}
        return {**answer, "cid": run.stdout.strip()}

    @staticmethod
    def _inputs(directory: Path, size: Size, kind: str) -> Path:
        path = directory / f"{kind}.json"
        if not path.exists():
            directory.mkdir(exist_ok=True)
            words = [str(directory), str(size.updates), str(size.parameters), kind]
            subprocess.run([sys.executable, "-m", "benchmarks.merge_store", *words], cwd=ROOT, check=True)
        return path


class Flower:
    """Flower's side: one process that holds the clients' bytes from one turn to the next.

    Raises:
        NoPeer: Its environment is not there.
    """

    def __init__(self) -> None:
        if not PEER_PYTHON.exists():
            raise NoPeer(f"{PEER_PYTHON} is not there")
        self._start()
        self.versions = self.ask("versions")

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [str(PEER_PYTHON), "-m", "benchmarks.flower_peer"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "FLWR_TELEMETRY_ENABLED": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def prepare(self, size: Size) -> None:
        """Let it make the bytes that clients of ``size`` would send; a new process where the last one was ended."""
        if self._process.poll() is not None:
            self._start()
        self.ask("size", updates=size.updates, parameters=size.parameters)

    def run(self, case: str, options: dict[str, Any]) -> dict[str, Any]:
        """Let it aggregate once; return its seconds, by part and in all, and memory."""
        return self.ask(case, **options)

    def ask(self, what: str, **options: Any) -> dict[str, Any]:
        """Send a request and wait for the answer, looking at the memory that it takes meanwhile."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"what": what, **options}), file=self._process.stdin, flush=True)
        private = 0
        while not select.select([self._process.stdout], [], [], LOOK_SECONDS)[0]:
            private = max(private, private_bytes(self._process.pid))
        line = self._process.stdout.readline()
        if not line:
            raise CommandFailed(f"Flower's side ended at {what} with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return {**answer, "private_bytes": private} if "seconds" in answer else answer

    @staticmethod
    def would_not_fit(size: Size) -> dict[str, Any]:
        """Return what the bytes that arrive and the arrays decoded from them take together, and what there is."""
        needed, there = 2 * 4 * size.work, psutil.virtual_memory().total
        return {"needed_mb": needed // 10**6, "memory_mb": there // 10**6, "fits": needed < there}

    def close(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)


def private_bytes(pid: int) -> int:
    """Return the anonymous resident memory of a process, which no file backs; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def _watch(process: subprocess.Popen[str]) -> int:
    """Return the most private memory that ``process`` was seen with until it ended."""
    most = 0
    while process.poll() is None:
        most = max(most, private_bytes(process.pid))
        time.sleep(LOOK_SECONDS)
    return most
