"""Merge rules by name, and what a report calls them."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from processor.fedavg import FedAvg
from processor.rules import RULES, rule_name, rule_of
from protocol.errors import WrongField
from protocol.merge_terms import RuleName
from protocol.report import decode_derived, encode_derived
from protocol.task import MergeRule, ServerStep
from tests.processor.factory import TinyRound, tiny_task


def test_unknown_rules_are_refused() -> None:
    unknown: Any = "krum-2"
    task = tiny_task(merge=MergeRule(rule=unknown))

    with pytest.raises(WrongField, match="krum-2"):
        rule_of(task)
    with pytest.raises(WrongField, match="fedavg"):
        TinyRound(task=task).post_all(["alice"]).derive()


def test_fedavg_is_the_default() -> None:
    assert rule_of(tiny_task()) == FedAvg()


def test_every_rule_that_a_task_may_name_is_there() -> None:
    assert RULES.keys() == set(get_args(RuleName))


@pytest.mark.parametrize(
    ("merge", "server", "name"),
    [
        (MergeRule(), ServerStep(), "fedavg"),
        (MergeRule(rule="median", bound="median"), ServerStep(), "norm-bound-median"),
        (MergeRule(rule="krum", byzantine=1), ServerStep(step="momentum"), "krum-momentum"),
        (MergeRule(rule="trimmed-mean", bound="fixed"), ServerStep(step="yogi"), "norm-bound-trimmed-mean-yogi"),
    ],
)
def test_a_report_names_bounding_rule_and_step(merge: MergeRule, server: ServerStep, name: str) -> None:
    assert rule_name(tiny_task(merge=merge, server=server)) == name


def test_the_report_of_a_round_holds_that_name() -> None:
    derived = TinyRound().post_all(["alice"]).derive().derived

    assert decode_derived(encode_derived(derived)).rule == derived.rule == "fedavg"
