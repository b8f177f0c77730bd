"""The merge rules a task may name; a new rule is one more entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from processor import fedavg
from processor.merge import Merged
from processor.updates import Accepted, Load
from protocol.errors import WrongField
from protocol.model import Model
from protocol.task import Task

# A rule is a function of the *set* of accepted updates: the same for every order of the sequence, and it may load each
# update as often as it needs. It gets at least ``task.min_updates`` of them.
Rule = Callable[[Task, Model, Sequence[Accepted], Load], Merged]

RULES: Mapping[str, Rule] = {"fedavg": fedavg.merge}


def rule_of(task: Task) -> Rule:
    """Return the rule that ``task`` names.

    Raises:
        WrongField: This version knows no such rule.
    """
    name = task.merge.rule
    if name not in RULES:
        raise WrongField(
            f"The task's merge rule {name!r} is unknown.", f"Known: {', '.join(sorted(RULES))}.", "Update Rondo."
        )
    return RULES[name]
