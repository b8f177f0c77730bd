"""What is forgotten: the committed figures hold their limits, and what makes them is right."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from benchmarks import forgetting
from benchmarks.forgetting import MILD, OURS, SEEDS, SEEDS_OF, SWEEP_SEED, SWEEPS, VARIANTS
from benchmarks.methods import METHODS
from benchmarks.mnist import load_mnist
from benchmarks.results import RESULTS, read_results
from benchmarks.runs import Runs
from benchmarks.sequences import Setting, mean_after, play, stages_of
from tests.benchmarks.mnist_files import write_mnist

SMALL = Setting(
    "rondo", 5, tasks=2, rounds=2, clients=3, examples=60, hidden=16, batch=10, test_examples=100, rate="1/5"
)


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    return read_results("forgetting")


# --- what was committed ---


def test_the_limits_hold(results: dict[str, Any]) -> None:
    assert results["limits"] == forgetting.limits(results["permuted_mnist"])
    assert {name: limit["limit"] for name, limit in results["limits"].items()} == {
        "three_tasks": 0.92,
        "five_tasks": 0.90,
    }
    assert all(limit["measured"] >= limit["limit"] and limit["holds"] for limit in results["limits"].values())


@pytest.mark.parametrize("method", sorted(METHODS))
def test_means_are_those_of_the_seeds(results: dict[str, Any], method: str) -> None:
    found = results["permuted_mnist"][method]
    assert set(found["seeds"]) == {str(seed) for seed in SEEDS_OF.get(method, SEEDS)}
    for name, tasks in (("three", 3), ("five", 5)):
        means = [fmean(record["after"][tasks - 1]) for record in found["seeds"].values()]
        assert found[name]["mean"] == pytest.approx(fmean(means), abs=2e-4)
        assert found[name]["min"] == pytest.approx(min(means), abs=2e-4)
        assert found[name]["max"] == pytest.approx(max(means), abs=2e-4)
    for record in found["seeds"].values():
        assert [len(accuracies) for accuracies in record["after"]] == [1, 2, 3, 4, 5]
        assert record["curve"][-1] == [125, record["after"][-1]]


def test_each_method_has_the_best_of_its_own_sweep(results: dict[str, Any]) -> None:
    assert SWEEP_SEED not in SEEDS
    assert OURS not in SEEDS_OF
    assert set(results["sweep"]) == set(SWEEPS) == set(METHODS)
    for method, swept in results["sweep"].items():
        field, values = SWEEPS[method]
        assert (swept["field"], swept["chosen"] in values) == (field, True)
        if len(values) > 1:
            assert tuple(swept["mean"]) == values
            assert swept["mean"][swept["chosen"]] == max(swept["mean"].values())


def test_ours_forgets_least_on_permuted_digits(results: dict[str, Any]) -> None:
    means = {method: found["five"]["mean"] for method, found in results["permuted_mnist"].items()}
    assert means[OURS] - means["fedavg"] > 0.1
    assert means[OURS] >= max(means.values()) - 0.01


def test_everything_else_is_there(results: dict[str, Any]) -> None:
    assert [variant["changes"] for variant in results["variants"]] == [{}, *VARIANTS]
    assert set(results["mild"]) == set(MILD)
    assert set(results["split_digits"]) == {"masked_logits", "single_head"}
    masked, single = (results["split_digits"][name][OURS]["mean"] for name in ("masked_logits", "single_head"))
    assert masked > 0.95 > single  # the known limit
    assert results["seconds"] > 0
    assert results["machine"]["processor"]
    assert (RESULTS / "forgetting.md").read_text() == forgetting.table(results)
    assert (RESULTS / "forgetting.svg").read_text().startswith("<?xml")


# --- what makes it ---


def test_a_broken_limit_is_said() -> None:
    results = {OURS: {"three": {"mean": 0.919}, "five": {"mean": 0.9}}}
    assert [limit["holds"] for limit in forgetting.limits(results).values()] == [False, True]


def test_tasks_share_no_example_and_all_methods_see_the_same(tmp_path: Path) -> None:
    mnist = load_mnist(write_mnist(tmp_path, 400, 100))
    one, other = stages_of(SMALL, mnist), stages_of(replace(SMALL, method="fedavg", strength="1"), mnist)
    assert [share.x.tobytes() for stage in one for share in stage.shares] == [
        share.x.tobytes() for stage in other for share in stage.shares
    ]
    rows = [sorted(map(bytes, share.x)) for share in one[0].shares]
    pixels = [sorted(example.tolist()) for stage in one for share in stage.shares for example in share.x]
    assert len(rows) == 3
    assert len({tuple(each) for each in pixels}) == 2 * 3 * 60  # a permutation keeps an example's pixels as a multiset
    assert sorted(one[1].test.x[0].tolist()) == sorted(one[0].test.x[0].tolist())
    assert one[1].test.x[0].tolist() != one[0].test.x[0].tolist()


def test_a_sequence_is_measured_after_each_task(tmp_path: Path) -> None:
    mnist = load_mnist(write_mnist(tmp_path, 400, 100))
    record = play(SMALL, mnist)
    assert [len(accuracies) for accuracies in record["after"]] == [1, 2]
    assert [point[0] for point in record["curve"]] == [2, 4]
    assert record == play(SMALL, mnist)
    assert mean_after(record, 2) == pytest.approx(fmean(record["after"][1]), abs=1e-4)
    assert play(replace(SMALL, strength="10"), mnist)["after"][1] != record["after"][1]


def test_the_best_of_a_sweep_is_chosen(tmp_path: Path) -> None:
    runs, setting = Runs(tmp_path), replace(SMALL, data="split_digits", examples=0)
    swept = forgetting.best_of(runs, None, setting, "strength", ("0", "1000"))
    assert set(swept["mean"]) == {"0", "1000"}
    assert swept["mean"][swept["chosen"]] == max(swept["mean"].values())
    assert swept["mean"]["0"] != swept["mean"]["1000"]
    assert forgetting.best_of(runs, None, setting, "strength", ("7",)) == {
        "field": "strength",
        "mean": {},
        "chosen": "7",
    }


def test_without_data_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["forgetting", "--data", str(tmp_path / "none")])
    assert forgetting.main() == 66
    assert "RONDO_DATA" in capsys.readouterr().err


def test_a_quick_run_plays_every_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a quick run writes nothing")

    monkeypatch.setattr(forgetting, "write_results", never)
    monkeypatch.setattr(sys, "argv", ["forgetting", "--quick", "--data", str(write_mnist(tmp_path, 1300, 500))])
    assert forgetting.main() == 0
    assert set(json.loads(capsys.readouterr().out)) == set(METHODS)
