"""The merge rules a task may name; a new rule is one more entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from processor.bulyan import Bulyan
from processor.fedavg import FedAvg
from processor.fisher_weighted import FisherWeighted
from processor.krum import Krum, MultiKrum
from processor.median import CoordinateMedian
from processor.rule import Rule
from processor.trimmed_mean import TrimmedMean
from protocol.errors import WrongField
from protocol.merge_terms import MergeRule
from protocol.task import Task

RULES: Mapping[str, Callable[[MergeRule], Rule]] = {
    "fedavg": lambda terms: FedAvg(),
    "fisher-weighted": FisherWeighted,
    "fedcurv": lambda terms: FedAvg(),  # what it adds comes with the merged model (processor.fedcurv)
    "median": lambda terms: CoordinateMedian(),
    "trimmed-mean": lambda terms: TrimmedMean(terms.trim),
    "krum": lambda terms: Krum(terms.byzantine),
    "multi-krum": lambda terms: MultiKrum(terms.byzantine, terms.keep),
    "bulyan": lambda terms: Bulyan(terms.byzantine),
    "distilled": lambda terms: FedAvg(),  # the mean that distillation starts from (processor.stated)
}


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
    return RULES[name](task.merge)


def rule_name(task: Task) -> str:
    """Return what a report calls the task's way of merging: bounding, rule and server step, those that there are."""
    bound = {"none": [], "median": ["norm-bound"], "fixed": ["norm-bound"]}[task.merge.bound]
    step = [] if task.server.step == "plain" else [task.server.step]
    return "-".join([*bound, task.merge.rule, *step])
