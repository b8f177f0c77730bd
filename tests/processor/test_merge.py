"""The digest that witnesses a merge, and the one rounding of a coordinate."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.blocks import CHUNK, spans
from processor.engine import apply_merge, merge_updates, plan_merge
from processor.merge import Part, join, merge_digest, moved
from protocol.fixed_point import INT64_MAX
from protocol.model import Model
from protocol.specs import TensorClass, TensorSpec
from tests.processor.factory import BIAS, KERNEL, TinyRound, member, tiny_model

TOP = (1 << 24) - 1
int64s = st.one_of(st.sampled_from([-INT64_MAX - 1, -1, 0, 1, INT64_MAX]), st.integers(-INT64_MAX - 1, INT64_MAX))


def part(numerators: Sequence[int], denominator: int | Sequence[int]) -> Part:
    by = denominator if isinstance(denominator, int) else np.array(denominator, np.int64)
    return Part(np.array(numerators, np.int64), by)


def move(mantissas: Sequence[int], numerators: Sequence[int], denominator: int) -> tuple[list[int], int]:
    after, saturated = moved(np.array(mantissas, np.int32), part(numerators, denominator))
    assert after.dtype == np.int32
    return after.tolist(), saturated


def sha256(*pieces: bytes) -> bytes:
    return hashlib.sha256(b"".join(pieces)).digest()


# --- the digest ---


def test_nothing_merged_is_sha256_of_nothing() -> None:
    assert merge_digest(None) == hashlib.sha256(b"").digest()


def test_a_parts_digest_is_denominators_then_numerators() -> None:
    assert part([2, -3], 7).digest() == sha256(struct.pack("<Q2q", 7, 2, -3))
    assert part([-1], INT64_MAX).digest() == sha256(struct.pack("<Qq", INT64_MAX, -1))
    assert part([2, -3], [7, 9]).digest() == sha256(struct.pack("<2Q2q", 7, 9, 2, -3))


def test_a_parts_digest_is_of_c_order() -> None:
    strided = np.arange(8, dtype=np.int64)[::2]

    assert Part(strided, 3).digest() == Part(strided.copy(), 3).digest()
    assert Part(strided.astype(">i8"), 3).digest() == Part(strided, 3).digest()


def test_the_whole_digest_is_names_in_order_each_with_its_parts_digests() -> None:
    parts = {"00001.b": [b"\1" * 32], "00000.a": [b"\2" * 32, b"\3" * 32]}

    assert merge_digest(parts) == sha256(b"00000.a", b"\2" * 32, b"\3" * 32, b"00001.b", b"\1" * 32)


@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3])
def test_a_merges_digest_has_one_part_for_each_chunk(size: int) -> None:
    """Written out once more, from the numerators of the mean, with nothing of the processor's spans."""
    specs = (TensorSpec("00000.w", (size,), TensorClass.TRAINABLE, -20),)
    ring = TinyRound(base=tiny_model(specs=specs))
    updates = [ring.update("alice", examples=3), ring.update("bob", examples=1000)]

    merged = merge_updates(ring.task, ring.base, [member(update) for update in updates])

    numerators = sum(
        update.examples * (np.asarray(update.deltas["00000.w"]).astype(np.int64) << update.exponents["00000.w"] + 20)
        for update in updates
    )
    chunks = [numerators[at : at + 131_072] for at in range(0, size, 131_072)]  # type: ignore[index]
    parts = [sha256(struct.pack("<Q", 1003), chunk.astype("<i8").tobytes()) for chunk in chunks]
    assert merged.digest == sha256(b"00000.w", *parts)


def test_the_digest_is_of_what_the_rule_gave_before_rounding() -> None:
    """Two merges that round to the same model still have other witnesses."""
    ring = TinyRound()
    alice = ring.update("alice")
    twice = merge_updates(ring.task, ring.base, [member(alice, 2)])
    once = merge_updates(ring.task, ring.base, [member(alice, 1)])

    assert all(np.array_equal(once.mantissas[name], twice.mantissas[name]) for name in once.mantissas)
    assert once.digest != twice.digest


# --- joining ---


