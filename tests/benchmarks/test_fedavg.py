"""Rounds to 97 %: the committed figures hold their limits, and what makes them is right."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import fedavg
from benchmarks.convergence import TARGET, Setting, best_so_far, gaps, play, rounds_to
from benchmarks.fedavg import MOST_ROUNDS, PAPER, compare
from benchmarks.mnist import load_mnist
from benchmarks.results import RESULTS, read_results
from tests.benchmarks.mnist_files import write_mnist

SMALL = {"clients": 5, "examples": 60, "hidden": 16, "test_examples": 100}


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    return read_results("fedavg")


# --- what was committed ---


def test_the_limits_hold(results: dict[str, Any]) -> None:
    assert results["limits"] == fedavg.limits(results["rows"])
    assert set(results["limits"]) == {
        *("rounds_ratio.iid_0.1", "rounds_ratio.iid_1.0"),
        *("agreement.non_iid_0.1", "agreement.non_iid_1.0"),
    }
    for name, limit in results["limits"].items():
        assert limit["measured"] >= limit["limit"] == (0.85 if name.startswith("rounds_ratio") else 0.99), name
        assert limit["holds"]


@pytest.mark.parametrize("name", sorted(PAPER))
def test_a_row_follows_from_its_curves(results: dict[str, Any], name: str) -> None:
    row = results["rows"][name]
    assert row["paper_rounds"] == PAPER[name]
    for path, curve in row["curves"].items():
        reached = rounds_to(curve, TARGET)
        if reached is None:
            assert row["rounds"][path] is None
            assert len(curve) == MOST_ROUNDS[name]
        else:
            assert row["rounds"][path] == pytest.approx(reached, abs=0.6)  # curves are rounded to four digits
            assert len(curve) == np.ceil(row["rounds"][path])
    assert row["gaps"] == pytest.approx(gaps(*row["curves"].values()), abs=2e-4)
    if name.startswith("iid"):
        assert None not in row["rounds"].values()
        assert row["ratio"] == pytest.approx(min(row["rounds"].values()) / max(row["rounds"].values()), abs=1e-3)


def test_the_rate_is_the_best_of_the_sweep(results: dict[str, Any]) -> None:
    for split, sweep in results["sweep"].items():
        means = {rate: found["mean_best_so_far"] for rate, found in sweep["rates"].items()}
        rates = fedavg.RATES[split]
        assert sweep["chosen"] in rates
        if len(rates) > 1:
            assert tuple(means) == rates
            assert means[sweep["chosen"]] == max(means.values())
        assert all(row["rate"] == sweep["chosen"] for name, row in results["rows"].items() if name.startswith(split))


def test_conditions_machine_and_table_are_there(results: dict[str, Any]) -> None:
    assert results["seconds"] > 0
    assert results["machine"]["processor"]
    assert results["conditions"]["seed"] != results["conditions"]["sweep_seed"]
    assert (RESULTS / "fedavg.md").read_text() == fedavg.table(results)
    assert (RESULTS / "fedavg.svg").read_text().startswith("<?xml")


# --- what makes it ---


def test_rounds_lie_between_rounds() -> None:
    assert best_so_far([0.5, 0.4, 0.9]) == [0.5, 0.5, 0.9]
    assert rounds_to([0.5, 0.4, 0.9], 0.7) == 2.5  # the curve is monotone: 0.5, 0.5, 0.9
    assert rounds_to([0.98], 0.49) == 0.5
    assert rounds_to([0.5, 0.6], 0.6) == 2
    assert rounds_to([0.5, 0.6], 0.97) is None


def test_gaps_are_those_of_the_common_rounds() -> None:
    found = gaps([0.5, 0.4, 0.9], [0.4, 0.5])
    assert found == {"largest_raw": 0.1, "mean_raw": 0.1, "largest_best": 0.1, "mean_best": 0.05}


def test_paths_that_part_break_their_limits() -> None:
    def record(curve: list[float]) -> dict[str, Any]:
        return {"curve": curve, "seconds": 1.0, "setting": {"rate": "1/5"}}

    early, late = record([0.5, 0.98]), record([0.5, 0.6, 0.7, 0.98])
    broken = fedavg.limits({"iid_0.1": compare(early, late, 87), "non_iid_0.1": compare(early, late, 664)})
    assert not any(limit["holds"] for limit in broken.values())
    whole = fedavg.limits({"iid_0.1": compare(early, early, 87), "non_iid_0.1": compare(early, early, 664)})
    assert all(limit["holds"] for limit in whole.values())
    never = fedavg.limits({"iid_0.1": compare(record([0.5]), record([0.5]), 87)})
    assert not never["rounds_ratio.iid_0.1"]["holds"]


def test_both_paths_see_the_same_batches_and_stay_close(tmp_path: Path) -> None:
    mnist = load_mnist(write_mnist(tmp_path, 300, 100))
    for split in ("iid", "non_iid"):
        curves = [
            play(Setting(path, split, "0.4", "1/10", 4, until=2.0, **SMALL), mnist)["curve"]  # type: ignore[arg-type]
            for path in ("int16", "float32", "float32")
        ]
        assert curves[1] == curves[2]
        assert gaps(curves[0], curves[1])["largest_raw"] <= 0.02
        assert curves[0][-1] > 0.2


def test_a_run_ends_at_the_target(tmp_path: Path) -> None:
    mnist = load_mnist(write_mnist(tmp_path, 300, 100))
    curve = play(Setting("int16", "iid", "1", "1/10", 50, until=0.6, **SMALL), mnist)["curve"]  # type: ignore[arg-type]
    assert len(curve) < 50
    assert curve[-1] >= 0.6 > max(curve[:-1], default=0)


def test_without_data_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["fedavg", "--quick", "--data", str(tmp_path / "none")])
    assert fedavg.main() == 66
    assert "RONDO_DATA" in capsys.readouterr().err


@pytest.mark.slow
def test_a_quick_run_plays_every_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a quick run writes nothing")

    monkeypatch.setattr(fedavg, "write_results", never)
    monkeypatch.setattr(sys, "argv", ["fedavg", "--quick", "--data", str(write_mnist(tmp_path, 600, 200))])
    assert fedavg.main() == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document["rows"]) == set(PAPER)
    assert all(len(row["curves"]["int16"]) == 3 for row in document["rows"].values())
