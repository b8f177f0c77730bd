"""Content in and out of stores, beside the ``ipfs`` command itself, in one run: ``make bench-ipfs``.

    python -m benchmarks.ipfs            # some minutes; writes benchmarks/results/ipfs.json
    python -m benchmarks.ipfs --quick    # one small file once; writes nothing

Whole commands are timed, ours and theirs alike, because that is what a user waits for. The exit code is 1 where a limit is
broken, 69 where there is no ``ipfs``. What each key means is in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import filecmp
import hashlib
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import machine_facts
from benchmarks.processes import Timed, run_timed
from benchmarks.results import lower_limit, rate_spread, today, write_results
from network.console import print_error
from network.kubo_node import KuboNode, find_ipfs
from protocol.cid import Cid, parse_cid
from protocol.errors import RondoError
from protocol.unixfs import CHUNK, import_file

MB = 1_000_000
BYTES = 400 * MB
REPEATS = 5
CID_REPEATS = 9
CID_LIMIT = 0.8  # of plain sha256's speed
IPFS_ADD = ("add", "-Q", "--cid-version=1", "--raw-leaves", f"--chunker=size-{CHUNK}", "--max-file-links=1024")
RONDO = (sys.executable, "-m", "rondo")


@dataclass
class Bench:
    """One run: where it works, how much it moves, and the runs so far by name.

    Args:
        scratch: An empty directory on the disk that is to be measured.
        ipfs: The ``ipfs`` command.
        size: Bytes of each file.
    """

    scratch: Path
    ipfs: Path
    size: int
    runs: dict[str, list[Timed]] = field(default_factory=dict)

    def ours(self, name: str, store: str, *arguments: str) -> Timed:
        """Run ``rondo`` with ``store`` and keep the run under ``name``."""
        environment = {"RONDO_STORE": store, "RONDO_HOME": str(self.scratch / "home"), "RONDO_CONFIG": ""}
        return self._keep(name, run_timed([*RONDO, *arguments], environment))

    def theirs(self, name: str, node: KuboNode, *arguments: str) -> Timed:
        """Run ``ipfs`` against the daemon of ``node`` and keep the run under ``name``."""
        return self._keep(name, run_timed([str(self.ipfs), *arguments], {"IPFS_PATH": str(node.repository)}))

    def rates(self, name: str) -> dict[str, float]:
        """Return MB/s of the runs under ``name``."""
        return rate_spread([run.seconds for run in self.runs[name]], self.size / MB)

    def ratio(self, ours: str, theirs: str) -> float:
        """Return how many times as fast ours is, by the medians."""
        return round(self._median(theirs) / self._median(ours), 3)

    def peak_mb(self) -> float:
        """Return the most memory that one of our processes took, in MB."""
        ours = [run for name, runs in self.runs.items() if not name.startswith("ipfs") for run in runs]
        return round(max(run.peak_bytes for run in ours) / MB, 1)

    def new_file(self, name: str) -> Path:
        """Write a file of random bytes, so that no store has any of its blocks."""
        path = self.scratch / name
        with path.open("wb") as file:
            for start in range(0, self.size, 16 * CHUNK):
                file.write(os.urandom(min(16 * CHUNK, self.size - start)))
            file.flush()
            os.fsync(file.fileno())  # its writing back must not be charged to whoever reads it
        return path

    def _keep(self, name: str, run: Timed) -> Timed:
        self.runs.setdefault(name, []).append(run)
        return run

    def _median(self, name: str) -> float:
        return median(run.seconds for run in self.runs[name])


def file_cid(path: Path) -> Cid:
    """Return the CID of the file, with our own importer."""
    with path.open("rb") as file:
        return import_file(file, lambda _: None).cid


def measure_cid(path: Path, repeats: int) -> dict[str, dict[str, float]]:
    """Time our CID and plain sha256 of the same file in turns, from the page cache, and of the same bytes in memory."""
    data = path.read_bytes()
    cases: dict[str, Callable[[], object]] = {
        "cid_of_file": lambda: file_cid(path),
        "sha256_of_file": lambda: _sha256_file(path),
        "cid_in_memory": lambda: import_file(io.BytesIO(data), lambda _: None),
        "sha256_in_memory": lambda: hashlib.sha256(data).digest(),
    }
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(repeats):
        for name, case in cases.items():
            began = time.perf_counter()
            case()
            seconds[name].append(time.perf_counter() - began)
    return {name: rate_spread(each, len(data) / MB) for name, each in seconds.items()}


def _sha256_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def measure_transfers(bench: Bench, node: KuboNode, turn: int) -> None:
    """Add and get fresh content once by every way; who goes first changes from turn to turn."""
    kubo, embedded = f"kubo:{node.api_address}", f"dir:{bench.scratch / 'store'}"
    mine, other = bench.new_file("mine"), bench.new_file("other")
    cid, other_cid = file_cid(mine), file_cid(other)

    def ours() -> None:
        _same(bench.ours("add_kubo_rpc", kubo, "put", str(mine)).stdout, cid)

    def theirs() -> None:
        _same(bench.theirs("ipfs_add", node, *IPFS_ADD, str(other)).stdout, other_cid)

    _in_turn(turn, ours, theirs)
    _same(bench.ours("add_embedded", embedded, "put", str(mine)).stdout, cid)
    got, their_got = bench.scratch / "got", bench.scratch / "their-got"
    _in_turn(
        turn,
        lambda: bench.ours("get_kubo_rpc", kubo, "fetch", str(cid), str(got)),
        lambda: bench.theirs("ipfs_get", node, "get", "-o", str(their_got), str(cid)),
    )
    _equal(mine, got, their_got)
    got.unlink()
    bench.ours("get_embedded", embedded, "fetch", str(cid), str(got))
    _equal(mine, got)
    for path in (mine, other, got, their_got):
        path.unlink()
    os.sync()  # the next turn begins with a quiet disk


def measure_start(bench: Bench, node: KuboNode) -> None:
    """Time what a command costs that moves nothing: interpreter, imports and connection are in every figure above."""
    small = bench.scratch / "small"
    small.write_bytes(os.urandom(1000))
    bench.ours("start_put", f"kubo:{node.api_address}", "put", str(small))
    bench.theirs("ipfs_start_add", node, *IPFS_ADD, str(small))
    small.unlink()


def run(scratch: Path, size: int, repeats: int) -> dict[str, Any]:
    """Measure everything in ``scratch``; return the document of results."""
    bench = Bench(scratch, find_ipfs(), size)
    document: dict[str, Any] = {"what": "content in and out of stores, beside the ipfs command", "date": today()}
    file = bench.new_file("hashed")
    document["cid"] = measure_cid(file, CID_REPEATS if repeats > 1 else 1)
    file.unlink()
    with KuboNode(scratch / "kubo") as node:
        document["conditions"] = {
            "bytes": size,
            "repeats": repeats,
            "kubo": node.version,
            "timed": "whole commands, in turns; the daemon runs throughout; fresh random content each time",
        }
        for turn in range(repeats):
            measure_transfers(bench, node, turn)
            measure_start(bench, node)
            print(f"turn {turn + 1} of {repeats}", file=sys.stderr, flush=True)
    starts = ("start_put", "ipfs_start_add")
    document["seconds_of_a_small_put"] = {
        name: round(median(one.seconds for one in bench.runs[name]), 3) for name in starts
    }
    document["mb_per_second"] = {name: bench.rates(name) for name in bench.runs if name not in starts}
    document["add_vs_ipfs_command"] = bench.ratio("add_kubo_rpc", "ipfs_add")
    document["get_vs_ipfs_command"] = bench.ratio("get_kubo_rpc", "ipfs_get")
    document["add_embedded_vs_ipfs_command"] = bench.ratio("add_embedded", "ipfs_add")
    document["get_embedded_vs_ipfs_command"] = bench.ratio("get_embedded", "ipfs_get")
    document["peak_mb"] = bench.peak_mb()
    cid = document["cid"]
    document["cid_vs_sha256"] = round(cid["cid_of_file"]["median"] / cid["sha256_of_file"]["median"], 3)
    document["cid_vs_sha256_in_memory"] = round(cid["cid_in_memory"]["median"] / cid["sha256_in_memory"]["median"], 3)
    document["limits"] = {
        name: lower_limit(CID_LIMIT, document[name]) for name in ("cid_vs_sha256", "cid_vs_sha256_in_memory")
    }
    document["machine"] = machine_facts("httpx", "ipfshttpclient")
    return document


def _in_turn(turn: int, first: Callable[[], object], second: Callable[[], object]) -> None:
    for action in (first, second) if turn % 2 == 0 else (second, first):
        action()


def _same(printed: str, cid: Cid) -> None:
    if parse_cid(printed.strip()) != cid:
        raise AssertionError(f"{printed.strip()} was stored, not {cid}")


def _equal(first: Path, *others: Path) -> None:
    for other in others:
        if not filecmp.cmp(first, other, shallow=False):
            raise AssertionError(f"{other} is not what was added")


def main() -> int:
    """Measure, print, and write the results unless ``--quick``."""
    parser = argparse.ArgumentParser(description="Measure content stores beside the ipfs command.")
    parser.add_argument("--quick", action="store_true", help="one small file once; write nothing")
    parser.add_argument("--dir", type=Path, default=None, help="a directory on the disk to measure")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="rondo-bench-") as scratch:
        try:
            document = run(Path(scratch), 10 * MB if options.quick else BYTES, 1 if options.quick else REPEATS)
        except RondoError as error:
            print_error(error)
            return error.exit_code
    print(json.dumps(document, indent=1))
    if not options.quick:
        write_results("ipfs", document)
    return 0 if all(limit["holds"] for limit in document["limits"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
