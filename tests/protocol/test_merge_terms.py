"""How a task says that updates become one: every setting that is refused, by its field, and what the others mean."""

from __future__ import annotations

from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.bounds import check_bounds
from protocol.errors import ArithmeticRefused, InvalidInput, WrongField
from protocol.fields import Field
from protocol.fisher_terms import FEWEST_UNITS, LARGEST_TOTAL, fisher_shift, fisher_units
from protocol.merge_terms import (
    BYZANTINE,
    MAX_COMMITTEE_ROUNDS,
    MAX_EXAMPLES_CAP,
    MAX_STANDING_WINDOW,
    MAX_UPDATES,
    Committee,
    MergeRule,
    RuleName,
    ServerStep,
    Standing,
    read_committee,
    read_merge,
    read_server,
    read_standing,
)
from protocol.task import Task, decode_task, encode_task, load_task_toml


def spelled(record: object) -> Any:
    """The JSON of one section of a task."""
    return {
        name: str(value) if isinstance(value, Fraction) else value
        for name, value in asdict(record).items()  # type: ignore[call-overload]
    }


DEFAULTS = {"merge": MergeRule(), "server": ServerStep(), "committee": Committee(), "standing": Standing()}
READERS: Any = {"merge": read_merge, "server": read_server, "committee": read_committee, "standing": read_standing}


@pytest.mark.parametrize(
    ("section", "changes", "named"),
    [
        ("merge", {"rule": "mean"}, r"rule is 'mean'.*fedavg.*bulyan.*distilled"),
        ("merge", {"rule": None}, "rule"),
        ("merge", {"weighting": "loss"}, "weighting"),
        ("merge", {"examples_cap": 0}, "examples_cap"),
        ("merge", {"examples_cap": MAX_EXAMPLES_CAP + 1}, "examples_cap"),
        ("merge", {"trim": -1}, "trim"),
        ("merge", {"rule": "trimmed-mean", "trim": MAX_UPDATES + 1}, "trim"),
        ("merge", {"rule": "trimmed-mean", "trim": 1.5}, "trim"),
        ("merge", {"trim": 1}, "trim is 1.*fedavg, which trims nothing"),
        ("merge", {"rule": "median", "trim": 1}, "trim is 1.*median, which trims nothing"),
        ("merge", {"byzantine": -1}, "byzantine"),
        ("merge", {"rule": "krum", "byzantine": MAX_UPDATES + 1}, "byzantine"),
        ("merge", {"byzantine": 1}, "byzantine is 1.*fedavg, which assumes no number"),
        ("merge", {"rule": "trimmed-mean", "byzantine": 1}, "byzantine is 1.*trimmed-mean"),
        ("merge", {"keep": -1}, "keep"),
        ("merge", {"rule": "multi-krum", "keep": MAX_UPDATES + 1}, "keep"),
        ("merge", {"rule": "krum", "keep": 2}, "keep is 2.*krum, which does not choose"),
        ("merge", {"rule": "bulyan", "keep": 2}, "keep is 2.*bulyan"),
        ("merge", {"fisher_floor": "0"}, "fisher_floor is '0'.*more than 0"),
        ("merge", {"fisher_floor": "-1"}, "fisher_floor"),
        ("merge", {"fisher_floor": "1000001"}, "fisher_floor"),
        ("merge", {"fisher_cap": "-1"}, "fisher_cap"),
        ("merge", {"fisher_cap": "1000001"}, "fisher_cap"),
        ("merge", {"bound": "mean"}, "bound is 'mean'.*none, median, fixed"),
        ("merge", {"bound": "fixed"}, "bound_norm is '0'.*\"fixed\""),
        ("merge", {"bound_norm": "1"}, "bound_norm is '1'.*0 elsewhere"),
        ("merge", {"bound": "median", "bound_norm": "1"}, "bound_norm is '1'.*0 elsewhere"),
        ("merge", {"bound": "fixed", "bound_norm": "-1"}, "bound_norm"),
        ("merge", {"bound": "fixed", "bound_norm": "1000001"}, "bound_norm"),
        ("merge", {"bound": "fixed", "bound_norm": 1}, "bound_norm"),
        ("merge", {"rule": "fedcurv", "bound": "median"}, "bound is 'median'.*none for fedcurv"),
        ("merge", {"more": 1}, "more is unknown"),
        ("server", {"step": "sgd"}, "step is 'sgd'.*plain, momentum, adam, yogi"),
        ("server", {"rate": "0"}, "rate is '0'.*more than 0"),
        ("server", {"rate": "-1"}, "rate"),
        ("server", {"rate": "1000001"}, "rate"),
        ("server", {"rate": 0.5}, "rate"),
        ("server", {"beta1": "1"}, "beta1 is '1'.*less than 1"),
        ("server", {"beta1": "-1/2"}, "beta1"),
        ("server", {"beta1": "3/2"}, "beta1"),
        ("server", {"beta1": f"1/{1 << 31}"}, r"beta1 is .*below 2\^31"),
        ("server", {"beta2": "1"}, "beta2 is '1'.*less than 1"),
        ("server", {"beta2": f"{(1 << 31) - 1}/{1 << 31}"}, r"beta2 is .*below 2\^31"),
        ("server", {"tau": "0"}, "tau is '0'.*more than 0"),
        ("server", {"tau": "-1"}, "tau"),
        ("server", {"tau": "1000001"}, "tau"),
        ("committee", {"vote": "loud"}, "vote is 'loud'.*none, soft, majority"),
        ("committee", {"rounds": 0}, "rounds is 0"),
        ("committee", {"rounds": MAX_COMMITTEE_ROUNDS + 1}, "rounds is 65"),
        ("standing", {"use": "pay"}, "use is 'pay'.*record, weight, admit"),
        ("standing", {"decay": "-1/10"}, "decay"),
        ("standing", {"decay": "11/10"}, "decay"),
        ("standing", {"window": 0}, "window is 0"),
        ("standing", {"window": MAX_STANDING_WINDOW + 1}, "window is 1025"),
        ("standing", {"least": 1}, "least is 1"),
        ("standing", {"least": -1_000_001}, "least"),
    ],
)
def test_every_refusal_names_the_field(section: str, changes: dict[str, object], named: str) -> None:
    written = {**spelled(DEFAULTS[section]), **changes}
    with pytest.raises(WrongField, match=named):
        READERS[section](Field(written, f"task.json: {section}"))


