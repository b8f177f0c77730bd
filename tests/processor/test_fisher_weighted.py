"""Fisher-weighted merging in integers: refusals, equality with exact fractions, and that only the set of updates counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.blocks import Block, Member, Span, spans
from processor.engine import merge_updates, plan_merge
from processor.fisher_weighted import FisherMean, FisherWeighted
from processor.runs import Threads, serial
from processor.updates import Accepted
from protocol.bounds import check_bounds
from protocol.errors import ArithmeticRefused
from protocol.fisher_terms import fisher_shift, fisher_units
from protocol.fixed_point import UINT32_MAX
from protocol.specs import TensorClass, trainable_specs
from protocol.task import MergeRule, Task
from protocol.update import Update
from tests.processor import reference_importance
from tests.processor.factory import KERNEL, MEAN, TinyRound, account, member, tiny_model, tiny_task, tiny_terms


def fisher_task(**changes: Any) -> Task:
    """int16 deltas of at most 1000 examples, weighed by importance."""
    return tiny_task(merge=MergeRule("fisher-weighted", examples_cap=1000, **changes))


def ring(**changes: Any) -> TinyRound:
    return TinyRound(task=fisher_task(), **changes)


def heavy(terms: MergeRule, *weights: int) -> None:
    FisherWeighted(terms).plan([Accepted(account(str(n)), bytes(32), 1, 1, n) for n in weights], None)  # type: ignore[arg-type]


# --- refusals ---


def test_refuses_weights_with_which_nothing_of_the_floor_would_be_left() -> None:
    terms = MergeRule("fisher-weighted", fisher_floor=Fraction(1), fisher_cap=Fraction(100))
    most = next(n for n in range(1 << 30, 1 << 31, 1 << 20) if n * (101 * 16) >= 1 << 41)  # 2^41 / (101 x 16)
    heavy(terms, most - (1 << 20))
    with pytest.raises(ArithmeticRefused, match="floor"):
        heavy(terms, most // 2, most // 2 + 1)


def test_refuses_a_floor_below_16_units() -> None:
    heavy(MergeRule(fisher_floor=Fraction(1, 4096)), 1)
    with pytest.raises(ArithmeticRefused, match="floor"):
        heavy(MergeRule(fisher_floor=Fraction(1, 5000)), 1)


def test_terms_are_refused_before_launch_wherever_a_merge_could_be() -> None:
    # importance is below 2^16: with a floor of 16 units, 2^20 + 16 units an example, so at most 2,097,120 examples
    task = fisher_task(fisher_cap=Fraction(10**6))
    check_bounds(task, 2097)
    with pytest.raises(ArithmeticRefused, match="floor"):
        check_bounds(task, 2098)
    check_bounds(replace(task, merge=replace(task.merge, weighting="uniform")), 100_000)
    heard = replace(task, standing=replace(task.standing, use="weight"))
    check_bounds(heard, 131)  # each 16 times as much
    with pytest.raises(ArithmeticRefused, match="floor"):
        check_bounds(heard, 132)


@given(st.integers(1, 1 << 42), st.fractions(0, 10**6).filter(bool), st.fractions(0, 10**6))
def test_where_a_shift_is_found_no_sum_overflows(weight: int, floor: Fraction, cap: Fraction) -> None:
    terms = MergeRule(fisher_floor=floor, fisher_cap=cap)
    low, high = fisher_units(terms)
    try:
        shift = fisher_shift(terms, weight)
    except ArithmeticRefused:
        return
    assert weight * (low + high >> shift) < 1 << 41 and low >> shift >= 16
    assert shift == 0 or weight * (low + high >> shift - 1) >= 1 << 41  # no more is cut off than has to be
    assert fisher_shift(terms, max(1, weight // 2)) <= shift


# --- the merge ---


def merged(one: TinyRound, updates: Sequence[Update], weights: Sequence[int] | None = None) -> dict[str, list[int]]:
    members = [member(update, None if weights is None else weights[at]) for at, update in enumerate(updates)]
    found = merge_updates(one.task, one.base, members)
    return {spec.name: found.mantissas[spec.name].reshape(-1).tolist() for spec in trainable_specs(one.base.specs)}


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1 << 30), st.integers(1, 1000)), min_size=1, max_size=6),
    st.sampled_from(["int8", "int16", "int32"]),
    st.fractions(Fraction(1, 1000), 100),
    st.fractions(0, 10**4),
)
def test_is_the_mean_in_exact_fractions(
    people: list[tuple[int, int]], delta_type: Any, floor: Fraction, cap: Fraction
) -> None:
    terms = MergeRule("fisher-weighted", examples_cap=1000, fisher_floor=floor, fisher_cap=cap)
    one = TinyRound(task=tiny_task(delta_type=delta_type, merge=terms))
    updates = [one.update(f"client {at}", seed, examples) for at, (seed, examples) in enumerate(people)]
    weights = [examples for _, examples in people]
    assert merged(one, updates) == reference_importance.fisher_weighted(terms, one.base, updates, weights)


def test_bits_that_are_cut_off_are_cut_off_for_all() -> None:
    one, weights = ring(), [1 << 28, 3, 1 << 29]
    updates = [one.update(name) for name in ("alice", "bob", "carol")]
    expected = reference_importance.fisher_weighted(one.task.merge, one.base, updates, weights)
    assert fisher_shift(one.task.merge, sum(weights)) == 12
    assert merged(one, updates, weights) == expected


def test_the_largest_sums_stay_inside_int64() -> None:
    """Every factor, every change and every weight as large as they get."""
    terms = MergeRule("fisher-weighted")
    for total in ((1 << 30) - 1, 1 << 26, 1000):
        weights = (total // 2, total - total // 2)
        plan = FisherMean(weights, *fisher_units(terms), fisher_shift(terms, total))
        for row, shift in ((32767, 7), (-32767, 7)):
            rows = np.full((2, 3), row, np.int16)
            importance = np.full((2, 3), UINT32_MAX, np.uint32)
            span = Span("00000.w", TensorClass.TRAINABLE, -20, 0, 3)
            part = plan.merge(Block(span, rows, (shift, shift), importance))
            largest = sum(weights) * ((101 << 16) >> plan.shift)
            assert part.denominator.tolist() == [largest] * 3  # type: ignore[union-attr]
            assert part.numerators.tolist() == [largest * (row << shift)] * 3


def test_importance_decides_between_two_that_disagree() -> None:
    one = TinyRound(task=fisher_task(fisher_floor=Fraction(1, 100)))
    alice, bob = one.update("alice", examples=100), one.update("bob", examples=100)
    ones = {name: np.ones(tensor.shape, np.uint8) for name, tensor in (alice.importance or {}).items()}
    sharp = {name: tensor.copy() for name, tensor in ones.items()}
    sharp[KERNEL].reshape(-1)[0] = 255
    exponents = dict.fromkeys(ones, 0)
    alice = replace(alice, importance=sharp, importance_exponents=exponents)
    bob = replace(bob, importance=ones, importance_exponents=exponents)
    delta = {name: np.zeros_like(tensor) for name, tensor in alice.deltas.items()}
    up, down = ({**delta, KERNEL: np.full_like(delta[KERNEL], sign * 1000)} for sign in (1, -1))
    grids = {spec.name: spec.grid for spec in one.base.specs if spec.exponent is not None}
    found = merged(one, [replace(alice, deltas=up, exponents=grids), replace(bob, deltas=down, exponents=grids)])
    change = np.array(found[KERNEL]) - one.base.mantissas[KERNEL].reshape(-1)
    assert change[0] > 800  # it is alice's coordinate: 15 times the mean of hers, and bob's is as all others of his
    assert (change[1:] < -700).all()  # and of the rest hers have the less for it


def test_statistics_are_merged_by_examples_alone() -> None:
    one = ring()
    updates = [one.update(name) for name in ("alice", "bob", "carol")]
    plain = replace(one, task=tiny_task())
    fisher, fedavg = (merge_updates(each.task, one.base, list(map(member, updates))) for each in (one, plain))
    assert fisher.mantissas[MEAN].tolist() == fedavg.mantissas[MEAN].tolist()
    assert fisher.mantissas[KERNEL].tolist() != fedavg.mantissas[KERNEL].tolist()


def test_an_update_of_weight_0_is_as_if_it_were_not_there() -> None:
    one = ring()
    updates = [one.update(name) for name in ("alice", "bob", "carol")]
    assert merged(one, updates, [5, 0, 7]) == merged(one, [updates[0], updates[2]], [5, 7])


def test_only_the_set_of_updates_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    one = ring()
    members = [member(one.update(name)) for name in ("alice", "bob", "carol")]
    expected = merge_updates(one.task, one.base, members)
    for order in permutations(members):
        for width, run in ((1, serial), (5, Threads(3))):
            monkeypatch.setattr("processor.engine.block_width", lambda members, item_bytes, width=width: width)
            found = merge_updates(one.task, one.base, order, run=run)
            assert found.digest == expected.digest
            assert all(np.array_equal(found.mantissas[name], expected.mantissas[name]) for name in expected.mantissas)


def test_the_engine_gives_it_importance() -> None:
    one = ring()
    members: list[Member] = [member(one.update(name)) for name in ("alice", "bob")]
    plan = plan_merge(one.task, one.base, members)
    assert plan.tables is not None and isinstance(plan.plan, FisherMean)
    (first, *_) = spans(trainable_specs(one.base.specs))
    assert isinstance(plan.part(first).denominator, np.ndarray)


def test_updates_without_importance_are_refused_in_every_round() -> None:
    one = ring(terms=tiny_terms(consolidate=False)).post_all(["alice", "bob"])
    one.post("mallory", replace(one.update("mallory"), importance=None, importance_exponents=None))
    verdicts = {update.client: (update.verdict, update.rule) for update in one.derive().derived.updates}
    assert verdicts[account("mallory")] == ("refused", "unexpected-importance")
    assert verdicts[account("alice")] == ("accepted", "")
    assert one.derive().derived.rule == "fisher-weighted" and one.derive().derived.consolidated is False


def test_a_base_that_is_consolidated_keeps_its_importance() -> None:
    one = TinyRound(task=fisher_task(), base=tiny_model(consolidated=True)).post_all(["alice", "bob"])
    model = one.derive().model
    assert model is not None and model.anchor == one.base.anchor and model.importance == one.base.importance
