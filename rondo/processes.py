"""Child processes with their logs: started together, watched together, ended together."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from protocol.errors import RondoError

GRACE_SECONDS = 10
TAIL_LINES = 15


class ChildFailed(RondoError):
    """A process of the demo ended with an error; its last lines are in ``why``."""

    exit_code = 70


@dataclass(frozen=True)
class Child:
    """A running ``rondo`` command and its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path


class Processes:
    """A group of ``rondo`` commands, each its own process with its own key and log. Leaving the context ends them all."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.children: list[Child] = []
        logs.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for child in self.children:
            if child.process.poll() is None:
                child.process.terminate()
        for child in self.children:
            try:
                child.process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()

    def start(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str], stdout: Path | None = None
    ) -> Child:
        """Start ``rondo ARGUMENTS`` with ``environment`` on top of ours.

        Its output goes to ``<name>.log``; its standard output to ``stdout`` instead where that is named.
        """
        log = self.logs / f"{name}.log"
        with log.open("ab") as errors, (stdout or log).open("ab") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "rondo", *arguments],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=errors,
            )
        child = Child(name, process, log)
        self.children.append(child)
        return child

    def run(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str], expect: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end, with its stdout captured and logged.

        Raises:
            ChildFailed: It exited with another code than ``expect``.
        """
        log = self.logs / f"{name}.log"
        done = subprocess.run(
            [sys.executable, "-m", "rondo", *arguments],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        with log.open("a") as sink:
            sink.write(done.stdout + done.stderr)
        if done.returncode != expect:
            raise self._failure(name, done.returncode, log)
        return done

    def running(self) -> list[Child]:
        """The children still running.

        Raises:
            ChildFailed: One ended with an error.
        """
        for child in self.children:
            code = child.process.poll()
            if code not in (None, 0):
                raise self._failure(child.name, code, child.log)
        return [child for child in self.children if child.process.poll() is None]

    def _failure(self, name: str, code: int | None, log: Path) -> ChildFailed:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-TAIL_LINES:])
        return ChildFailed(f"The process {name} ended with exit code {code}.", tail, f"Its whole log is {log}.")
