"""Merging beside Flower, in one run: ``make bench-merge``.

    python -m benchmarks.merge                      # some minutes; writes benchmarks/results/merge.json
    python -m benchmarks.merge --cases fedavg,ewc --sizes 16x10M    # these alone, put into what is written already
    python -m benchmarks.merge --quick              # 16 updates of 200,000 parameters once; writes nothing

Ours runs in processes of .venv (benchmarks/merge_ours.py), Flower in one of .venv-bench (benchmarks/flower_peer.py), in
turns. The exit code is 1 where a limit is broken. What each key means is in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.krum_precision import krum_precision
from benchmarks.machine import machine_facts
from benchmarks.merge_inputs import Size
from benchmarks.merge_limits import limits, machine_limits, rates
from benchmarks.merge_sides import Flower, NoPeer, Ours
from benchmarks.processes import CommandFailed
from benchmarks.results import RESULTS, read_results, today, write_results

SIZES = (Size(16, 10_000_000), Size(64, 10_000_000), Size(16, 50_000_000))
QUICK = Size(16, 200_000)
TOO_LARGE = Size(64, 50_000_000)  # for Flower's memory; ours is the same as with 16
RULES = ("fedavg", "ewc", "median", "trimmed_mean", "multikrum")
BESIDE = ("objects", "safetensors", "four_bytes", "command")  # measured beside FedAvg
PEER_WORK = {"four_bytes": "fedavg", "command": None}  # what Flower does in such a turn; else the case's own
REPEATS = 3
SMALL_REPEATS = 5  # at the first size


def terms(case: str, size: Size) -> dict[str, Any]:
    """Return what our task says of its rule in ``case``."""
    byzantine = (size.updates - 3) // 4
    rules: dict[str, dict[str, Any]] = {
        "median": {"rule": "median"},
        "trimmed_mean": {"rule": "trimmed-mean", "trim": size.updates // 8},
        "multikrum": {"rule": "multi-krum", "byzantine": byzantine, "keep": size.updates - byzantine},
    }
    return rules.get(case, {})


def peer_options(case: str, size: Size) -> dict[str, Any]:
    """Return the same for Flower."""
    ours = terms(case, size)
    return {name: value for name, value in ours.items() if name != "rule"}


def measure_size(scratch: Path, size: Size, cases: list[str], repeats: int, flower: Flower | None) -> dict[str, Any]:
    """Measure every case of one size; what it wrote is removed."""
    found: dict[str, Any] = {}
    try:
        ours = Ours(scratch, size)
        if flower is not None:
            flower.prepare(size)
        for case in cases:
            if case in {"objects", "safetensors", "four_bytes"} and size not in {SIZES[0], QUICK}:
                continue  # twice the memory or disk, and one size shows it
            try:
                found[case] = measure_case(ours, flower, case, repeats)
            except CommandFailed as error:  # such as a process that the kernel ended for want of memory
                print(f"{size.name} {case}: {error}", file=sys.stderr, flush=True)
                if flower is not None:
                    flower.prepare(size)
            else:
                print(f"{size.name} {case}: {_told(found[case])}", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(scratch / size.name, ignore_errors=True)
    return found


def measure_case(ours: Ours, flower: Flower | None, case: str, repeats: int) -> dict[str, Any]:
    """Run both sides in turns, who goes first changing, and return what the turns took."""
    size = ours.size
    work = PEER_WORK.get(case, case)
    mine: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    for turn in range(repeats):
        for side in ("ours", "flower") if turn % 2 == 0 else ("flower", "ours"):
            if side == "ours" and case not in {"objects", "safetensors"}:
                mine.append(ours.run(case, terms(case, size)))
            if side == "flower" and flower is not None and work is not None:
                theirs.append(flower.run(work, peer_options(case, size)))
    return {"ours": mine, "flower": theirs}


def document_of(
    measured: dict[str, dict[str, Any]], sizes: dict[str, Size], limit_of: dict[str, Any]
) -> dict[str, Any]:
    """Return the figures that follow from all runs, by rule and size."""
    document: dict[str, Any] = {key: {} for key in ("ratio", "seconds", "peak_mb", "rates", "beside")}
    for name, cases in measured.items():
        size = sizes[name]
        for case, runs in cases.items():
            facts = {side: _medians(runs[side]) for side in ("ours", "flower") if runs[side]}
            where = document["seconds"] if case in RULES else document["beside"]
            where.setdefault(case, {})[name] = facts
            if case not in RULES:
                continue
            document["rates"].setdefault(case, {})[name] = rates(size, case, facts, limit_of)
            document["peak_mb"].setdefault(case, {})[name] = {side: fact["peak_mb"] for side, fact in facts.items()}
            if len(facts) == 2:
                ratio = round(facts["flower"]["seconds"] / facts["ours"]["seconds"], 2)
                document["ratio"].setdefault(case, {})[name] = ratio
    return document


def _medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the median of each figure of one side's runs, the greatest of its memory, and all seconds."""
    numbers = [name for name, value in runs[0].items() if isinstance(value, float)]
    facts: dict[str, Any] = {name: round(median(run[name] for run in runs), 4) for name in numbers}
    facts["each"] = [round(run["seconds"], 4) for run in runs]
    for name in ("private_bytes", "peak_bytes"):
        facts[{"private_bytes": "peak_mb", "peak_bytes": "resident_mb"}[name]] = round(
            max(run[name] for run in runs) / 1e6, 1
        )
    cids = {run["cid"] for run in runs if "cid" in run}
    if len(cids) > 1:
        raise AssertionError(f"one merge gave {cids}")
    return {**facts, **({"cid": cids.pop()} if cids else {})}


