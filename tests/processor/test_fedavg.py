"""FedAvg in integers: refusals, then equality with exact fractions, then independence of order."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.blocks import Member, spans
from processor.engine import merge_updates, plan_merge
from protocol.errors import ArithmeticRefused, BlockMissing
from protocol.update import Update
from tests.processor import reference
from tests.processor.contents import gone
from tests.processor.factory import (
    BIAS,
    KERNEL,
    MEAN,
    TinyRound,
    member,
    saturating_model,
    tiny_model,
    tiny_task,
)


def test_no_updates_are_refused() -> None:
    with pytest.raises(ArithmeticRefused):
        merge_updates(tiny_task(), tiny_model(), [])


def test_weights_that_could_overflow_are_refused_before_any_tensor_is_read() -> None:
    ring = TinyRound()
    alice, bob = (member(gone(ring.update(name))) for name in ("alice", "bob"))

    def heavy(one: Member, examples: int, weight: int) -> Member:
        return replace(one, accepted=replace(one.accepted, examples=examples, weight=weight))

    most = 1 << 40
    with pytest.raises(ArithmeticRefused):
        merge_updates(ring.task, ring.base, [heavy(alice, 1, most), heavy(bob, 1, most)])
    with pytest.raises(ArithmeticRefused):  # of the statistics' mean
        merge_updates(ring.task, ring.base, [heavy(alice, most, 1), heavy(bob, most, 1)])
    with pytest.raises(BlockMissing):  # one less is within the bound, so it goes on to read
        merge_updates(ring.task, ring.base, [heavy(alice, most, most), heavy(bob, most - 1, most - 1)])


def test_uniform_weights_do_not_reach_statistics() -> None:
    ring = TinyRound()
    members = [member(ring.update("alice", examples=10), 1), member(ring.update("bob", examples=1000), 1)]

    merge = plan_merge(ring.task, ring.base, members)

    denominators = {span.name: merge.part(span).denominator for span in spans(ring.base.specs)}
    assert (denominators[KERNEL], denominators[BIAS], denominators[MEAN]) == (2, 2, 1010)


def test_one_update_is_applied_as_it_is() -> None:
    ring = TinyRound()
    alice = ring.update("alice")

    merged = merge_updates(ring.task, ring.base, [member(alice)])

    shift = alice.exponents[KERNEL] - -20
    expected = ring.base.mantissas[KERNEL] + (np.asarray(alice.deltas[KERNEL]).astype(np.int32) << shift)
    assert np.array_equal(merged.mantissas[KERNEL], expected)
    assert merged.saturated == 0


def test_saturated_coordinates_are_counted() -> None:
    ring = TinyRound(base=saturating_model())
    alice = ring.update("alice")
    np.asarray(alice.deltas[BIAS])[:] = [1, 0, -1]
    np.asarray(alice.deltas[KERNEL])[:] = 5

    merged = merge_updates(ring.task, ring.base, [member(alice)])

    top = (1 << 24) - 1
    assert merged.mantissas[BIAS].tolist() == [top, top, top - (1 << alice.exponents[BIAS] + 24)]
    assert (merged.saturated, [q.tolist() for q in merged.mantissas.values()]) == _reference_count(ring, alice)
    assert merged.saturated >= 13  # the kernel's 12 and the bias' first


def _reference_count(ring: TinyRound, update: Update) -> tuple[int, list[object]]:
    expected, count = reference.fedavg(ring.base, [update])
    shaped = [np.array(q).reshape(ring.base.mantissas[name].shape).tolist() for name, q in expected.items()]
    return count, shaped


@settings(max_examples=40)
@given(
    st.sampled_from(["int8", "int16", "int32"]),
    st.lists(st.integers(1, 1000), min_size=1, max_size=6),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_the_mean_is_exact(delta_type: str, examples: list[int], uniform: bool, seed: int) -> None:
    ring = TinyRound(task=tiny_task(delta_type=delta_type), base=tiny_model(seed, span=1 << 24))
    updates = [ring.update("bob", seed + k, examples=n) for k, n in enumerate(examples)]

    merged = merge_updates(ring.task, ring.base, [member(update, 1 if uniform else None) for update in updates])

    expected, expected_count = reference.fedavg(ring.base, updates, uniform)
    assert {name: q.reshape(-1).tolist() for name, q in merged.mantissas.items()} == expected
    assert merged.saturated == expected_count


def test_every_order_gives_the_same_bytes() -> None:
    ring = TinyRound()
    posted = [member(ring.update(name, examples=n)) for name, n in [("alice", 1), ("bob", 999), ("carol", 7)]]

    digests = {merge_updates(ring.task, ring.base, order).digest for order in permutations(posted)}

    assert len(digests) == 1
