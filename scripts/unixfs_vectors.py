"""Write what a real Kubo says: tests/vectors/unixfs.json (files, directories, trees) and car.json (their CARs).

    python scripts/unixfs_vectors.py [unixfs] [car]     # both by default

Needs an `ipfs` (`make kubo`, or one on PATH, or named by RONDO_IPFS), for unixfs.json about 3 GiB of disk for a while
and some minutes. It works offline, in repositories of its own. The tests compare Rondo's importer with the file, and where an `ipfs` is
found, the file with that `ipfs`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from network.kubo_binary import find_ipfs  # noqa: E402
from tests.protocol.content_patterns import MIB, write_pattern, write_tree  # noqa: E402

GIB = 1024 * MIB  # what one node of 1024 links holds
ADD = "ipfs add -Q -r --pin=false --cid-version=1 --raw-leaves"
LAYOUT = "--chunker=size-1048576 --max-file-links=1024"
PROFILE = "unixfs-v1-2025"

SMALL_SIZES = (0, 1, 13, MIB - 1, MIB, MIB + 1, 2 * MIB - 1, 2 * MIB, 3 * MIB + 5)
FILES = [(pattern, size) for size in SMALL_SIZES for pattern in ("zeros", "counter")]
FILES += [("zeros", GIB - 1), ("zeros", GIB), ("zeros", GIB + 1), ("zeros", GIB + MIB), ("zeros", 5 * GIB + 7)]
FILES += [("counter", GIB), ("counter", GIB + 1)]

# Trees of many levels, which files of megabytes in a leaf do not reach: the same, with small leaves and narrow nodes.
SCALED_CHUNK, SCALED_WIDTH = 16, 3
SCALED_SIZES = sorted(
    {0, 1, 15}
    | {SCALED_CHUNK * SCALED_WIDTH**level + more for level in range(6) for more in (-16, -1, 0, 1, 16, 17)}
    | {SCALED_CHUNK * count for count in (5, 7, 8, 11, 13, 26, 28, 80)}
)

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


def file(size: int, pattern: str = "counter") -> dict[str, Any]:
    """A file of a tree."""
    return {"pattern": pattern, "size": size}


def named(*names: str) -> dict[str, dict[str, Any]]:
    """Small files of these names, each of another size, so that no two can be exchanged unnoticed."""
    return {name: file(8 + number) for number, name in enumerate(names)}


HIDDEN = named("seen", ".hidden", "below/.hidden", "below/seen", ".below/seen", "..two", "only/.hidden")
FULL = {"empty_files": 5140, "digits": 7}  # a node of 262144 bytes, to the byte
TREES: list[tuple[str, bool, dict[str, dict[str, Any]]]] = [
    ("nothing", False, {}),
    (
        "letters and prefixes",
        False,
        named("b", "B", "a", "ab", "a.b", "a-b", "a b", "A", "Z", "_", "10", "2", "a~", "~"),
    ),
    (
        "unicode by bytes",
        False,
        named("e", "é", "e\u0301", "z", "ﬀ", "\uffff", "\U0001f600", "日本", "\x7f", "a\nb", "%41"),
    ),
    ("other letters", False, named("a\\b", "a:b", "a?b", "a#b", '"', "'", "&", "+", "-n", "a" * 255, "ü" * 127)),
    ("nested", False, {"a": file(5), "d/e/f/g": file(9), "d/e/h": file(MIB + 1), "d.txt": file(3), "d0": file(4)}),
    ("nested empty", False, {"a/b/c": {}, "d": {}}),
    ("empty files and directories", False, {"x": file(0), "y": {}}),
    ("a file of several chunks", False, {"big": file(3 * MIB + 5), "same/big": file(3 * MIB + 5), "small": file(1)}),
    ("hidden left out", False, HIDDEN),
    ("hidden taken", True, HIDDEN),
    (
        "links",
        False,
        {"a": file(5), "l": {"symlink": "a"}, "d/up": {"symlink": "../a"}, "gone": {"symlink": "/nowhere"}},
    ),
    ("links are not tidied", False, {"l": {"symlink": "a/./b//c/"}, "m": {"symlink": "ü" * 500}}),
    ("as many as fit", False, {".": FULL}),
    ("as many as fit, below", False, {"d": FULL, "e": FULL, "f": file(2)}),
    ("forty levels", False, {"/".join(["d"] * 40): file(7)}),
]
SHARDED: list[tuple[str, dict[str, dict[str, Any]]]] = [
    ("a byte too many", {".": {"empty_files": 5139, "digits": 7}, "a" * 8: file(0)}),
    ("below", {"d": {"empty_files": 5141, "digits": 7}}),
]

CARS: list[tuple[str, dict[str, dict[str, Any]]]] = [
    ("one leaf", {"a": file(13)}),
    ("an empty leaf", {"a": file(0)}),
    ("a directory", named("a", "b", "c")),
    ("equal leaves stand once", {"x": file(9), "y": file(9), "d/z": file(9)}),
    ("a nested tree", {"a/b/c": file(5), "a/d": file(6), "l": {"symlink": "a/d"}}),
    ("a file of several leaves", {"a": file(3 * MIB + 5)}),
]


def expect(holds: bool, name: str) -> None:
    """Stop where Kubo does not do what a vector is there to show."""
    if not holds:
        raise SystemExit(f"Kubo makes something else of {name!r}.")


class Kubo:
    """The command `ipfs` with a repository of its own; ``profile`` names what is applied to it."""

    def __init__(self, place: Path, profile: str | None) -> None:
        self._environment = {**os.environ, "IPFS_PATH": str(place)}
        self._ipfs = str(find_ipfs())
        self.run("ipfs init --empty-repo")
        self.run("ipfs config --json AutoConf.Enabled false")
        if profile is not None:
            self.run(f"ipfs config profile apply {profile}")

    def output(self, command: str, *arguments: str) -> bytes:
        """Run one ipfs command and return its output."""
        words = [self._ipfs, *command.split()[1:], *arguments]
        return subprocess.run(words, check=True, capture_output=True, env=self._environment).stdout

    def run(self, command: str, *arguments: str) -> str:
        """As ``output``, for commands that print a line of text."""
        return self.output(command, *arguments).decode().strip()

    def add(self, path: Path, *options: str, layout: str = LAYOUT) -> dict[str, Any]:
        """Add a file or directory and return what Kubo says of it."""
        cid = self.run(f"{ADD} {layout}", *options, str(path))
        return {"cid": cid, "total_size": int(self.run("ipfs files stat", "--format=<cumulsize>", f"/ipfs/{cid}"))}

    def unixfs_type(self, cid: str) -> int:
        """Return the UnixFS type of a directory's node (1, or 5 where it is hashed): the first field of its data."""
        node = json.loads(self.run("ipfs dag get", cid))
        return base64.b64decode(node["Data"]["/"]["bytes"] + "==")[1]