@pytest.mark.parametrize("section", DEFAULTS)
def test_every_field_is_needed_and_read(section: str) -> None:
    written = spelled(DEFAULTS[section])
    assert READERS[section](Field(written, section)) == DEFAULTS[section]
    for name in written:
        with pytest.raises(WrongField, match=f"{name} is missing"):
            READERS[section](Field({key: value for key, value in written.items() if key != name}, section))


# --- what only the whole task can tell ---

NAME = "name = 'a'\n"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("min_updates = 3\ndelta_type = 'int32'\n[merge]\nrule = 'krum'", r"delta_type is 'int32'.*int8 or int16"),
        ("[merge]\nrule = 'distilled'", r"committee is .*distilled"),
    ],
)
def test_a_task_that_its_rule_could_never_merge_is_refused_where_it_is_written(
    text: str, named: str, tmp_path: Path
) -> None:
    file = tmp_path / "task.toml"
    file.write_text(NAME + text, encoding="utf-8")
    with pytest.raises(InvalidInput, match=named):
        load_task_toml(file)


@pytest.mark.parametrize(
    ("merge", "least"),
    [
        (MergeRule(), 1),
        (MergeRule(rule="median"), 1),
        (MergeRule(rule="trimmed-mean", trim=3), 7),
        (MergeRule(rule="krum"), 3),
        (MergeRule(rule="krum", byzantine=3), 9),
        (MergeRule(rule="multi-krum", byzantine=3, keep=4), 9),
        (MergeRule(rule="multi-krum", byzantine=3, keep=20), 23),
        (MergeRule(rule="bulyan", byzantine=3), 15),
    ],
)
def test_least_updates_are_enough_for_the_rule_and_for_the_terms(merge: MergeRule, least: int) -> None:
    task = Task("a", merge=merge, min_updates=least)
    assert merge.least_updates() == task.least_updates() == least
    assert decode_task(encode_task(task)) == task
    check_bounds(task, least)
    with pytest.raises(ArithmeticRefused, match=merge.rule):
        check_bounds(task, least - 1)


def test_what_a_rule_needs_may_be_more_than_the_task_waits_for() -> None:
    """Refused updates count as hostile ones, so that fewer may still be merged; a round must have room for all."""
    task = Task("a", merge=MergeRule(rule="krum", byzantine=2), min_updates=2)
    assert decode_task(encode_task(task)) == task
    assert [task.after_losses(lost).least_updates() for lost in range(4)] == [7, 5, 3, 3]
    with pytest.raises(ArithmeticRefused, match="krum"):
        check_bounds(task, 6)


