"""What the machine allows a merge, and what is demanded of ours: rates beside the hash's and the memory's, and limits."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.merge_inputs import Size
from benchmarks.results import lower_limit, upper_limit
from network.processors import usable_processors
from protocol import sha256_lanes
from protocol.unixfs import CHUNK

ROOT = Path(__file__).resolve().parent.parent
FLOORS = {"fedavg": 5.0, "ewc": 3.0, "median": 15.0, "trimmed_mean": 15.0, "multikrum": 8.0}
LOWER_FLOORS = {("fedavg", "16x50M"): 4.0}
ROOM_MB = 200  # beside two models
OUR_BYTES = {"ewc": 3}  # of a coordinate of an update: int16, and uint8 importance; 2 for all other rules
THEIR_BYTES = {"ewc": 8}  # float32 weights, and float32 importance; 4 for all other rules
_HASHED = 512 * CHUNK
_ARRAY = 64 * 1024 * 1024  # int64 values: 512 MiB


def machine_limits() -> dict[str, Any]:
    """Return both limits, measured by a process of its own: what this one holds, its children would count as theirs."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.merge_limits"], stdout=subprocess.PIPE, cwd=ROOT, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def hash_limit() -> dict[str, Any]:
    """Return MB/s at which all threads together verify blocks that lie in memory, and what one hashlib does."""
    blocks = [os.urandom(CHUNK) for _ in range(16)]
    name, threads = sha256_lanes.description(), usable_processors()
    turns = _HASHED // (CHUNK * len(blocks) * threads)

    def work(_: int) -> None:
        for _turn in range(turns):
            sha256_lanes.sha256_each(blocks)

    seconds = _best(lambda: _in_threads(work, threads))
    alone = _best(lambda: [hashlib.sha256(block) for block in blocks])
    return {
        "mb_per_second": round(turns * threads * len(blocks) * CHUNK / seconds / 1e6),
        "how": name,
        "threads": threads,
        "hashlib_mb_per_second": round(len(blocks) * CHUNK / alone / 1e6),
    }


def memory_limit() -> dict[str, Any]:
    """Return MB/s at which all threads together read large arrays, and copy them (bytes read and written)."""
    threads = usable_processors()
    arrays = [np.ones(_ARRAY // threads, np.int64) for _ in range(threads)]
    copies = [np.zeros_like(array) for array in arrays]
    size = sum(array.nbytes for array in arrays)
    reading = _best(lambda: _in_threads(lambda number: arrays[number].sum(), threads))
    copying = _best(lambda: _in_threads(lambda number: np.copyto(copies[number], arrays[number]), threads))
    return {
        "read_mb_per_second": round(size / reading / 1e6),
        "copy_mb_per_second": round(2 * size / copying / 1e6),
        "threads": threads,
    }


def rates(size: Size, case: str, facts: Mapping[str, Any], limit_of: Mapping[str, Any]) -> dict[str, Any]:
    """Return work and bytes a second of both sides, and which limit of the machine is the nearer one to ours."""
    found: dict[str, Any] = {}
    for side, each in (("ours", OUR_BYTES.get(case, 2)), ("flower", THEIR_BYTES.get(case, 4))):
        if side in facts:
            seconds = facts[side]["seconds"]
            found[side] = {
                "parameters_x_updates_per_second": round(size.work / seconds),
                "update_mb_per_second": round(each * size.work / seconds / 1e6),
            }
    if "ours" in facts:
        bytes_ = OUR_BYTES.get(case, 2) * size.work + 4 * size.parameters  # updates and base, each block once
        hashing = bytes_ / 1e6 / limit_of["hash"]["mb_per_second"]
        reading = bytes_ / 1e6 / limit_of["memory"]["read_mb_per_second"]
        found["seconds_at_hash_limit"], found["seconds_at_memory_limit"] = round(hashing, 4), round(reading, 4)
        found["binds"] = "hash" if hashing > reading else "memory"
        found["share_of_hash_limit"] = round(hashing / facts["ours"]["seconds"], 3)
    return found


def limits(document: Mapping[str, Any], sizes: Mapping[str, Size]) -> dict[str, Any]:
    """Return every limit with what was measured against it."""
    found: dict[str, Any] = {}
    for case, by_size in document["ratio"].items():
        for name, ratio in by_size.items():
            found[f"ratio.{case}.{name}"] = lower_limit(LOWER_FLOORS.get((case, name), FLOORS[case]), ratio)
    for case, by_size in document["peak_mb"].items():
        for name, sides in by_size.items():
            if "ours" in sides:
                most = 2 * model_mb(sizes[name], case) + ROOM_MB
                found[f"peak_mb.{case}.{name}"] = upper_limit(most, math.ceil(sides["ours"]))
    return found


def model_mb(size: Size, case: str) -> int:
    """Return the MB of the merged model: float32 weights, and after a consolidation uint32 importance."""
    return (8 if case == "ewc" else 4) * size.parameters // 1_000_000


def _in_threads(work: Callable[[int], object], threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))


def _best(work: Callable[[], object], turns: int = 5) -> float:
    """Return the seconds of the fastest of some turns: a limit is what the machine can do."""
    found = []
    for _ in range(turns):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


if __name__ == "__main__":
    print(json.dumps({"hash": hash_limit(), "memory": memory_limit()}))