@given(st.lists(st.tuples(st.lists(int64s, min_size=1, max_size=4), st.integers(1, 3)), min_size=1, max_size=4))
def test_joined_parts_are_the_same_fractions(pieces: list[tuple[list[int], int]]) -> None:
    joined = join([part(numerators, denominator) for numerators, denominator in pieces])

    denominators = np.broadcast_to(np.asarray(joined.denominator), joined.numerators.shape)
    found = [Fraction(int(n), int(d)) for n, d in zip(joined.numerators, denominators, strict=True)]
    assert found == [Fraction(n, denominator) for numerators, denominator in pieces for n in numerators]


def test_one_denominator_stays_one_however_the_work_was_cut() -> None:
    whole = part([1, 2, 3, 4], 9)

    for cut in (1, 2, 3):
        assert join([part([1, 2, 3, 4][:cut], 9), part([1, 2, 3, 4][cut:], 9)]).digest() == whole.digest()


def test_denominators_of_each_coordinate_stay_so_however_the_work_was_cut() -> None:
    whole = part([1, 2, 3], [9, 9, 9])

    assert join([part([1], [9]), part([2, 3], [9, 9])]).digest() == whole.digest()
    assert whole.digest() != part([1, 2, 3], 9).digest()


# --- the one rounding ---


def test_change_is_rounded_once_half_to_even() -> None:
    assert move([10, 10, 10, 10], [1, 3, -1, -3], 2) == ([10, 12, 10, 8], 0)


def test_saturation_at_both_ends() -> None:
    assert move([TOP, TOP, -TOP, -TOP], [1, -1, -1, 1], 1) == ([TOP, TOP - 1, -TOP, 1 - TOP], 2)


def test_numerators_at_the_edge_of_int64_saturate() -> None:
    assert move([0, 0], [INT64_MAX, -INT64_MAX - 1], 1) == ([TOP, -TOP], 2)
    assert move([TOP, -TOP], [-INT64_MAX - 1, INT64_MAX], 1) == ([-TOP, TOP], 2)


@given(st.lists(st.tuples(st.integers(-TOP, TOP), int64s, st.integers(1, INT64_MAX)), min_size=1, max_size=8))
def test_any_change_equals_the_fraction_rounded_and_clipped(rows: list[tuple[int, int, int]]) -> None:
    before, numerators, denominators = (list(column) for column in zip(*rows, strict=True))

    after, saturated = moved(np.array(before, np.int32), part(numerators, denominators))

    exact = [q + round(Fraction(n, d)) for q, n, d in rows]
    assert after.tolist() == [max(-TOP, min(TOP, q)) for q in exact]
    assert saturated == sum(abs(q) > TOP for q in exact)
    for row in rows:  # and each alone, with one denominator for all
        assert move([row[0]], [row[1]], row[2]) == (
            [max(-TOP, min(TOP, row[0] + round(Fraction(*row[1:]))))],
            int(abs(row[0] + round(Fraction(*row[1:]))) > TOP),
        )


def test_chunks_leave_no_seam() -> None:
    size = 2 * CHUNK + 3
    specs = (TensorSpec("00000.w", (size,), TensorClass.TRAINABLE, 0),)
    base = Model(b"{}", 0, (), specs, {"00000.w": np.arange(size, dtype=np.int32)})
    ring = TinyRound(base=base)
    steps = (np.arange(size) % 32_767).astype(np.int16)
    update = ring.update("alice", deltas={"00000.w": steps}, exponents={"00000.w": 1})

    merged = apply_merge(plan_merge(ring.task, base, [member(update)]), base)

    assert np.array_equal(merged.mantissas["00000.w"], np.arange(size) + 2 * steps.astype(np.int32))
    assert merged.saturated == 0


def test_tensors_of_any_shape_keep_it() -> None:
    ring = TinyRound()
    merged = merge_updates(ring.task, ring.base, [member(ring.update("alice"))])

    assert {name: q.shape for name, q in merged.mantissas.items()} == {
        name: q.shape for name, q in ring.base.mantissas.items()
    }
    assert [span.name for span in spans(ring.base.specs)][:2] == [KERNEL, BIAS]
