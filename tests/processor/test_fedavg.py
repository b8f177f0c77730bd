"""FedAvg in integers: refusals, then equality with exact fractions, then independence of order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor import fedavg
from processor.merge import apply, merge_digest
from processor.updates import Accepted
from protocol.errors import ArithmeticRefused
from protocol.types import Digest
from protocol.update import Update
from tests.processor import reference
from tests.processor.factory import BIAS, KERNEL, MEAN, TinyRound, account, saturating_model, tiny_model, tiny_task

NOTHING: dict[Digest, Update] = {}


def accept(updates: Mapping[Digest, Update], uniform: bool = False) -> list[Accepted]:
    return [
        Accepted(one.author, digest, one.examples, one.steps, 1 if uniform else one.examples)
        for digest, one in updates.items()
    ]


def keyed(*updates: Update) -> dict[Digest, Update]:
    return {Digest(bytes([index]) * 32): update for index, update in enumerate(updates)}


def test_no_updates_are_refused() -> None:
    with pytest.raises(ArithmeticRefused):
        fedavg.merge(tiny_task(), tiny_model(), [], NOTHING.__getitem__)


def test_weights_that_could_overflow_are_refused_before_anything_is_loaded() -> None:
    heavy = Accepted(account("mallory"), Digest(bytes(32)), 1 << 40, 1, 1 << 40)
    light = replace(heavy, examples=(1 << 41) - (1 << 40) - 1, weight=1)

    with pytest.raises(ArithmeticRefused):
        fedavg.merge(tiny_task(), tiny_model(), [heavy, heavy], NOTHING.__getitem__)  # nothing is behind the digests

    with pytest.raises(KeyError):  # one less is within the bound, so it goes on to load
        fedavg.merge(tiny_task(), tiny_model(), [heavy, light], NOTHING.__getitem__)


def test_uniform_weights_do_not_reach_statistics() -> None:
    ring = TinyRound()
    updates = keyed(ring.update("alice", examples=10), ring.update("bob", examples=1000))

    merged = fedavg.merge(ring.task, ring.base, accept(updates, uniform=True), updates.__getitem__)

    assert (merged.denominators[KERNEL], merged.denominators[BIAS], merged.denominators[MEAN]) == (2, 2, 1010)


def test_one_update_is_applied_as_it_is() -> None:
    ring = TinyRound()
    updates = keyed(ring.update("alice"))

    mantissas, saturated = apply(ring.base, fedavg.merge(ring.task, ring.base, accept(updates), updates.__getitem__))

    alice = updates[Digest(bytes(32))]
    shift = alice.exponents[KERNEL] - -20
    expected = ring.base.mantissas[KERNEL] + (alice.deltas[KERNEL].astype(np.int32) << shift)
    assert np.array_equal(mantissas[KERNEL], expected)
    assert saturated == 0


def test_saturated_coordinates_are_counted() -> None:
    ring = TinyRound(base=saturating_model())
    alice = ring.update("alice")
    alice.deltas[BIAS][:] = [1, 0, -1]
    alice.deltas[KERNEL][:] = 5
    updates = keyed(alice)

    merged = fedavg.merge(ring.task, ring.base, accept(updates), updates.__getitem__)
    mantissas, saturated = apply(ring.base, merged)

    top = (1 << 24) - 1
    assert mantissas[BIAS].tolist() == [top, top, top - (1 << alice.exponents[BIAS] + 24)]
    assert (saturated, [q.tolist() for q in mantissas.values()]) == _reference_count(ring, alice)
    assert saturated >= 13  # the kernel's 12 and the bias' first


def _reference_count(ring: TinyRound, update: Update) -> tuple[int, list[object]]:
    expected, count = reference.fedavg(ring.base, [update])
    shaped = [np.array(q).reshape(ring.base.mantissas[name].shape).tolist() for name, q in expected.items()]
    return count, shaped


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["int8", "int16", "int32"]),
    st.lists(st.integers(1, 1000), min_size=1, max_size=6),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_the_mean_is_exact(delta_type: str, examples: list[int], uniform: bool, seed: int) -> None:
    ring = TinyRound(task=tiny_task(delta_type=delta_type), base=tiny_model(seed, span=1 << 24))
    updates = keyed(*(ring.update("bob", seed + k, examples=n) for k, n in enumerate(examples)))

    merged = fedavg.merge(ring.task, ring.base, accept(updates, uniform), updates.__getitem__)
    mantissas, saturated = apply(ring.base, merged)

    expected, expected_count = reference.fedavg(ring.base, list(updates.values()), uniform)
    assert {name: q.reshape(-1).tolist() for name, q in mantissas.items()} == expected
    assert saturated == expected_count


def test_every_order_gives_the_same_bytes() -> None:
    ring = TinyRound()
    updates = keyed(*(ring.update(name, examples=n) for name, n in [("alice", 1), ("bob", 999), ("carol", 7)]))

    digests = {
        merge_digest(fedavg.merge(ring.task, ring.base, order, updates.__getitem__))
        for order in permutations(accept(updates))
    }

    assert len(digests) == 1


def test_each_update_is_loaded_once() -> None:
    ring = TinyRound()
    updates = keyed(ring.update("alice"), ring.update("bob"))
    loaded: list[Digest] = []

    def load(digest: Digest) -> Update:
        loaded.append(digest)
        return updates[digest]

    fedavg.merge(ring.task, ring.base, accept(updates), load)

    assert loaded == list(updates)