def test_what_a_task_waits_for_may_be_more_than_the_rule_needs() -> None:
    task = Task("a", min_updates=5)
    assert task.least_updates() == 5
    with pytest.raises(ArithmeticRefused, match="5 accepted"):
        check_bounds(task, 4)


@given(st.sampled_from(sorted(BYZANTINE)), st.integers(0, 50), st.integers(0, 60))
def test_losses_are_counted_as_the_hostile_that_they_are(rule: RuleName, byzantine: int, lost: int) -> None:
    merge = MergeRule(rule=rule, byzantine=byzantine)
    left = merge.after_losses(lost)

    assert left.byzantine == max(0, byzantine - lost)
    assert replace(left, byzantine=byzantine) == merge
    assert left.least_updates() >= merge.least_updates() - BYZANTINE[rule][0] * lost


@pytest.mark.parametrize("rule", get_args(RuleName))
@pytest.mark.parametrize("consolidate", [False, True])
def test_who_needs_importance(rule: RuleName, consolidate: bool) -> None:
    task = Task("a", merge=MergeRule(rule=rule))
    assert task.needs_importance(consolidate) == (consolidate or rule in ("fisher-weighted", "fedcurv"))


# --- bounds ---


@pytest.mark.parametrize(
    ("changes", "largest"),
    [
        ({"merge": MergeRule(examples_cap=1000)}, 1000),
        ({"merge": MergeRule(examples_cap=1000), "standing": Standing(use="admit")}, 1000),
        ({"merge": MergeRule(examples_cap=1000), "standing": Standing(use="weight")}, 16_000),
        ({"merge": MergeRule(examples_cap=1, weighting="uniform"), "standing": Standing(use="weight")}, 16),
        ({"merge": MergeRule(examples_cap=1000, weighting="uniform")}, 1000),  # of the statistics' mean
    ],
)
def test_no_weight_that_a_task_can_give_leaves_the_bound(changes: dict[str, Any], largest: int) -> None:
    task = Task("a", **changes)
    most = min(((1 << 41) - 1) // largest, 100_000)
    check_bounds(task, most)
    assert max(task.largest_weight(), task.merge.examples_cap) == largest
    with pytest.raises(ArithmeticRefused):
        check_bounds(task, most + 1)


def test_a_weight_by_standing_overflows_earlier() -> None:
    plain = Task("a", merge=MergeRule(examples_cap=1 << 25))
    check_bounds(plain, (1 << 16) - 1)
    with pytest.raises(ArithmeticRefused, match="overflow"):
        check_bounds(replace(plain, standing=Standing(use="weight")), 1 << 12)
    check_bounds(replace(plain, standing=Standing(use="weight")), (1 << 12) - 1)


fisher_terms = st.builds(
    lambda floor, cap: MergeRule(rule="fisher-weighted", fisher_floor=floor, fisher_cap=cap),
    st.fractions(Fraction(1, 10**6), 10**6, max_denominator=10**6),
    st.fractions(0, 10**6, max_denominator=10**6),
)


@given(fisher_terms, st.integers(1, LARGEST_TOTAL))
def test_importance_loses_as_few_bits_as_the_bound_needs_or_is_refused(terms: MergeRule, total: int) -> None:
    floor, cap = fisher_units(terms)
    needed = next(bits for bits in range(100) if total * ((floor + cap) >> bits) < 1 << 41)
    try:
        shift = fisher_shift(terms, total)
    except ArithmeticRefused as refusal:
        assert floor >> needed < FEWEST_UNITS
        assert "fisher_floor" in refusal.do
    else:
        assert shift == needed
        assert floor >> shift >= FEWEST_UNITS


def test_importance_that_could_not_be_counted_is_refused_before_launch() -> None:
    terms = MergeRule(rule="fisher-weighted", examples_cap=10_000, fisher_floor=Fraction(1, 1000))
    check_bounds(Task("a", merge=replace(terms, fisher_floor=Fraction(1))), 1000)
    with pytest.raises(ArithmeticRefused, match="importance"):
        check_bounds(Task("a", merge=terms), 1000)


@pytest.mark.parametrize("rule", get_args(RuleName))
def test_where_importance_is_measured(rule: RuleName) -> None:
    """At the base in rounds that consolidate, but for FedCurv, which never does; else at the weights that were reached."""
    expected = {"fisher-weighted": ("reached", "base"), "fedcurv": ("reached", "reached")}
    task = Task("t", merge=MergeRule(rule))
    assert (task.importance_at(False), task.importance_at(True)) == expected.get(rule, (None, "base"))
