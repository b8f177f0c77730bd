"""Agreement: exact thousandths of a cosine, whatever the types, grids, splits and places of the updates."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor import agreement
from processor.agreement import agreements, cosine_thousandths
from processor.blocks import Member
from processor.engine import Merged, merge_updates
from processor.runs import Threads
from processor.updates import Accepted
from protocol.content import Held
from protocol.grid import MANTISSA_LIMIT
from protocol.model import Model
from protocol.specs import TensorClass, TensorSpec, trainable_specs
from protocol.types import Digest, Hash
from protocol.update import Update, decode_update, encode_update
from tests.processor import reference_standing as reference
from tests.processor.factory import BIAS, KERNEL, MEAN, VARIANCE, TinyRound, account, tiny_model, tiny_task

NAMES = ("alice", "bob", "carol")
ONE = "00000.w"


def member(update: Update) -> Member:
    return Member(Accepted(update.author, Digest(bytes(32)), update.examples, update.steps, update.examples), update)


def merged_to(mantissas: Mapping[str, Any]) -> Merged:
    return Merged(mantissas, 0, {}, Hash(bytes(32)))


def agreement_of(base: Model, after: Mapping[str, Any], *updates: Update) -> list[int]:
    return agreements(base, merged_to(after), [member(update) for update in updates])


def one_tensor(size: int, mantissa: int, grid: int = 0) -> tuple[TinyRound, Update]:
    """A round over one tensor whose every weight is ``mantissa``, and an update of it."""
    specs = (TensorSpec(ONE, (size,), TensorClass.TRAINABLE, grid),)
    model = dataclasses.replace(tiny_model(specs=specs), mantissas={ONE: np.full(size, mantissa, np.int32)})
    ring = TinyRound(base=model)
    return ring, ring.update("alice")


# --- what it is ---


@pytest.mark.parametrize(("factor", "expected"), [(1, 1000), (-1, -1000), (7, 1000), (0, 0)])
def test_a_multiple_of_an_update_agrees_as_the_update_does(factor: int, expected: int) -> None:
    ring = TinyRound()
    alice = ring.update("alice")
    after = {}
    for spec in trainable_specs(ring.base.specs):
        change = alice.deltas[spec.name].astype(np.int32) << (alice.exponents[spec.name] - spec.grid)
        after[spec.name] = ring.base.mantissas[spec.name] + factor * change
    assert agreement_of(ring.base, after, alice) == [expected]


def test_an_update_of_nothing_and_a_model_that_stays_agree_with_nothing() -> None:
    ring = TinyRound()
    alice = ring.update("alice")
    still = dataclasses.replace(alice, deltas={name: np.zeros_like(delta) for name, delta in alice.deltas.items()})
    after = merge_updates(ring.task, ring.base, [member(alice)]).mantissas
    assert agreement_of(ring.base, after, alice, still) == [1000, 0]
    assert agreement_of(ring.base, ring.base.mantissas, alice, still) == [0, 0]


def test_it_is_cut_towards_zero() -> None:
    assert [cosine_thousandths(sign * 999, 1, 1000**2) for sign in (1, -1)] == [999, -999]
    assert [cosine_thousandths(sign * 9999, 1, 10_000**2) for sign in (1, -1)] == [999, -999]
    assert cosine_thousandths(-1, 10**7, 1) == 0


def test_tensors_on_other_grids_count_in_real_units() -> None:
    ring = TinyRound()  # the kernel on 2^-20, the bias on 2^-24
    alice = ring.update("alice")
    ones = {name: np.ones_like(delta) for name, delta in alice.deltas.items()}
    update = dataclasses.replace(alice, deltas=ones, exponents={**alice.exponents, KERNEL: -20, BIAS: -20})
    after = {name: ring.base.mantissas[name] + 1 for name in (KERNEL, BIAS)}
    # 12 kernels and 3 biases: <d, c> = 12 + 3/16, |d|^2 = 15, |c|^2 = 12 + 3/256, all in 2^-40
    dot, left, right = Fraction(12) + Fraction(3, 16), Fraction(15), Fraction(12) + Fraction(3, 256)
    assert agreement_of(ring.base, after, update) == [reference.thousandths(dot, left, right)]


def test_statistics_have_no_part_in_it() -> None:
    ring = TinyRound()
    alice = ring.update("alice")
    after = merge_updates(ring.task, ring.base, [member(alice)]).mantissas
    flipped = dataclasses.replace(alice, deltas={**alice.deltas, MEAN: -alice.deltas[MEAN]})
    elsewhere = {**after, VARIANCE: np.zeros_like(after[VARIANCE])}
    assert agreement_of(ring.base, after, flipped) == agreement_of(ring.base, elsewhere, alice) == [1000]


# --- exactness ---


@settings(deadline=None, max_examples=60)
@given(
    delta_type=st.sampled_from(["int8", "int16", "int32"]),
    seeds=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4),
    grids=st.tuples(st.integers(-60, 40), st.integers(-60, 40)),
    span=st.sampled_from([8, 1 << 12, MANTISSA_LIMIT]),
)
def test_it_is_the_reference_s(delta_type: str, seeds: list[int], grids: tuple[int, int], span: int) -> None:
    specs = (
        TensorSpec("00000.a", (3, 2), TensorClass.TRAINABLE, grids[0]),
        TensorSpec("00001.b", (5,), TensorClass.TRAINABLE, grids[1]),
    )
    ring = TinyRound(task=tiny_task(delta_type=delta_type), base=tiny_model(specs=specs))
    updates = [ring.update(f"client {at}", seed=seed) for at, seed in enumerate(seeds)]
    random = np.random.default_rng(seeds[0])
    after = {spec.name: random.integers(1 - span, span, spec.shape, dtype=np.int32) for spec in specs}
    expected = [reference.agreement(ring.base, after, update) for update in updates]
    assert agreement_of(ring.base, after, *updates) == expected


@given(
    left=st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=6),
    right=st.lists(st.integers(-(10**6), 10**6), min_size=6, max_size=6),
)
def test_the_cosine_is_the_reference_s(left: list[int], right: list[int]) -> None:
    dot, a, b = (
        sum(x * y for x, y in zip(p, q, strict=False)) for p, q in ((left, right), (left, left), (right, right))
    )
    found = cosine_thousandths(dot, a, b)
    assert found == reference.thousandths(Fraction(dot), Fraction(a), Fraction(b))
    assert abs(found) <= 1000


@pytest.mark.parametrize("delta_type", ["int8", "int16", "int32"])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_changes_of_all_overflow_nothing(delta_type: str, sign: int) -> None:
    size = 2 * agreement.PIECE + 3
    ring, alice = one_tensor(size, -sign * (MANTISSA_LIMIT - 1))
    largest = {"int8": 127, "int16": 32_767, "int32": (1 << 22) - 1}[delta_type]
    shift = {"int8": 15, "int16": 7, "int32": 0}[delta_type]
    deltas = {ONE: np.full(size, largest, delta_type)}
    update = dataclasses.replace(alice, deltas=deltas, exponents={ONE: shift})
    after = {ONE: np.full(size, sign * (MANTISSA_LIMIT - 1), np.int32)}
    assert agreement_of(ring.base, after, update) == [sign * 1000]
    sums = agreement._sums(
        agreement.spans(ring.base.specs, agreement.PIECE)[0], ring.base.mantissas, after, [member(update)]
    )
    count, change = agreement.PIECE, sign * 2 * (MANTISSA_LIMIT - 1)
    assert sums.dots == [(count * largest * change) << shift]
    assert (sums.squares, sums.change) == ([count * largest**2 << 2 * shift], count * change**2)


# --- however it is done ---


def rounds_of(size: int) -> tuple[TinyRound, list[Update], Merged]:
    specs = (
        TensorSpec(ONE, (size,), TensorClass.TRAINABLE, -20),
        TensorSpec("00001.v", (7,), TensorClass.TRAINABLE, -9),
    )
    ring = TinyRound(base=tiny_model(specs=specs))
    updates = [ring.update(name) for name in NAMES]
    return ring, updates, merge_updates(ring.task, ring.base, [member(update) for update in updates])


def test_neither_order_nor_threads_nor_pieces_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    ring, updates, merged = rounds_of(5_001)
    members = [member(update) for update in updates]
    expected = [reference.agreement(ring.base, merged.mantissas, update) for update in updates]
    assert agreements(ring.base, merged, members) == expected
    assert agreements(ring.base, merged, members[::-1]) == expected[::-1]
    assert agreements(ring.base, merged, members, Threads(3)) == expected
    for width in (1 << 10, 999, 1 << 15):
        monkeypatch.setattr(agreement, "PIECE", width)
        assert agreements(ring.base, merged, members) == expected


class OnDisk(Held):
    """The contents of a file that lies elsewhere, and how much of it was read at once."""

    most = 0

    def read_into(self, start: int, out: memoryview) -> None:
        OnDisk.most = max(OnDisk.most, len(out))
        super().read_into(start, out)


def test_updates_on_disk_are_read_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    ring, updates, merged = rounds_of(3 * agreement.PIECE)
    stored = [decode_update({name: OnDisk(data) for name, data in encode_update(one).items()}) for one in updates]
    monkeypatch.setattr(OnDisk, "most", 0)
    found = agreement_of(ring.base, merged.mantissas, *stored)
    assert found == agreement_of(ring.base, merged.mantissas, *updates)
    assert 0 < OnDisk.most <= 2 * agreement.PIECE


# --- in a round ---


def test_a_round_reports_it_for_every_accepted_update() -> None:
    ring = TinyRound().post_all(NAMES)
    ring.post("mallory", dataclasses.replace(ring.update("mallory"), steps=1))
    derivation = ring.derive()
    assert derivation.model is not None
    said = {one.client: one.agreement for one in derivation.derived.updates}
    for name in NAMES:
        assert said[account(name)] == reference.agreement(ring.base, derivation.model.mantissas, ring.update(name))
    assert said[account("mallory")] == 0
    assert math.prod(said[account(name)] for name in NAMES) != 0


def test_without_a_merge_nobody_agrees() -> None:
    derived = TinyRound(task=tiny_task(min_updates=4)).post_all(NAMES).derive().derived
    assert [one.agreement for one in derived.updates] == [0, 0, 0]
