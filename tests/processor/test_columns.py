"""Columns: every coordinate once, in the pieces that files lie in, and nobody is blamed for what was not verified."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.blocks import Block, Member, Span, read_block, spans
from processor.columns import MOST_TIMES, Column, columns, deltas, read_column, until_whole
from protocol import tensors
from protocol.content import Content, Held, Pieced, ReadAgain, Rows, Sink
from protocol.errors import BlockCorrupt, OutsideWindow, StoreUnavailable
from protocol.specs import TensorClass, TensorSpec
from protocol.types import Digest
from protocol.update import Update, guarded
from tests.processor.factory import TinyRound, account, member

PEOPLE = ("alice", "bob", "carol")
PIECE = 192  # bytes, so that tensors of a few dozen coordinates lie in several pieces
GRID = -20


@dataclass
class Cut(Pieced):
    """A file in pieces of ``piece`` bytes, of which those in ``amiss`` are other bytes until they were read whole once.

    Attributes:
        read_of: How often each piece was read side by side. lost: Pieces that nobody mends.
    """

    data: bytes
    piece: int = PIECE
    amiss: dict[int, bytes] = field(default_factory=dict)
    lost: set[int] = field(default_factory=set)
    read_of: dict[int, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self.data)

    @property
    def digests(self) -> tuple[Digest, ...]:
        """The sha-256 of each piece."""
        pieces = (self.data[at : at + self.piece] for at in range(0, self.size, self.piece))
        return tuple(Digest(hashlib.sha256(piece).digest()) for piece in pieces)

    def read(self, start: int, stop: int) -> bytes:
        """The verified bytes."""
        return self.data[start:stop]

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out`` with the verified bytes."""
        out[:] = self.data[start : start + len(out)]

    def read_beside(
        self, contents: Sequence[Content], start: int, stop: int, width: int, sink: Sink | None = None
    ) -> Iterator[tuple[int, Rows]] | None:
        """Piece by piece; what is amiss is said at the end of a piece, and is mended then."""
        alike = [one for one in contents if isinstance(one, Cut) and one.size == self.size]
        return self._read(alike, start, stop, width) if len(alike) == len(contents) else None

    def _read(self, contents: Sequence[Cut], start: int, stop: int, width: int) -> Iterator[tuple[int, Rows]]:
        assert width % 64 == 0 < width
        room = np.empty((len(contents), width), np.uint8)
        for number in range(start // self.piece, -(-stop // self.piece)):
            low, high = max(start, number * self.piece), min(stop, (number + 1) * self.piece)
            for at in range(low, high, width):
                rows = room.reshape(-1)[: len(contents) * min(width, high - at)].reshape(len(contents), -1)
                for row, one in zip(rows, contents, strict=True):
                    row[:] = np.frombuffer(one.now(number), np.uint8)[at - number * self.piece :][: row.size]
                yield at, rows
                rows[:] = 0xEE  # a row is valid until the next one is asked for
            for one in contents:
                one.read_of[number] = one.read_of.get(number, 0) + 1
                if number in one.lost:
                    raise BlockCorrupt(f"piece {number}", "a disk")
            mended = [one.amiss.pop(number, None) for one in contents]
            if mended.count(None) < len(mended):
                raise ReadAgain

    def now(self, number: int) -> bytes:
        """What the disk says."""
        return self.amiss.get(number, self.data[number * self.piece :][: self.piece])


def specs_of(shapes: Sequence[tuple[TensorClass, tuple[int, ...]]]) -> list[TensorSpec]:
    return [TensorSpec(f"{at:05}.t", shape, kind, GRID) for at, (kind, shape) in enumerate(shapes)]


def updates_of(specs: Sequence[TensorSpec], dtype: str = "int16", people: Sequence[str] = PEOPLE) -> list[Update]:
    """An update of each in memory, with changes of its own."""
    found = []
    for seed, name in enumerate(people):
        draw = np.random.default_rng(seed)
        values = {spec.name: draw.integers(-127, 128, spec.shape, dtype=dtype) for spec in specs}
        update = TinyRound().update(name)
        exponents = {spec.name: GRID + (seed if dtype != "int32" else 0) for spec in specs}
        found.append(replace(update, deltas=values, exponents=exponents))
    return found


def in_pieces(update: Update, piece: int = PIECE) -> Update:
    """``update`` with its changes in a `Cut`."""
    data = tensors.dumps({name: np.asarray(tensors.whole(delta)) for name, delta in update.deltas.items()})
    return replace(update, deltas=tensors.open_tensors(Cut(data, piece)))


def file_of(update: Update) -> Cut:
    (found,) = {id(one.content): one.content for one in update.deltas.values()}.values()  # type: ignore[union-attr]
    assert isinstance(found, Cut)
    return found


def members_of(updates: Sequence[Update]) -> list[Member]:
    return [member(update) for update in updates]


def kept(blocks: Iterator[Block]) -> list[Block]:
    """Blocks whose rows stay."""
    return [replace(block, rows=block.rows.copy()) for block in blocks]


def coordinates(parts: Sequence[Span]) -> list[tuple[str, int]]:
    return [(part.name, at) for part in parts for at in range(part.start, part.stop)]


shapes = st.lists(
    st.tuples(
        st.sampled_from([TensorClass.TRAINABLE, TensorClass.STATISTIC]),
        st.lists(st.integers(1, 40), min_size=1, max_size=2).map(tuple),
    ),
    min_size=1,
    max_size=6,
)


@given(
    shapes,
    st.integers(1, 4),
    st.sampled_from(["int8", "int16", "int32"]),
    st.sampled_from([64, 192, 1024, 1 << 20]),
    st.integers(1, 500),
    st.integers(1, 300),
    st.booleans(),
)
def test_columns_are_every_coordinate_once_as_it_is(
    shapes: list[tuple[TensorClass, tuple[int, ...]]],
    count: int,
    dtype: str,
    piece: int,
    span_width: int,
    width: int,
    only_trainables: bool,
) -> None:
    specs = specs_of(shapes)
    plain = updates_of(specs, dtype, [f"client {k}" for k in range(count)])
    members = members_of([in_pieces(update, piece) for update in plain])
    wanted = [spec for spec in specs if not only_trainables or spec.kind is TensorClass.TRAINABLE]
    every = spans(wanted, span_width)

    found = columns(every, deltas(members))

    assert sorted(coordinates([part for column in found for part in column])) == sorted(coordinates(every))
    seen = list[tuple[str, int]]()
    for column in found:
        assert len(pieces_of(column, members[0])) == 1  # which one thread reads whole
        for block in kept(read_column(column, members, width)):
            again = read_block(block.span, members_of(plain))
            assert block.rows.dtype == again.rows.dtype and block.rows.tolist() == again.rows.tolist()
            assert (block.shifts, block.span.kind, block.span.grid) == (again.shifts, again.span.kind, GRID)
            assert 0 < block.span.size <= max(width, 64 // np.dtype(dtype).itemsize)
            seen += coordinates([block.span])
    assert sorted(seen) == sorted(coordinates(every))
    assert len(seen) == sum(math.prod(spec.shape) for spec in wanted)
    if found and not only_trainables:
        file = file_of(members[0].update)
        assert set(file.read_of.values()) == {1}  # each byte once
        assert max(file.read_of) == (file.size - 1) // piece


def pieces_of(column: Column, one: Member) -> set[int]:
    file = file_of(one.update)
    found = set[int]()
    for part in column:
        tensor = one.update.deltas[part.name]
        assert isinstance(tensor, tensors.Stored)
        size = tensor.dtype.itemsize
        first, last = tensor.start + part.start * size, tensor.start + part.stop * size - 1
        found |= set(range(first // file.piece, last // file.piece + 1))
    return found


@given(shapes, st.integers(1, 200), st.integers(1, 100), st.sampled_from(["held", "mixed", "shifted"]))
def test_files_that_do_not_lie_alike_are_read_span_by_span(
    shapes: list[tuple[TensorClass, tuple[int, ...]]], span_width: int, width: int, kind: str
) -> None:
    specs = specs_of(shapes)
    plain = updates_of(specs)
    some = [in_pieces(update) for update in plain]
    if kind == "held":
        some = plain
    if kind == "mixed":
        some[1] = plain[1]
    if kind == "shifted":  # a file that says more
        more = {**plain[1].deltas, "99999.more": np.zeros(3, np.int16)}
        some[1] = in_pieces(replace(plain[1], deltas=more))
    every = spans(specs, span_width)

    found = columns(every, deltas(members_of(some)))

    assert found == [(span,) for span in every]
    for column in found:
        blocks = kept(read_column(column, members_of(some), width))
        assert coordinates([block.span for block in blocks]) == coordinates(column)
        for block in blocks:
            assert block.rows.tolist() == read_block(block.span, members_of(plain)).rows.tolist()


def test_a_span_alone_is_read_across_pieces() -> None:
    """As a witness is made: of spans that know nothing of pieces."""
    specs = specs_of([(TensorClass.TRAINABLE, (500,))])
    plain = updates_of(specs)
    members = members_of([in_pieces(update) for update in plain])
    (span,) = spans(specs)

    blocks = kept(read_column((span,), members, 1000))

    assert len(blocks) > 5
    assert np.concatenate([block.rows for block in blocks], axis=1).tolist() == [
        update.deltas["00000.t"].tolist()  # type: ignore[union-attr]
        for update in plain
    ]


# What has to be read again


def test_a_column_is_read_again_until_it_is_whole() -> None:
    specs = specs_of([(TensorClass.TRAINABLE, (500,)), (TensorClass.STATISTIC, (40,))])
    plain = updates_of(specs)
    some = [in_pieces(update) for update in plain]
    for number in range(len(file_of(some[0]).digests)):
        file_of(some[number % 3]).amiss[number] = bytes(PIECE)
    members = members_of(some)

    def sums(column: Column) -> list[Any]:
        return [(block.span.name, block.rows.astype(int).sum(axis=1)) for block in read_column(column, members, 64)]

    with pytest.raises(ReadAgain):
        sums(columns(spans(specs), deltas(members))[1])
    found: Any = {spec.name: 0 for spec in specs}
    for column in columns(spans(specs), deltas(members)):
        for name, part in until_whole(sums)(column):
            found[name] += part

    assert {name: total.tolist() for name, total in found.items()} == {
        spec.name: [int(np.asarray(update.deltas[spec.name]).sum()) for update in plain] for spec in specs
    }


def test_what_is_amiss_again_and_again_ends_with_an_error() -> None:
    times = list[Column]()

    def never(column: Column) -> None:
        times.append(column)
        raise ReadAgain

    with pytest.raises(StoreUnavailable, match="change while they are read") as caught:
        until_whole(never)(())
    assert len(times) == MOST_TIMES
    assert caught.value.do


def test_errors_are_not_tried_again() -> None:
    times = list[Column]()

    def corrupt(column: Column) -> None:
        times.append(column)
        raise BlockCorrupt("a leaf", "a disk")

    with pytest.raises(BlockCorrupt):
        until_whole(corrupt)(())
    assert len(times) == 1


# Who is to blame


def crowd(dtype: str = "int16", piece: int = PIECE) -> tuple[list[TensorSpec], list[Update]]:
    specs = specs_of([(TensorClass.TRAINABLE, (70,)), (TensorClass.TRAINABLE, (90, 3))])
    return specs, [in_pieces(update, piece) for update in updates_of(specs, dtype)]


def guard(updates: Sequence[Update]) -> list[Update]:
    return [guarded(update, f"The update of {update.author} is refused: ") for update in updates]


def read_all(specs: Sequence[TensorSpec], members: Sequence[Member], width: int = 64) -> list[Block]:
    found = list[Block]()
    for column in columns(spans(specs), deltas(members)):
        found += until_whole(lambda column: kept(read_column(column, members, width)))(column)
    return found


@pytest.mark.parametrize(("dtype", "outside"), [("int8", -128), ("int16", -32_768), ("int32", 1 << 22)])
@pytest.mark.parametrize("at", [0, 5, 269])
@pytest.mark.parametrize("who", [0, 1, 2])
@pytest.mark.parametrize("kind", ["pieces", "mixed"])
def test_a_mantissa_outside_its_window_is_its_authors(dtype: str, outside: int, at: int, who: int, kind: str) -> None:
    specs, some = crowd(dtype)
    loud = {name: np.array(tensors.whole(delta)) for name, delta in some[who].deltas.items()}
    loud["00001.t"].reshape(-1)[at] = outside
    some[who] = in_pieces(replace(some[who], deltas=loud))
    if kind == "mixed":
        data = file_of(some[2]).data
        some[2] = replace(some[2], deltas=tensors.open_tensors(Held(data)))

    with pytest.raises(OutsideWindow, match=r"00001\.t") as caught:
        read_all(specs, members_of(guard(some)))

    assert [name for name in PEOPLE if account(name) in str(caught.value)] == [PEOPLE[who]]


def test_mantissas_within_their_window_are_taken() -> None:
    specs, some = crowd()
    edges = {name: np.full_like(tensors.whole(delta), -32_767) for name, delta in some[0].deltas.items()}
    some[0] = in_pieces(replace(some[0], deltas=edges))

    assert {block.rows[0].min() for block in read_all(specs, members_of(guard(some)))} == {-32_767}


@pytest.mark.parametrize("width", [32, 96, 1 << 10])
@pytest.mark.parametrize("number", [2, 3])
def test_nobody_is_blamed_for_a_mantissa_that_a_disk_made(width: int, number: int) -> None:
    """The piece is mended, and holds what its author wrote."""
    specs, some = crowd()
    some = guard(some)
    file_of(some[1]).amiss[number] = b"\x00\x80" * (PIECE // 2)  # -32768 everywhere

    blocks = read_all(specs, members_of(some), width)

    assert not file_of(some[1]).amiss
    for block in blocks:
        assert block.rows.tolist() == read_block(block.span, members_of(updates_of(specs))).rows.tolist()


def test_nobody_is_blamed_for_a_mantissa_in_a_corrupt_piece() -> None:
    specs, some = crowd()
    some = guard(some)
    file_of(some[1]).amiss[2] = b"\x00\x80" * (PIECE // 2)
    file_of(some[1]).lost.add(2)

    with pytest.raises(BlockCorrupt, match="piece 2"):
        read_all(specs, members_of(some))
