"""Merge rules by name."""

from __future__ import annotations

import pytest

from processor import fedavg
from processor.rules import rule_of
from protocol.errors import WrongField
from protocol.task import MergeRule
from tests.processor.factory import TinyRound, tiny_task


def test_unknown_rules_are_refused() -> None:
    task = tiny_task(merge=MergeRule(rule="krum-2"))

    with pytest.raises(WrongField, match="krum-2"):
        rule_of(task)
    with pytest.raises(WrongField, match="fedavg"):
        TinyRound(task=task).derive()


def test_fedavg_is_the_default() -> None:
    assert rule_of(tiny_task()) is fedavg.merge
