"""The committed figures of stores have what benchmarks/README.md says, and the measuring itself is real."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from benchmarks import ipfs
from benchmarks.processes import CommandFailed, run_timed
from benchmarks.results import rate_spread, read_results
from tests.network.kubo import IPFS, NO_IPFS

WAYS = {"add_kubo_rpc", "add_embedded", "ipfs_add", "get_kubo_rpc", "get_embedded", "ipfs_get"}


def test_the_figures_are_of_400_mb_and_hold_their_limits() -> None:
    results = read_results("ipfs")
    assert results["conditions"]["bytes"] == 400_000_000
    assert results["conditions"]["repeats"] >= 5
    assert set(results["mb_per_second"]) == WAYS
    assert results["limits"]
    for name, limit in results["limits"].items():
        assert limit["measured"] == results[name] >= limit["limit"] == 0.8


def test_ratios_are_those_of_the_medians() -> None:
    results = read_results("ipfs")
    medians = {name: rate["median"] for name, rate in results["mb_per_second"].items()}
    for ratio, ours, theirs in (
        ("add_vs_ipfs_command", "add_kubo_rpc", "ipfs_add"),
        ("get_vs_ipfs_command", "get_kubo_rpc", "ipfs_get"),
    ):
        assert results[ratio] == pytest.approx(medians[ours] / medians[theirs], rel=0.01)
    assert 0 < results["peak_mb"] < 150  # of a file of 400 MB


def test_a_rate_is_amount_over_seconds() -> None:
    assert rate_spread([2.0, 4.0, 1.0], 400.0) == {"min": 100.0, "median": 200.0, "max": 400.0, "count": 3}


def test_time_and_memory_are_the_childs() -> None:
    code = "import time; held = bytearray(200_000_000); time.sleep(0.3); print('done')"
    run = run_timed([sys.executable, "-c", code], {})
    assert run.stdout == "done\n"
    assert run.seconds >= 0.3
    assert 200_000_000 < run.peak_bytes < 400_000_000
    held = bytearray(os.urandom(300_000_000))  # what we hold is not the child's
    assert run_timed([sys.executable, "-c", "pass"], {}).peak_bytes < 100_000_000 < len(held)


def test_a_failed_command_is_no_measurement() -> None:
    with pytest.raises(CommandFailed, match="no such luck"):
        run_timed([sys.executable, "-c", "raise SystemExit('no such luck')"], {})


@pytest.mark.slow
@pytest.mark.skipif(IPFS is None, reason=NO_IPFS)
def test_a_small_run_moves_real_bytes(tmp_path: Path) -> None:
    document = ipfs.run(tmp_path, 3_000_000, 1)
    assert set(document["mb_per_second"]) == WAYS
    assert all(
        document[name] > 0 for name in ("add_vs_ipfs_command", "get_vs_ipfs_command", "cid_vs_sha256", "peak_mb")
    )
