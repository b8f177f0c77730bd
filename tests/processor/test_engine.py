"""The engine: what goes wrong ends a merge, measures are exact sums, whom the rule leaves out is out everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor import rules
from processor.blocks import Block, spans
from processor.engine import apply_merge, merge_updates, plan_merge
from processor.rule import Measured
from processor.runs import Run, Threads, serial
from processor.updates import Accepted
from processor.weighted_mean import WeightedMean
from protocol.errors import ArithmeticRefused, BlockMissing, TooFewUpdates, WrongField
from protocol.task import MergeRule
from tests.processor.contents import gone
from tests.processor.factory import BIAS, KERNEL, MEAN, TinyRound, account, member, tiny_model, tiny_task
from tests.processor.merge_cases import split

PEOPLE = ["alice", "bob", "carol", "dave"]
RUNS = [serial, Threads(2), Threads(8)]


@dataclass(frozen=True)
class WithoutTheLoudest:
    """A rule of these tests: FedAvg without the update of the largest sum of squares, plus a number beyond int64."""

    reads_importance = False

    def measure(self, block: Block) -> Measured:
        """Each member's sum of squares in ``block``, and 2^70 a coordinate."""
        wide = block.changes().astype(object)
        return np.array([*(wide * wide).sum(axis=1), block.span.size << 70], dtype=object)

    def plan(self, accepted: Sequence[Accepted], measured: Measured | None) -> WeightedMean:
        """Leaves the loudest out; says what it measured where that is not the sum over 15 coordinates."""
        assert measured is not None
        assert measured[-1] == 15 << 70
        loudest = max(range(len(accepted)), key=lambda k: measured[k])
        return WeightedMean(tuple(0 if k == loudest else one.weight for k, one in enumerate(accepted)))


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> TinyRound:
    """A round under that rule."""
    name: Any = "loudest"
    monkeypatch.setattr(rules, "RULES", {**rules.RULES, "loudest": lambda terms: WithoutTheLoudest()})
    return TinyRound(task=tiny_task(merge=MergeRule(rule=name, examples_cap=1000)))


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("missing", [None, 1])
def test_bytes_that_are_gone_end_the_merge(run: Run, missing: int | None) -> None:
    ring = TinyRound()
    members = [member(ring.update(name)) for name in PEOPLE]
    vanished = replace(members[2], update=gone(members[2].update, missing))

    with split(width=2), pytest.raises(BlockMissing):
        merge_updates(ring.task, ring.base, [*members[:2], vanished], run=run)


@pytest.mark.parametrize("run", RUNS)
def test_an_error_within_a_rule_ends_the_merge(run: Run, ring: TinyRound, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object, block: Block) -> Measured:
        raise ArithmeticRefused("Too wide.")

    monkeypatch.setattr(WithoutTheLoudest, "measure", broken)

    with pytest.raises(ArithmeticRefused, match="Too wide"):
        merge_updates(ring.task, ring.base, [member(ring.update(name)) for name in PEOPLE], run=run)


@pytest.mark.parametrize("rule", ["krum", "multi-krum", "bulyan", "trimmed-mean"])
def test_too_few_updates_are_refused_by_name(rule: Any) -> None:
    terms = MergeRule(rule=rule, trim=2) if rule == "trimmed-mean" else MergeRule(rule=rule, byzantine=1)
    ring = TinyRound(task=tiny_task(merge=terms))

    with pytest.raises(TooFewUpdates):
        merge_updates(ring.task, ring.base, [member(ring.update(name)) for name in PEOPLE])


def test_an_unknown_rule_is_refused_by_name() -> None:
    unknown: Any = "loudest"
    ring = TinyRound(task=tiny_task(merge=MergeRule(rule=unknown)))

    with pytest.raises(WrongField, match="loudest"):
        merge_updates(ring.task, ring.base, [member(ring.update("alice"))])