def file_vectors(kubo: Kubo, place: Path) -> list[dict[str, Any]]:
    """Files of every size that is a boundary, in whole."""
    vectors = []
    for pattern, size in FILES:
        write_pattern(place / "file", pattern, size)
        vectors.append({"pattern": pattern, "size": size} | kubo.add(place / "file"))
    return vectors


def scaled_vectors(kubo: Kubo, place: Path) -> dict[str, Any]:
    """Files of up to seven levels."""
    layout = f"--chunker=size-{SCALED_CHUNK} --max-file-links={SCALED_WIDTH}"
    files = []
    for size in SCALED_SIZES:
        write_pattern(place / "file", "counter", size)
        files.append({"pattern": "counter", "size": size} | kubo.add(place / "file", layout=layout))
    return {"chunk": SCALED_CHUNK, "width": SCALED_WIDTH, "files": files}


def directory_vectors(kubo: Kubo, place: Path) -> list[dict[str, Any]]:
    """Directories as artifacts are: flat, with plain names."""
    vectors = []
    for number, (name, entries) in enumerate(DIRECTORIES.items()):
        recipes = {entry: file(size, pattern) for entry, (pattern, size) in entries.items()}
        path = write_tree(place / f"directory-{number}", recipes)
        vectors.append({"name": name, "files": recipes} | kubo.add(path))
    return vectors


def tree_vectors(kubo: Kubo, plain: Kubo, place: Path) -> list[dict[str, Any]]:
    """Trees of any shape; ``plain``, without the profile, must say the same, so a node's settings do not matter."""
    vectors = []
    for number, (name, hidden, entries) in enumerate(TREES):
        path = write_tree(place / f"tree-{number}", entries)
        options = ("--hidden",) if hidden else ()
        said = kubo.add(path, *options)
        expect(plain.add(path, *options) == said, name)
        expect(kubo.unixfs_type(said["cid"]) == 1, name)
        vectors.append({"name": name, "hidden": hidden, "entries": entries} | said)
    return vectors


def sharded_vectors(kubo: Kubo, place: Path) -> list[dict[str, Any]]:
    """Trees that Kubo hashes: ``unixfs_type`` is that of the directory ``at``, whose node would be over 256 KiB."""
    vectors = []
    for number, (name, entries) in enumerate(SHARDED):
        path = write_tree(place / f"sharded-{number}", entries)
        large = min(entries)
        cid = kubo.add(path / large)["cid"]
        expect(kubo.unixfs_type(cid) == 5, name)
        vectors.append({"name": name, "entries": entries, "at": large, "cid": cid, "unixfs_type": 5})
    return vectors


def car_vectors(kubo: Kubo, place: Path) -> list[dict[str, Any]]:
    """CARs as `ipfs dag export` writes them: in whole as hex where they are small, and by their sha256."""
    vectors = []
    for number, (name, entries) in enumerate(CARS):
        path = write_tree(place / f"car-{number}", entries)
        said = kubo.add(path / min(entries) if len(entries) == 1 else path)
        car = kubo.output("ipfs dag export --progress=false", said["cid"])
        whole = {"car": car.hex()} if len(car) < 4096 else {}
        facts = {"name": name, "entries": entries, "cid": said["cid"], "sha256": hashlib.sha256(car).hexdigest()}
        vectors.append({**facts, "length": len(car), **whole})
    return vectors


def write(name: str, facts: dict[str, Any]) -> None:
    """Write one file of vectors."""
    (ROOT / f"tests/vectors/{name}.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def main(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        kubo, plain = Kubo(place / "repository", PROFILE), Kubo(place / "plain", None)
        made = {"made_by": kubo.run("ipfs version"), "command": f"{ADD} {LAYOUT}", "profile": PROFILE}
        if "unixfs" in names:
            facts = {"files": file_vectors(kubo, place), "scaled": scaled_vectors(kubo, place)}
            facts |= {"directories": directory_vectors(kubo, place), "trees": tree_vectors(kubo, plain, place)}
            write("unixfs", made | facts | {"sharded": sharded_vectors(kubo, place)})
        if "car" in names:
            write("car", made | {"export": "ipfs dag export", "cars": car_vectors(kubo, place)})


if __name__ == "__main__":
    main(sys.argv[1:] or ["unixfs", "car"])
