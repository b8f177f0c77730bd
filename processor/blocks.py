"""The unit of a merge: one span of one tensor, over all updates that take part.

Every result is put together from spans, and no span's result depends on another span, so it cannot matter how the work
was split among threads or machines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from processor.updates import Accepted
from protocol.specs import TensorClass, TensorSpec
from protocol.tensors import Tensor, read_span_into
from protocol.update import Update

CHUNK = 1 << 17  # coordinates of a span, and of what one part of the merge digest covers (SPECIFICATION P10)
ROOM = 16 << 20  # bytes of all rows of a block together, so that memory does not grow with the number of updates
NARROWEST = 1 << 10  # coordinates of a block at least: with more than 2^14 updates a block takes more than ROOM


@dataclass(frozen=True, slots=True)
class Span:
    """The coordinates ``start`` to before ``stop``, in C order, of the tensor ``name``; E of its grid is ``grid``."""

    name: str
    kind: TensorClass
    grid: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Coordinates of the span."""
        return self.stop - self.start

    def cut(self, width: int) -> Iterator[Span]:
        """Yield consecutive spans of at most ``width`` coordinates that cover this one."""
        for start in range(self.start, self.stop, width):
            yield replace(self, start=start, stop=min(start + width, self.stop))


@dataclass(frozen=True, slots=True)
class Member:
    """An update that takes part in a merge: what was accepted of it, and its tensors."""

    accepted: Accepted
    update: Update


@dataclass(frozen=True, slots=True)
class Block:
    """A span of all members' changes. The change of member k, in steps of the base's grid, is rows[k] * 2^shifts[k].

    Args:
        span: Which coordinates.
        rows: (members, coordinates) of int8, int16 or int32, C order.
        shifts: e - E of each member, at least 0; |rows[k]| * 2^shifts[k] < 2^22 (SPECIFICATION A6).
        importance: (members, coordinates) uint32 with 16 fraction bits, rescaled to mean 1 (processor.importance), where
            the rule reads it; else None.
    """

    span: Span
    rows: NDArray[np.signedinteger]
    shifts: tuple[int, ...]
    importance: NDArray[np.uint32] | None = None

    def changes(self) -> NDArray[np.int32]:
        """Return all changes in grid steps: int32 of the rows' shape, each below 2^22 in magnitude."""
        wide = self.rows.astype(np.int32)
        np.left_shift(wide, np.array(self.shifts, np.int32)[:, None], out=wide)
        return wide


def spans(specs: Iterable[TensorSpec], width: int = CHUNK) -> list[Span]:
    """Return the spans of at most ``width`` coordinates that cover the trainables and statistics of ``specs``, in order."""
    return [
        part
        for spec in specs
        if spec.kind is not TensorClass.CONSTANT
        for part in Span(spec.name, spec.kind, spec.grid, 0, int(np.prod(spec.shape, dtype=np.int64))).cut(width)
    ]


def block_width(members: int, item_bytes: int) -> int:
    """Return the coordinates that a block of so many rows should have to stay within `ROOM`."""
    return max(NARROWEST, min(CHUNK, ROOM // max(1, members * item_bytes)))


def read_block(span: Span, members: Sequence[Member]) -> Block:
    """Read the changes of ``members`` in ``span``.

    Raises:
        BlockMissing, BlockCorrupt, StoreUnavailable: An update's bytes, verified before, are gone.
    """
    rows = read_rows(span, [member.update.deltas[span.name] for member in members])
    return Block(span, rows, tuple(member.update.exponents[span.name] - span.grid for member in members))


def read_rows(
    span: Span, tensors: Sequence[Tensor], room: NDArray[np.signedinteger] | None = None
) -> NDArray[np.signedinteger]:
    """Read ``span`` of one tensor a member, all of one dtype, into the rows of one array: in ``room``, (members * coordinates,)
    of their dtype, where it is given.
    """
    found = np.empty(len(tensors) * span.size, tensors[0].dtype) if room is None else room
    rows = found.reshape(len(tensors), span.size)
    for row, tensor in zip(rows, tensors, strict=True):
        read_span_into(tensor, span.start, row)
    return rows
