"""A real Kubo node for tests: offline or on loopback only, in a repository of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

IPFS = shutil.which(os.environ.get("RONDO_IPFS") or "ipfs")
NO_IPFS = "no `ipfs` on PATH and RONDO_IPFS names none: install Kubo to run this"


class KuboNode:
    """``with KuboNode(place) as node``: a daemon in the directory ``place``, its API at ``node.address``."""

    def __init__(self, place: Path) -> None:
        self._place, self.address = place, ""
        self._daemon: subprocess.Popen[bytes] | None = None

    def output(self, *words: str, stdin: bytes = b"") -> bytes:
        """Run one ipfs command on the repository and return what it prints."""
        assert IPFS is not None
        words = (IPFS, *words)
        return subprocess.run(words, env=self._environment, input=stdin, capture_output=True, check=True).stdout

    def command(self, *words: str, stdin: bytes = b"") -> str:
        """As ``output``, for commands that print a line of text."""
        return self.output(*words, stdin=stdin).decode().strip()

    def initialise(self) -> None:
        """Make a repository that knows no other node, listens on loopback only, and has any free ports."""
        self.command("init", "--empty-repo", "--profile=test")
        for key, value in {
            "AutoConf.Enabled": "false",
            "Routing.Type": '"none"',
            "Addresses.Gateway": "[]",
            "Addresses.Swarm": '["/ip4/127.0.0.1/tcp/0"]',
        }.items():
            self.command("config", "--json", key, value)

    def start(self) -> None:
        """Start the daemon and wait until its API answers."""
        assert IPFS is not None
        (self._place / "api").unlink(missing_ok=True)
        self._daemon = subprocess.Popen(
            [IPFS, "daemon"], env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(600):
            if (self._place / "api").exists():
                self.address = (self._place / "api").read_text().strip()
                return
            assert self._daemon.poll() is None, "ipfs daemon ended"
            time.sleep(0.05)
        raise AssertionError("ipfs daemon did not start in 30 s")

    def stop(self) -> None:
        """Stop the daemon."""
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait(30)
            self._daemon = None

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "IPFS_PATH": str(self._place)}

    def __enter__(self) -> Self:
        self.initialise()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
