"""The committed table of attacks: complete, consistent with itself, and within its limits; and the run that makes it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.attackers import ATTACKS
from benchmarks.attacks import ATTACKERS, NOBODY, ROUNDS, RULES, SEEDS, limits, table
from benchmarks.results import RESULTS, read_results
from protocol.merge_terms import RuleName

ROOT = Path(__file__).parents[2]


def test_every_rule_was_played_under_every_attack() -> None:
    accuracy = read_results("attacks")["accuracy"]

    assert set(RULES) < set(accuracy)
    for rule in accuracy.values():
        assert set(rule) == {NOBODY, *ATTACKS}
        for attack in ATTACKS:
            assert set(rule[attack]) == {str(count) for count in ATTACKERS}
            assert all(len(cell["seeds"]) == len(SEEDS) for cell in rule[attack].values())


def test_every_rule_that_a_task_can_name_is_there_but_the_stated_one() -> None:
    assert {terms.rule for terms in RULES.values()} == set(RuleName.__args__) - {"distilled"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("attack", ["nan", "exponents", "shapes", "duplicated"])
def test_what_cannot_be_an_update_was_never_merged(attack: str) -> None:
    for rule, played in read_results("attacks")["accuracy"].items():
        for count, cell in played[attack].items():
            assert cell["hostile_updates_merged"] == 0, rule
            assert sum(cell["hostile_updates_refused"].values()) == int(count) * ROUNDS * len(SEEDS)
            assert cell["rounds_without_merge"] == 0, f"{rule}: garbage kept a round from merging"


def test_the_limits_follow_from_the_figures_and_hold() -> None:
    document = read_results("attacks")

    assert document["limits"] == limits(document["accuracy"])
    assert all(limit["holds"] for limit in document["limits"].values())


def test_the_committed_table_is_of_the_committed_figures() -> None:
    assert (RESULTS / "attacks.md").read_text() == table(read_results("attacks"))


@pytest.mark.slow
def test_a_quick_run_plays_and_writes_nothing() -> None:
    before = {path: path.stat().st_mtime_ns for path in RESULTS.iterdir()}
    command = [sys.executable, "-W", "error", "-m", "benchmarks.attacks", "--quick"]

    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr
    assert set(json.loads(run.stdout)) == {"fedavg", "median"}
    assert before == {path: path.stat().st_mtime_ns for path in RESULTS.iterdir()}