def test_whom_the_rule_leaves_out_is_out_of_weights_and_statistics(ring: TinyRound) -> None:
    members = [member(ring.update(name, examples=10 * (at + 1))) for at, name in enumerate(PEOPLE)]
    loud = ring.update("mallory", deltas={**members[0].update.deltas, KERNEL: np.full((4, 3), 32_767, np.int16)})
    loud = replace(loud, exponents={**members[0].update.exponents, KERNEL: -13}, examples=999)

    merged = merge_updates(ring.task, ring.base, [*members, member(loud)])
    without = merge_updates(tiny_task(), ring.base, members)

    assert merged.weights == {**without.weights, account("mallory"): 0}
    assert {name: q.tolist() for name, q in merged.mantissas.items()} == {
        name: q.tolist() for name, q in without.mantissas.items()
    }
    assert merged.digest == without.digest


@settings(max_examples=25)
@given(st.permutations(range(4)), st.integers(1, 16), st.sampled_from([1, 3]))
def test_measures_add_up_in_every_order_and_cut(order: list[int], width: int, threads: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules, "RULES", {**rules.RULES, "loudest": lambda terms: WithoutTheLoudest()})
        name: Any = "loudest"
        task = tiny_task(merge=MergeRule(rule=name, examples_cap=1000))
        members = [member(TinyRound().update(person)) for person in PEOPLE]
        base = TinyRound().base
        whole = merge_updates(task, base, members)
        with split(width=width):
            found = merge_updates(task, base, [members[at] for at in order], run=Threads(threads))

    assert (found.digest, found.weights) == (whole.digest, whole.weights)


def test_the_plan_and_its_parts_are_the_merge() -> None:
    """What machines share: each works out spans of one plan, in whatever order, and only 32 bytes of each are sent."""
    ring = TinyRound()
    members = [member(ring.update(name)) for name in PEOPLE]
    merge = plan_merge(ring.task, ring.base, members)

    parts = {span: merge.part(span).digest() for span in reversed(spans(ring.base.specs))}
    again = plan_merge(ring.task, ring.base, members[::-1])

    assert {span: again.part(span).digest() for span in spans(ring.base.specs)} == parts
    assert apply_merge(merge, ring.base).digest == merge_updates(ring.task, ring.base, members).digest


def test_without_a_witness_the_model_is_the_same() -> None:
    ring = TinyRound()
    merge = plan_merge(ring.task, ring.base, [member(ring.update(name)) for name in PEOPLE])

    whole, bare = apply_merge(merge, ring.base), apply_merge(merge, ring.base, witness=False)

    assert whole.digest is not None
    assert bare.digest is None
    assert (bare.saturated, bare.weights) == (whole.saturated, whole.weights)
    assert {name: q.tolist() for name, q in bare.mantissas.items()} == {
        name: q.tolist() for name, q in whole.mantissas.items()
    }


@pytest.mark.parametrize("bound", ["none", "median"])
def test_statistics_are_never_bounded(bound: Any) -> None:
    ring = TinyRound(task=tiny_task(merge=MergeRule(bound=bound, examples_cap=1000)))
    members = [member(ring.update(name)) for name in PEOPLE]

    merged = merge_updates(ring.task, ring.base, members)
    plain = merge_updates(tiny_task(), ring.base, members)

    assert merged.mantissas[MEAN].tolist() == plain.mantissas[MEAN].tolist()
    assert (merged.mantissas[KERNEL].tolist() == plain.mantissas[KERNEL].tolist()) is (bound == "none")


def test_base_and_updates_are_left_as_they_are() -> None:
    ring = TinyRound(base=tiny_model(span=1 << 24))
    members = [member(ring.update(name)) for name in PEOPLE]
    arrays = [*ring.base.mantissas.values(), *(one for m in members for one in m.update.deltas.values())]
    before = [np.asarray(array).tobytes() for array in arrays]
    for array in arrays:
        np.asarray(array).flags.writeable = False

    merged = merge_updates(ring.task, ring.base, members, run=Threads(2))

    assert [np.asarray(array).tobytes() for array in arrays] == before
    assert merged.mantissas[BIAS].base is not ring.base.mantissas[BIAS]
