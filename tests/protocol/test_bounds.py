"""Terms whose merge could leave its bounds are refused by name; what tasks say of updates is in test_task.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.bounds import MAX_SELECTED_FROM, check_bounds
from protocol.errors import ArithmeticRefused
from protocol.merge_terms import BYZANTINE, MergeRule
from protocol.task import Task


@pytest.mark.parametrize("rule", sorted(BYZANTINE))
def test_selection_is_from_a_bounded_number_of_updates(rule: str) -> None:
    task = Task("selects", merge=MergeRule(rule, examples_cap=10))  # type: ignore[arg-type]
    check_bounds(task, MAX_SELECTED_FROM)

    with pytest.raises(ArithmeticRefused, match="distances"):
        check_bounds(task, MAX_SELECTED_FROM + 1)

    check_bounds(replace(task, merge=MergeRule("median", examples_cap=10)), MAX_SELECTED_FROM + 1)