def _told(runs: dict[str, list[dict[str, Any]]]) -> str:
    sides = ((side, [run["seconds"] for run in each]) for side, each in runs.items() if each)
    return ", ".join(f"{side} {median(seconds):.3f} s" for side, seconds in sides)


def run(scratch: Path, sizes: list[Size], cases: list[str], repeats: int, before: dict[str, Any]) -> dict[str, Any]:
    """Measure ``cases`` at ``sizes`` and return the document of results, with what ``before`` has of others."""
    try:
        flower: Flower | None = Flower()
    except NoPeer as error:
        print(f"{error}; ours alone is measured", file=sys.stderr)
        flower = None
    measured: dict[str, dict[str, Any]] = before.get("runs", {})
    limit_of = machine_limits()
    try:
        for size in sizes:
            turns = SMALL_REPEATS if size == SIZES[0] else REPEATS
            new = measure_size(scratch, size, cases, repeats or turns, flower)
            measured[size.name] = {**measured.get(size.name, {}), **new}
        precision = krum_precision(scratch, flower)
        versions = flower.versions if flower else {}
        skipped = {TOO_LARGE.name: flower.would_not_fit(TOO_LARGE)} if flower else {}
    finally:
        if flower is not None:
            flower.close()
    known = {size.name: size for size in (*SIZES, QUICK)}
    document = {
        "what": "merging from content store to merged CID, beside Flower",
        "date": today(),
        "machine": machine_facts("numpy", "numba", "llvmlite"),
        "flower": versions,
        "limits_of_the_machine": limit_of,
        **document_of(measured, known, limit_of),
        "flower_skipped": skipped,
        "krum_precision": precision,
    }
    document["limits"] = {} if QUICK in sizes else limits(document, known)  # none is demanded of a quick look
    document["runs"] = measured
    return document


def main() -> int:
    """Measure, print, and write the results unless ``--quick``."""
    parser = argparse.ArgumentParser(description="Measure merging beside Flower.")
    parser.add_argument("--quick", action="store_true", help="one small size; write nothing")
    parser.add_argument("--cases", default=",".join((*RULES, *BESIDE)), help="which, with commas")
    parser.add_argument("--sizes", default=",".join(size.name for size in SIZES), help="which, with commas")
    parser.add_argument("--repeats", type=int, default=0, help=f"turns; {SMALL_REPEATS} or {REPEATS} by default")
    parser.add_argument("--dir", type=Path, default=None, help="a directory on a disk with 3 GB to spare")
    options = parser.parse_args()
    sizes = [QUICK] if options.quick else [size for size in SIZES if size.name in options.sizes.split(",")]
    cases = [case for case in (*RULES, *BESIDE) if case in options.cases.split(",")]
    before = {} if options.quick or not (RESULTS / "merge.json").exists() else read_results("merge")
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="rondo-bench-") as scratch:
        document = run(Path(scratch), sizes, cases, 1 if options.quick else options.repeats, before)
    print(json.dumps({name: value for name, value in document.items() if name != "runs"}, indent=1))
    if not options.quick:
        write_results("merge", document)
    return 0 if all(limit["holds"] for limit in document["limits"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
