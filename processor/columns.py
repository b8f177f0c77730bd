"""Blocks read in the order in which updates lie in their files, all updates side by side, each byte once.

A column is what the same piece of every update's file holds (`protocol.content.Pieced`): spans of one or more tensors. A
file that is verified while it is read is so a piece at a time, so a column is read whole, by one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from processor.blocks import Block, Member, Span, read_rows
from protocol.content import Pieced, ReadAgain, Rows, read_together
from protocol.errors import ArtifactRefused, StoreUnavailable
from protocol.tensors import Array, Stored, Tensor

_ALIGNED = 64  # bytes: what ranges of a file that are read at once are a multiple of
MOST_TIMES = 8  # that a column is read: each time something of it was amiss, and mended

Column = tuple[Span, ...]
Tensors = Callable[[Span], Sequence[Tensor]]  # that of each member which a span is a part of
Result = TypeVar("Result")


def deltas(members: Sequence[Member]) -> Tensors:
    """Return what gives the members' changes."""
    return lambda span: [member.update.deltas[span.name] for member in members]


def columns(spans: Sequence[Span], tensors_of: Tensors) -> list[Column]:
    """Return ``spans`` cut and grouped as they lie in the pieces of the members' files; each alone where there are none.

    Args:
        spans: In name order, which is that of the files, as all tensors of one have one dtype.
    """
    grouped: dict[int, list[Span]] = {}
    for span in spans:
        tensors = _alike(tensors_of(span))
        if tensors is None:
            return [(span,) for span in spans]
        size, start = tensors[0].dtype.itemsize, tensors[0].start
        piece, rest = _pieced(tensors[0]).piece, span
        while rest.size:
            number = (start + rest.start * size) // piece
            stop = min(
                rest.stop, (piece * (number + 1) - start) // size
            )  # no coordinate lies in two: sizes are powers of 2
            _add(grouped.setdefault(number, []), replace(rest, stop=stop))
            rest = replace(rest, start=stop)
    return [tuple(group) for _, group in sorted(grouped.items())]


def read_column(column: Column, members: Sequence[Member], width: int) -> Iterator[Block]:
    """Yield the blocks of ``members`` in ``column``, of at most ``width`` coordinates; each valid until the next one.

    Raises:
        As `read_parts`.
    """
    for span, rows in read_parts(column, deltas(members), width):
        yield Block(span, rows, tuple(member.update.exponents[span.name] - span.grid for member in members))


def read_parts(column: Column, tensors_of: Tensors, width: int) -> Iterator[tuple[Span, Array]]:
    """Yield (span, rows) of ``column``, at most ``width`` coordinates at once; rows are valid until the next ones.

    Raises:
        ReadAgain: What was computed of them must not be used (`until_whole`).
        OutsideWindow: A guarded update (protocol.update) has a mantissa that it may not have.
        BlockMissing, BlockCorrupt, StoreUnavailable: An update's bytes are gone.
    """
    whole = [tensors_of(span) for span in column]
    tensors = [each for each in map(_alike, whole) if each is not None]
    if len(tensors) < len(column):
        for span, each in zip(column, whole, strict=True):
            room = np.empty(len(each) * min(width, span.size), each[0].dtype)  # one for all: never two blocks at a time
            for part in span.cut(width):
                yield part, read_rows(part, each, room[: len(each) * part.size])
        return
    size = tensors[0][0].dtype.itemsize
    begins = [each[0].start + span.start * size for span, each in zip(column, tensors, strict=True)]
    contents, stop = [tensor.content for tensor in tensors[0]], begins[-1] + column[-1].size * size
    reading = read_together(contents, begins[0], stop, max(_ALIGNED, width * size // _ALIGNED * _ALIGNED))
    try:
        for at, rows in reading:
            for span, begin, each in zip(column, begins, tensors, strict=True):
                low, high = max(at, begin), min(at + rows.shape[1], begin + span.size * size)
                if low < high:
                    first, last = span.start + (low - begin) // size, span.start + (high - begin) // size
                    yield replace(span, start=first, stop=last), _checked(each, rows[:, low - at : high - at])
    except ArtifactRefused:
        for _ in reading:
            pass  # to the end, where it shows whether these are the bytes of the update, or those of a damaged disk
        raise


def alike_tensors(column: Column, tensors_of: Tensors) -> list[list[Stored]] | None:
    """Return the members' tensors for each span of ``column`` where they lie side by side in files of pieces, else None."""
    tensors = [each for each in (_alike(tensors_of(span)) for span in column) if each is not None]
    return tensors if len(tensors) == len(column) else None


def until_whole(function: Callable[[Column], Result]) -> Callable[[Column], Result]:
    """Return ``function`` that is called again where a column that it read had to be mended."""

    def call(column: Column) -> Result:
        for _ in range(MOST_TIMES):
            try:
                return function(column)
            except ReadAgain:
                continue
        raise StoreUnavailable(
            "An update's files change while they are read.",
            f"Pieces of them were mended {MOST_TIMES} times and damaged again.",
            "Find out what writes to the store's directory, or check its disk.",
        )

    return call


def _add(group: list[Span], span: Span) -> None:
    """Append ``span``, as one with the last where it goes on from there."""
    if group and (group[-1].name, group[-1].stop) == (span.name, span.start):
        group[-1] = replace(group[-1], stop=span.stop)
    else:
        group.append(span)


def _alike(tensors: Sequence[Tensor]) -> list[Stored] | None:
    """Return tensors that all begin at the same byte of files that lie in pieces, else None."""
    stored = [tensor for tensor in tensors if isinstance(tensor, Stored)]
    if len(stored) < len(tensors) or not isinstance(stored[0].content, Pieced):
        return None
    first = stored[0]
    is_alike = all(one.start == first.start and one.content.size == first.content.size for one in stored)
    return stored if is_alike else None


def _pieced(tensor: Stored) -> Pieced:
    assert isinstance(tensor.content, Pieced)  # noqa: S101 - _alike says so; tells the type checker
    return tensor.content


def _checked(tensors: Sequence[Stored], rows: Rows) -> Array:
    """Return the coordinates that ``rows`` are the bytes of."""
    values = np.ascontiguousarray(rows).view(tensors[0].dtype)
    try:
        tensors[0].check(values)  # a guard looks at values alone, so one look does for all where none is refused
    except ArtifactRefused:
        for tensor, row in zip(tensors, values, strict=True):
            tensor.check(row)
        raise
    return values
