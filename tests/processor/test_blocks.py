"""Spans and blocks: every coordinate once, within bounded room, the same numbers wherever the tensors lie."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.blocks import CHUNK, NARROWEST, ROOM, Block, Span, block_width, read_block, spans
from protocol.errors import BlockMissing
from protocol.specs import TensorClass, TensorSpec
from protocol.update import WINDOW
from tests.processor.contents import gone, stored
from tests.processor.factory import BIAS, COUNT, KERNEL, MEAN, VARIANCE, TinyRound, member, tiny_specs

KINDS = st.sampled_from(list(TensorClass))
shapes = st.lists(st.integers(1, 9), max_size=3).map(tuple)


def span(start: int, stop: int, name: str = KERNEL) -> Span:
    return Span(name, TensorClass.TRAINABLE, -20, start, stop)


@given(st.lists(st.tuples(KINDS, shapes), max_size=5), st.integers(1, 200))
def test_spans_cover_every_merged_coordinate_once_and_in_order(
    tensors: list[tuple[TensorClass, tuple[int, ...]]], width: int
) -> None:
    specs = [
        TensorSpec(f"{at:05}.t", shape, kind, None if kind is TensorClass.CONSTANT else -at)
        for at, (kind, shape) in enumerate(tensors)
    ]

    found = spans(specs, width)

    assert [(one.name, at) for one in found for at in range(one.start, one.stop)] == [
        (spec.name, at)
        for spec in specs
        if spec.kind is not TensorClass.CONSTANT
        for at in range(math.prod(spec.shape))
    ]
    assert all(1 <= one.size <= width for one in found)
    assert all(
        (one.kind, one.grid) == (specs[int(one.name[:5])].kind, specs[int(one.name[:5])].exponent) for one in found
    )


def test_spans_are_chunks_and_leave_constants_out() -> None:
    specs = (*tiny_specs(), TensorSpec("00009.w", (CHUNK, 2), TensorClass.TRAINABLE, 3))

    found = spans(specs)

    assert [one.name for one in found] == [KERNEL, BIAS, MEAN, VARIANCE, "00009.w", "00009.w"]
    assert COUNT not in {one.name for one in found}
    assert found[-1] == Span("00009.w", TensorClass.TRAINABLE, 3, CHUNK, 2 * CHUNK)


@given(st.integers(0, 50), st.integers(1, 50), st.integers(1, 60))
def test_a_cut_span_is_the_same_coordinates(start: int, size: int, width: int) -> None:
    pieces = list(span(start, start + size).cut(width))

    assert [at for piece in pieces for at in range(piece.start, piece.stop)] == list(range(start, start + size))
    assert all(piece.size == width for piece in pieces[:-1])
    assert all(replace(piece, start=0, stop=0) == span(0, 0) for piece in pieces)


@given(st.integers(0, 1 << 24), st.sampled_from([1, 2, 4]))
def test_a_block_keeps_within_its_room_or_is_as_narrow_as_can_be(members: int, item_bytes: int) -> None:
    width = block_width(members, item_bytes)

    assert NARROWEST <= width <= CHUNK
    assert width == NARROWEST or width * members * item_bytes <= ROOM
    assert width == CHUNK or (width + 1) * members * item_bytes > ROOM


@pytest.mark.parametrize("delta_type", sorted(WINDOW))
def test_the_edges_of_every_window_fit_an_int32(delta_type: str) -> None:
    shift, most = WINDOW[delta_type]
    block = Block(span(0, 3), np.array([[most, -most, 0], [1, -1, most]], delta_type), (shift, 0))

    changes = block.changes()

    assert changes.dtype == np.int32
    assert changes.tolist() == [[most << shift, -(most << shift), 0], [1, -1, most]]
    assert np.abs(changes).max() < 1 << 22
    assert block.rows.tolist() == [[most, -most, 0], [1, -1, most]]  # untouched


@given(st.integers(0, 11), st.integers(1, 12), st.sampled_from(sorted(WINDOW)))
def test_a_block_is_the_members_own_coordinates(start: int, size: int, delta_type: str) -> None:
    ring = TinyRound(task=replace(TinyRound().task, delta_type=delta_type))  # type: ignore[arg-type]
    updates = [ring.update(name) for name in ("alice", "bob", "carol")]
    part = span(start, min(start + size, 12))

    block = read_block(part, [member(update) for update in updates])

    assert block.rows.dtype == np.dtype(delta_type)
    assert block.changes().tolist() == [
        [
            int(q) * 2 ** (update.exponents[KERNEL] + 20)
            for q in np.asarray(update.deltas[KERNEL]).reshape(-1)[part.start : part.stop]
        ]
        for update in updates
    ]


def test_where_the_tensors_lie_does_not_matter(tmp_path: Path) -> None:
    alice = TinyRound().update("alice")
    delta = np.asarray(alice.deltas[KERNEL])
    kinds = [
        alice,
        stored(alice, tmp_path),
        replace(alice, deltas={**alice.deltas, KERNEL: np.asfortranarray(delta)}),
        replace(alice, deltas={**alice.deltas, KERNEL: np.repeat(delta, 2, axis=1)[:, ::2]}),
        replace(alice, deltas={**alice.deltas, KERNEL: delta.astype(">i2")}),
    ]

    for kind in kinds:
        block = read_block(span(2, 11), [member(alice), member(kind)])
        assert block.rows[0].tolist() == block.rows[1].tolist() == delta.reshape(-1)[2:11].tolist()
        assert block.rows.flags.c_contiguous


def test_bytes_that_are_gone_are_named() -> None:
    alice = TinyRound().update("alice")

    with pytest.raises(BlockMissing):
        read_block(span(0, 12), [member(alice), member(gone(alice))])
