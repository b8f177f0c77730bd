"""The command ``ipfs`` without a daemon: the oracle of CIDs, in an offline repository of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.network.kubo import IPFS

ADD = ("add", "-r", "-Q", "--only-hash", "--cid-version=1", "--raw-leaves")
LAYOUT = ("--chunker=size-1048576", "--max-file-links=1024")


class IpfsCommand:
    """An initialised repository in the directory ``place``; nothing of it ever listens or dials.

    Args:
        profile: The import profile that is applied to it, if any.
    """

    def __init__(self, place: Path, profile: str | None = "unixfs-v1-2025") -> None:
        self._environment = {**os.environ, "IPFS_PATH": str(place)}
        self.run("init", "--empty-repo")
        self.run("config", "--json", "AutoConf.Enabled", "false")
        if profile is not None:
            self.run("config", "profile", "apply", profile)

    def run(self, *words: str, stdin: bytes = b"") -> bytes:
        """Run one command and return what it prints."""
        assert IPFS is not None
        return subprocess.run(
            (IPFS, "--offline", *words), input=stdin, env=self._environment, check=True, capture_output=True
        ).stdout

    def cid(self, path: Path, *options: str, layout: tuple[str, str] = LAYOUT) -> str:
        """Return the CID that `ipfs add` gives to ``path``; nothing is kept."""
        return self.run(*ADD, *layout, *options, str(path)).decode().strip()
