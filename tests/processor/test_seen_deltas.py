"""Duplicates: two hashes, the second only where the first agree, judge as hashing everything would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from processor import seen_deltas
from processor.seen_deltas import SeenDeltas, delta_hash
from protocol.specs import TensorClass, TensorSpec
from protocol.types import Address
from protocol.update import Update
from tests.processor.contents import stored
from tests.processor.factory import BIAS, TinyRound, account, tiny_model

ONE, TWO = "00000.w", "00001.b"
RING = TinyRound()


def update(at: int, one: Sequence[int], two: Sequence[int] = (0,), exponent: int = 0) -> Update:
    """An update of client ``at`` with these deltas."""
    return replace(
        RING.update("alice"),
        author=account(f"client {at}"),
        deltas={ONE: np.array(one, np.int16), TWO: np.array(two, np.int16)},
        exponents={ONE: exponent, TWO: 0},
    )


def hashing_everything(updates: Sequence[Update]) -> list[Address | None]:
    """The verdicts by whole contents, without any hash: who was the first with the same."""
    first: dict[object, Address] = {}
    found: list[Address | None] = []
    for one in updates:
        whole = tuple(
            (name, one.exponents[name], np.asarray(one.deltas[name]).tobytes()) for name in sorted(one.deltas)
        )
        found.append(first.get(whole))
        first.setdefault(whole, one.author)
    return found


def judged(updates: Sequence[Update]) -> list[Address | None]:
    seen = SeenDeltas()
    return [seen.add(one) for one in updates]


few = st.integers(0, 1)
deltas = st.tuples(st.lists(few, min_size=4, max_size=4), st.lists(few, min_size=3, max_size=3), few)


@pytest.mark.parametrize("sample", [0, 1, 2, 3, 4, 5])
@given(st.lists(deltas, max_size=12))
@example([([0, 0, 0, 0], [0, 0, 0], 0), ([0, 0, 0, 1], [0, 0, 0], 0)] * 2)  # alike up to the last of one tensor
@example([([0, 0, 0, 0], [0, 0, 1], 0), ([0, 0, 0, 0], [0, 0, 0], 0)] * 2)
def test_verdicts_are_those_of_comparing_everything(sample: int, rows: list[tuple[list[int], list[int], int]]) -> None:
    """With a sample of ``sample`` coordinates most of these updates begin alike, as a hostile crowd's would."""
    updates = [update(at, *row) for at, row in enumerate(rows)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seen_deltas, "_SAMPLE", sample)
        assert judged(updates) == hashing_everything(updates)


def test_a_difference_beyond_the_sample_is_a_difference() -> None:
    """Everything up to the last of 2 x 65,536 + 1 coordinates is alike, which is more than one span of reading too."""
    alice = np.zeros(131_073, np.int16)
    bob = alice.copy()
    bob[-1] = 1
    updates = [update(0, alice), update(1, bob), update(2, bob.copy()), update(3, alice.copy())]

    assert judged(updates) == [None, None, account("client 1"), account("client 0")]


def test_honest_updates_are_not_read_to_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def counting(tensor: object, start: int, stop: int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
        read.append(stop - start)
        return np.asarray(tensor)[start:stop]

    monkeypatch.setattr(seen_deltas, "read_span", counting)
    random = np.random.default_rng(1)

    judged([update(at, random.integers(-9, 9, 100_000).astype(np.int16)) for at in range(10)])

    assert sum(read) < 10 * 5_000


def test_a_hostile_crowd_is_hashed_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty updates that differ in their last coordinate only: each is read whole once, not once for every other."""
    read: list[int] = []

    def counting(tensor: object, start: int, stop: int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
        read.append(stop - start)
        return np.asarray(tensor)[start:stop]

    monkeypatch.setattr(seen_deltas, "read_span", counting)
    crowd = [np.zeros(100_000, np.int16) for _ in range(20)]
    for at, delta in enumerate(crowd):
        delta[-1] = at

    assert judged([update(at, delta) for at, delta in enumerate(crowd)]) == [None] * 20
    assert sum(read) <= 20 * (100_000 + 10_000)


def test_where_the_tensors_lie_does_not_matter(tmp_path: Path) -> None:
    specs = (TensorSpec(ONE, (5_000,), TensorClass.TRAINABLE, 0),)
    ring = TinyRound(base=tiny_model(specs=specs))
    alice = ring.update("alice")
    on_disk = stored(replace(alice, author=account("bob")), tmp_path)
    backwards = np.asarray(alice.deltas[ONE])[::-1].copy()[::-1]  # the same values, strided

    assert judged([alice, on_disk, replace(alice, deltas={ONE: backwards})]) == [None, alice.author, alice.author]
    assert delta_hash(alice) == delta_hash(on_disk)


def test_delta_hash_is_of_deltas_and_exponents_alone() -> None:
    alice = RING.update("alice")
    same = replace(alice, author=account("bob"), examples=1, steps=2, software="other")
    backwards = replace(alice, deltas={name: alice.deltas[name] for name in sorted(alice.deltas, reverse=True)})
    shifted = replace(alice, exponents={**alice.exponents, BIAS: alice.exponents[BIAS] + 1})
    changed = replace(alice, deltas={**alice.deltas, BIAS: np.asarray(alice.deltas[BIAS]) ^ 1})

    assert delta_hash(alice) == delta_hash(same) == delta_hash(backwards)
    assert len({delta_hash(alice), delta_hash(shifted), delta_hash(changed)}) == 3


def test_a_byte_of_one_tensor_is_not_one_of_the_next() -> None:
    """Shapes are the base's for all updates of a round, so moving bytes between tensors is no way to collide."""
    left, right = update(0, [1, 2], [3, 4]), update(1, [1, 2], [3, 5])

    assert judged([left, right]) == [None, None]
