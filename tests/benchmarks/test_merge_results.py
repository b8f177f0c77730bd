"""The committed figures of merging have what benchmarks/README.md says, and the measuring itself is real."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import merge, merge_inputs, merge_limits, merge_sides
from benchmarks.merge_inputs import Size
from benchmarks.results import RESULTS, read_results

ROOT = Path(__file__).resolve().parents[2]
NAMES = [size.name for size in merge.SIZES]
needs_results = pytest.mark.skipif(not (RESULTS / "merge.json").exists(), reason="make bench-merge was never run")
needs_flower = pytest.mark.skipif(not merge_sides.PEER_PYTHON.exists(), reason="no .venv-bench: make .venv-bench/.done")
LIMITS = {"fedavg": (5, 5, 4), "ewc": (3, 3, 3), "median": (15,) * 3, "trimmed_mean": (15,) * 3, "multikrum": (8,) * 3}


# The committed figures


@needs_results
def test_every_rule_has_a_ratio_and_a_peak_at_every_size() -> None:
    results = read_results("merge")
    for rule, least in LIMITS.items():
        assert list(results["ratio"][rule]) == NAMES == list(results["peak_mb"][rule])
        for name, limit in zip(NAMES, least, strict=True):
            assert results["limits"][f"ratio.{rule}.{name}"]["limit"] == limit
    assert set(results["limits"]) == {
        f"{kind}.{rule}.{name}" for kind in ("ratio", "peak_mb") for rule in LIMITS for name in NAMES
    }


@needs_results
def test_limits_say_what_was_measured_and_whether_it_holds() -> None:
    results = read_results("merge")
    for key, limit in results["limits"].items():
        kind, rule, name = key.split(".")
        size = next(one for one in merge.SIZES if one.name == name)
        if kind == "ratio":
            assert limit["measured"] == results["ratio"][rule][name]
            assert limit["holds"] == (limit["measured"] >= limit["limit"])
        else:
            assert limit["limit"] == 2 * merge_limits.model_mb(size, rule) + 200
            assert (
                results["peak_mb"][rule][name]["ours"] <= limit["measured"] < results["peak_mb"][rule][name]["ours"] + 1
            )
            assert limit["holds"] == (limit["measured"] <= limit["limit"])


@needs_results
def test_ratios_are_of_work_a_second_by_the_medians_of_every_turn() -> None:
    results = read_results("merge")
    for rule in LIMITS:
        for size in merge.SIZES:
            sides = results["seconds"][rule][size.name]
            runs = results["runs"][size.name][rule]
            for side in ("ours", "flower"):
                each = [run["seconds"] for run in runs[side]]
                assert len(each) >= 3
                assert sides[side]["seconds"] == pytest.approx(float(np.median(each)), abs=1e-4)
                work = results["rates"][rule][size.name][side]["parameters_x_updates_per_second"]
                assert work == pytest.approx(size.work / sides[side]["seconds"], rel=0.01)
            expected = sides["flower"]["seconds"] / sides["ours"]["seconds"]
            assert results["ratio"][rule][size.name] == pytest.approx(expected, rel=0.01, abs=0.01)
            assert len({run["cid"] for run in runs["ours"]}) == 1


@needs_results
def test_what_is_beside_the_ratios_is_there() -> None:
    results = read_results("merge")
    assert results["krum_precision"]["ours_keeps_attackers"] == []
    assert results["krum_precision"]["flower_keeps_attackers"]
    assert results["flower"]["flwr"] and results["machine"]["cores"]
    assert results["limits_of_the_machine"]["hash"]["mb_per_second"] > 0
    assert {"objects", "safetensors", "four_bytes", "command"} <= set(results["beside"])
    assert not results["flower_skipped"]["64x50M"]["fits"]
    for rule in LIMITS:
        assert all(results["rates"][rule][name]["binds"] in {"hash", "memory"} for name in NAMES)


# Their arithmetic


def run_of(seconds: float, private: float, cid: str = "") -> dict[str, Any]:
    return {"seconds": seconds, "private_bytes": private, "peak_bytes": private, **({"cid": cid} if cid else {})}


def test_a_ratio_is_theirs_over_ours_and_a_broken_limit_is_said() -> None:
    size = Size(16, 10_000_000)
    cases = {
        "fedavg": {
            "ours": [run_of(each, 279.2e6, "bafy") for each in (0.3, 0.1, 0.2)],
            "flower": [run_of(each, 3e9) for each in (0.9, 1.0, 8.0)],
        },
        "median": {"ours": [run_of(1.0, 280.1e6, "bafy")], "flower": [run_of(14.0, 3e9)]},
    }
    machine = {"hash": {"mb_per_second": 3600}, "memory": {"read_mb_per_second": 36_000}}
    document = merge.document_of({size.name: cases}, {size.name: size}, machine)
    assert document["ratio"] == {"fedavg": {"16x10M": 5.0}, "median": {"16x10M": 14.0}}
    limits = merge_limits.limits(document, {size.name: size})
    assert limits["ratio.fedavg.16x10M"] == {"limit": 5.0, "measured": 5.0, "holds": True}
    assert limits["ratio.median.16x10M"] == {"limit": 15.0, "measured": 14.0, "holds": False}
    assert limits["peak_mb.fedavg.16x10M"] == {"limit": 280, "measured": 280, "holds": True}
    assert limits["peak_mb.median.16x10M"] == {"limit": 280, "measured": 281, "holds": False}
    rates = document["rates"]["fedavg"]["16x10M"]
    assert rates["ours"]["parameters_x_updates_per_second"] == 800_000_000
    assert rates["seconds_at_hash_limit"] == 0.1 and rates["binds"] == "hash" and rates["share_of_hash_limit"] == 0.5


def test_one_merge_with_two_cids_is_no_measurement() -> None:
    cases = {"fedavg": {"ours": [run_of(1.0, 1.0, "bafy1"), run_of(1.0, 1.0, "bafy2")], "flower": []}}
    with pytest.raises(AssertionError, match="one merge gave"):
        merge.document_of({"16x200k": cases}, {"16x200k": merge.QUICK}, {})


# The measuring


def test_inputs_are_a_function_of_their_seeds_and_like_honest_ones() -> None:
    first, again, other = (merge_inputs.change(20_000, client) for client in (1, 1, 2))
    flat, twin, others = (np.concatenate([array.ravel() for array in one.values()]) for one in (first, again, other))
    assert flat.dtype == np.int16 and flat.size == 20_000 and (flat == twin).all()
    assert 0 < np.corrcoef(flat, others)[0, 1] < 0.9
    assert {array.dtype.name for array in merge_inputs.importance(20_000, 1).values()} == {"uint8"}
    with pytest.raises(ValueError, match="multiple"):
        merge_inputs.shapes(12_345)


def test_private_memory_is_the_childs_own() -> None:
    code = "held = bytearray(b'x') * 150_000_000; print(flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin and process.stdout
    process.stdout.readline()
    assert 150_000_000 < merge_sides.private_bytes(process.pid) < 250_000_000
    process.communicate(b"\n")
    assert merge_sides.private_bytes(process.pid) == 0


@pytest.mark.slow
def test_our_side_merges_what_it_was_given(tmp_path: Path) -> None:
    ours = merge_sides.Ours(tmp_path, Size(3, 20_000))
    plain, median = ours.run("fedavg", {}), ours.run("median", {"rule": "median"})
    assert plain["cid"] != median["cid"]
    assert plain["cid"] == ours.run("command", {})["cid"]
    assert all(run["seconds"] > 0 and run["private_bytes"] > 10_000_000 for run in (plain, median))


@pytest.mark.slow
@needs_flower
def test_a_quick_run_measures_both_sides_and_writes_nothing(tmp_path: Path) -> None:
    before = (RESULTS / "merge.json").read_bytes() if (RESULTS / "merge.json").exists() else None
    command = [sys.executable, "-m", "benchmarks.merge", "--quick", "--dir", str(tmp_path), "--cases", "fedavg,median"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert set(document["ratio"]) == {"fedavg", "median"} and document["ratio"]["fedavg"]["16x200k"] > 0
    assert document["krum_precision"]["ours_keeps_attackers"] == []
    assert document["krum_precision"]["flower_keeps_attackers"]
    assert not list(tmp_path.iterdir())
    assert ((RESULTS / "merge.json").read_bytes() if before else None) == before
