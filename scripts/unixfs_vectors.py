"""Write tests/vectors/unixfs.json: what a real Kubo says of files and directories. `python scripts/unixfs_vectors.py`

Needs an `ipfs` on PATH or named by RONDO_IPFS, and about 3 GiB of disk for a while. It works offline, in a repository
of its own. The tests compare Rondo's importer with the file, and where an `ipfs` is found, the file with that `ipfs`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.protocol.content_patterns import PatternStream  # noqa: E402

MIB = 1024 * 1024
ADD = "ipfs add -Q -r --pin=false --cid-version=1 --raw-leaves --chunker=size-1048576 --max-file-links=1024"
SIZES = (0, 1, 13, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB + 5, 1024 * MIB, 1024 * MIB + 1)
FILES = [(pattern, size) for size in SIZES for pattern in ("zeros", "counter")]
DIRECTORIES: dict[str, dict[str, tuple[str, int]]] = {
    "empty": {},
    "one empty file": {"a": ("zeros", 0)},
    "an update": {"update.json": ("counter", 700), "delta.safetensors": ("counter", MIB + 1)},
    "a model": {
        "weights.safetensors": ("counter", 3 * MIB + 5),
        "model.json": ("counter", 4000),
        "architecture.json": ("counter", 9000),
        "importance.safetensors": ("zeros", 2 * MIB),
    },
    "order is by bytes": dict.fromkeys(("b", "a", "ab", "a.b", "a-b", "B", "10", "2"), ("counter", 8)),
    "equal contents": {"x": ("zeros", MIB), "y": ("zeros", MIB), "z": ("zeros", 2 * MIB)},
}


def kubo(command: str, *arguments: str) -> str:
    """Run one ipfs command and return its output."""
    binary = os.environ.get("RONDO_IPFS") or "ipfs"
    words = [binary, *command.split()[1:], *arguments]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def write(path: Path, pattern: str, size: int) -> None:
    """Write the pattern into a file."""
    with path.open("wb") as file:
        shutil.copyfileobj(PatternStream(pattern, size), file, 16 * MIB)


def add(path: Path) -> dict[str, Any]:
    """Add a file or directory and return what Kubo says of it."""
    cid = kubo(ADD, str(path))
    total_size = kubo("ipfs files stat", "--format=<cumulsize>", f"/ipfs/{cid}")
    return {"cid": cid, "total_size": int(total_size)}


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        os.environ["IPFS_PATH"] = f"{place}/repository"
        kubo("ipfs init --empty-repo")
        kubo("ipfs config --json AutoConf.Enabled false")
        files, directories = [], []
        for pattern, size in FILES:
            path = Path(place, "file")
            write(path, pattern, size)
            files.append({"pattern": pattern, "size": size} | add(path))
        for number, (name, entries) in enumerate(DIRECTORIES.items()):
            path = Path(place, str(number))
            path.mkdir()
            for entry, (pattern, size) in entries.items():
                write(path / entry, pattern, size)
            recipes = {entry: {"pattern": pattern, "size": size} for entry, (pattern, size) in entries.items()}
            directories.append({"name": name, "files": recipes} | add(path))
        facts = {"made_by": kubo("ipfs version"), "command": ADD, "files": files, "directories": directories}
    target = ROOT / "tests/vectors/unixfs.json"
    target.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
