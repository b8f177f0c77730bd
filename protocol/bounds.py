"""Whether a task and a round's terms can be merged within the bounds that every merge rests on."""

from __future__ import annotations

from protocol.errors import ArithmeticRefused
from protocol.fisher_terms import fisher_shift
from protocol.merge_terms import BYZANTINE
from protocol.report import MAX_REPORTED
from protocol.task import Task

MAX_SELECTED_FROM = 1024  # updates: their distances to each other, exact, take some 250 MB and a minute


def check_bounds(task: Task, max_updates: int) -> None:
    """Refuse terms under which a merge could leave int64.

    Proof: a delta counts as q * 2^(e - E), below 2^22 in every window (protocol.update.WINDOW), and an update weighs
    at most n, ``examples_cap`` (of which the mean of statistics is made) or what standing makes of it. So
    |sum of n_k * q_k * 2^(e_k - E)| < max_updates * n * 2^22 < 2^63, and so is every partial sum in every order; the
    denominator, at most max_updates * n, is below 2^41. Weights by importance have a proof of their own
    (protocol.fisher_terms).

    Raises:
        ArithmeticRefused: max_updates * n * 2^22 is 2^63 or more, max_updates is over 100,000, or it is less than the
            merge rule needs, or more than the distances of a selecting rule allow; importance could not be counted finely
            enough.
    """
    if max_updates < task.least_updates():
        raise ArithmeticRefused(
            f"A round of at most {max_updates} updates could never be merged by {task.merge.rule}.",
            f"This task needs {task.least_updates()} accepted updates.",
            "Raise max_updates in the round's terms.",
        )
    largest = max(task.merge.examples_cap, task.largest_weight())
    if max_updates * largest >= 1 << 41:
        raise ArithmeticRefused(
            f"{max_updates} updates of up to {task.merge.examples_cap} examples could overflow the merge.",
            f"max_updates * {largest} * 2^22 must stay below 2^63.",
            "Lower max_updates in the round's terms, or examples_cap in the task.",
        )
    if max_updates > MAX_REPORTED:
        raise ArithmeticRefused(
            f"A report on {max_updates} updates could be too large to be read.",
            f"A round takes at most {MAX_REPORTED} updates.",
            "Lower max_updates in the round's terms.",
        )
    if task.merge.rule in BYZANTINE and max_updates > MAX_SELECTED_FROM:
        raise ArithmeticRefused(
            f"{task.merge.rule} among {max_updates} updates would need {max_updates**2} distances.",
            f"It selects from at most {MAX_SELECTED_FROM} updates.",
            "Lower max_updates in the round's terms, or choose another rule.",
        )
    if task.merge.rule == "fisher-weighted":
        fisher_shift(task.merge, max_updates * task.largest_weight())
