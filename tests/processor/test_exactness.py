"""For every rule, delta type, bound and step that a task may name: the result is a function of the set of updates.

No order, number of threads, size of blocks, place of the tensors or compiled loop changes a bit, and every merge equals the
exact reference. Other machines: test_machines.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.blocks import Member
from processor.engine import Merged, merge_updates
from processor.rules import RULES
from processor.runs import Run, Threads, serial
from protocol.model import encode_model
from protocol.past import Moments
from protocol.types import Digest
from protocol.unixfs import directory_digest
from tests.processor import reference_merges
from tests.processor.contents import stored
from tests.processor.factory import BIAS, KERNEL
from tests.processor.merge_cases import Case, case_round, cases, crowd, split

CASES = cases()
TRAINABLE = (KERNEL, BIAS)


@dataclass(frozen=True)
class Bits:
    """Everything of a merge that anybody signs, hashes or goes on from."""

    model: Digest
    witness: Any
    saturated: int
    weights: Any
    moments: Any

    def without_witness(self) -> Bits:
        """All but the merge digest, of whose definition the chunks of 2^17 coordinates are a part."""
        return replace(self, witness=None)


def bits(case: Case, merged: Merged) -> Bits:
    """What must be the same."""
    ring = case_round(case)
    model = replace(ring.base, round=1, parents=(ring.base_digest,), mantissas=merged.mantissas)
    digest = directory_digest(encode_model(model))
    return Bits(digest, merged.digest, merged.saturated, dict(merged.weights), _moments(merged.moments))


def _moments(moments: Moments | None) -> object:
    return moments and {name: [np.asarray(one).tolist() for one in held] for name, held in moments.items()}


def merge(case: Case, members: Any, run: Run = serial, moments: Moments | None = None) -> Merged:
    ring = case_round(case)
    return merge_updates(ring.task, ring.base, members, moments, run)


FIRST: dict[Case, Merged] = {}


def first(case: Case) -> Merged:
    """The merge of ``case`` as it comes, once."""
    if case not in FIRST:
        FIRST[case] = merge(case, crowd(case))
    return FIRST[case]


def test_every_rule_is_here_with_every_delta_type_that_it_allows() -> None:
    assert {case.rule for case in CASES} == set(RULES)
    assert {case.delta_type for case in CASES if case.rule == "fedavg"} == {"int8", "int16", "int32"}
    assert {case.bound for case in CASES if case.rule == "krum"} == {"none", "median", "fixed"}
    assert {case.step for case in CASES} == {"plain", "momentum", "adam", "yogi"}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_equals_the_exact_reference_twice_in_a_row(case: Case) -> None:
    """The second merge goes on from the moments of the first; the first starts where there are none."""
    ring = case_round(case)
    updates = [one.update for one in crowd(case)]
    moments, expected_moments = None, None
    for _ in range(2):
        found = merge(case, crowd(case), moments=moments)
        expected = reference_merges.merged(ring.task, ring.base, updates, expected_moments)

        assert {name: q.reshape(-1).tolist() for name, q in found.mantissas.items()} == expected.mantissas
        assert found.saturated == expected.saturated
        assert found.weights == expected.weights
        moments, expected_moments = found.moments, expected.moments
        assert (moments is None) == (case.step == "plain")
        for name, held in (moments or {}).items():
            columns = zip(*(one.reshape(-1).tolist() for one in held), strict=True)
            assert list(columns) == expected.moments[name]


@pytest.mark.parametrize("case", CASES, ids=str)
@settings(max_examples=6)
@given(data=st.data())
def test_no_order_thread_block_or_compiled_loop_changes_a_bit(case: Case, data: st.DataObject) -> None:
    order = data.draw(st.permutations(crowd(case)), label="order")
    threads = data.draw(st.integers(0, 8), label="threads")
    width = data.draw(st.sampled_from([None, 1, 2, 3, 5, 7, 1 << 17]), label="width")
    compiled = data.draw(st.sampled_from([None, False, True]), label="compiled")

    with split(width, None, compiled):
        found = merge(case, order, Threads(threads) if threads else serial)

    assert bits(case, found) == bits(case, first(case))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_span_changes_the_model(case: Case) -> None:
    for chunk in (1, 2, 4, 5):
        with split(width=2, chunk=chunk):
            found = merge(case, crowd(case), Threads(2))

        assert bits(case, found).without_witness() == bits(case, first(case)).without_witness()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_updates_on_disk_change_no_bit(case: Case, tmp_path: Path) -> None:
    on_disk = [
        Member(one.accepted, stored(one.update, tmp_path / one.accepted.client)) for one in reversed(crowd(case))
    ]

    with split(width=4):
        assert bits(case, merge(case, on_disk, Threads(3))) == bits(case, first(case))


@pytest.mark.parametrize("case", [case for case in CASES if case.step != "plain"], ids=str)
def test_moments_do_not_depend_on_the_split_in_the_next_round_either(case: Case) -> None:
    moments = first(case).moments
    whole = merge(case, crowd(case), moments=moments)

    with split(width=2, chunk=4):
        found = merge(case, crowd(case)[::-1], Threads(4), moments)

    assert bits(case, found).without_witness() == bits(case, whole).without_witness()
    assert bits(case, whole) != bits(case, first(case))


@pytest.mark.parametrize("case", [case for case in CASES if (case.bound, case.step) == ("none", "plain")], ids=str)
def test_ties_are_broken_by_the_set_too(case: Case) -> None:
    """All changes of trainables are equal or opposite: scores and norms tie, and the statistics show who was taken."""
    ring = case_round(case)
    like = crowd(case)[0].update

    def tied(at: int, one: Member) -> Member:
        opposite = {name: -np.asarray(like.deltas[name]) if at % 2 else like.deltas[name] for name in TRAINABLE}
        exponents = {name: like.exponents[name] for name in TRAINABLE}
        update = replace(
            one.update,
            deltas={**one.update.deltas, **opposite},
            exponents={**one.update.exponents, **exponents},
        )
        return Member(one.accepted, update)

    members = [tied(at, one) for at, one in enumerate(crowd(case))]
    expected = reference_merges.merged(ring.task, ring.base, [one.update for one in members])

    for shift in range(len(members)):
        found = merge(case, [*members[shift:], *members[:shift]], Threads(2))
        assert found.weights == expected.weights
        assert {name: q.reshape(-1).tolist() for name, q in found.mantissas.items()} == expected.mantissas


@pytest.mark.parametrize("rule", sorted(RULES))
def test_another_set_is_another_result(rule: str) -> None:
    """So that none of the above holds because nothing is ever merged."""
    case = next(case for case in CASES if case.rule == rule)
    ring = case_round(case)
    changed = [
        Member(one.accepted, replace(ring.update("bob", seed), author=one.accepted.client))
        for seed, one in enumerate(crowd(case))
    ]

    assert bits(case, merge(case, changed)).model != bits(case, first(case)).model
    assert first(case).mantissas.keys() == case_round(case).base.mantissas.keys()
    assert any(
        not np.array_equal(q, case_round(case).base.mantissas[name]) for name, q in first(case).mantissas.items()
    )
