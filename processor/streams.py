"""Weighted sums that compiled code makes of updates while they are read, and hashed, in a processor's cache.

The same integers as `processor.kernels.weighted_sum` makes of their blocks: nothing here decides what is summed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from processor.blocks import ROOM, Span
from processor.columns import Column, Tensors, alike_tensors
from processor.kernels import COMPILED_FROM, compiled
from protocol.content import Sink, read_together
from protocol.tensors import Stored
from protocol.update import WINDOW

WIDTH = 1 << 18  # bytes of a row that are asked for at once; they are summed in much smaller pieces
_ALIGNED = 64  # bytes: what ranges of a file that are read at once are a multiple of
_NARROW = 1 << 31

_ROOMS: list[NDArray[np.int64]] = []  # memory got from the system anew costs more than summing
Sums = Iterator[tuple[Span, NDArray[np.int64]]]


def streamed_sums(column: Column, tensors_of: Tensors, factors: Sequence[Sequence[int]]) -> Sums | None:
    """Return sum_k factors[k] * row k of each span of ``column``, int64 of shape (coordinates,), valid until the next one.

    Args:
        factors: For each span one a member, such that no sum can leave int64 (processor.weighted_mean).

    Returns:
        None where there is little to sum or no compiled code, the files do not lie in pieces, memory is out, or a value is
        outside its dtype's window: who reads the blocks finds out.

    Raises:
        As `processor.columns.read_parts`, but OutsideWindow.
    """
    tensors = alike_tensors(column, tensors_of)
    is_large = tensors is not None and sum(span.size for span in column) * len(tensors[0]) >= COMPILED_FROM
    module = compiled("compiled_streams") if is_large else None
    function = None if tensors is None or module is None else module.sink(tensors[0][0].dtype.name)
    if tensors is None or module is None or function is None:
        return None
    item = tensors[0][0].dtype.itemsize
    begins = [each[0].start + span.start * item for span, each in zip(column, tensors, strict=True)]
    context, places = _context(module, column, begins, tensors, factors)
    contents, stop = [tensor.content for tensor in tensors[0]], begins[-1] + column[-1].size * item
    width = max(_ALIGNED, min(WIDTH, ROOM // len(contents)) // _ALIGNED * _ALIGNED)
    try:
        for _ in read_together(contents, begins[0], stop, width, Sink(function, context.ctypes.data)):
            pass  # the sink has taken it
    except BaseException:
        _ROOMS.append(context)
        raise
    if context[module.OUTSIDE] or context[module.TAKEN] != len(contents) * (stop - begins[0]):
        _ROOMS.append(context)
        return None
    return _sums(column, context, places)


def _sums(column: Column, context: NDArray[np.int64], places: Sequence[int]) -> Sums:
    try:
        for span, place in zip(column, places, strict=True):
            yield span, context[place : place + span.size]
    finally:
        _ROOMS.append(context)


def _context(
    module: ModuleType,
    column: Column,
    begins: Sequence[int],
    tensors: Sequence[Sequence[Stored]],
    factors: Sequence[Sequence[int]],
) -> tuple[NDArray[np.int64], list[int]]:
    """Return the context of `processor.compiled_streams`, and where in it the sums of each span are."""
    members, dtype = len(tensors[0]), tensors[0][0].dtype
    table = module.HEAD + len(column) * (module.SEGMENT + members)
    places = [table + sum(span.size for span in column[:number]) for number in range(len(column))]
    size = table + sum(span.size for span in column)
    context = _room(size)
    # |value| < 2^(bits - 1), so no sum of any of the products reaches 2^31, whatever the values
    is_narrow = all(sum(each) << 8 * dtype.itemsize - 1 < _NARROW for each in factors)
    head = {
        module.SEGMENTS: len(column),
        module.MEMBERS: members,
        module.NARROW: is_narrow,
        module.LIMIT: WINDOW[dtype.name][1],
        module.OUTSIDE: 0,
        module.TAKEN: 0,
        module.SIZE: size,
    }
    for at, value in head.items():
        context[at] = value
    rows = context[module.HEAD : table].reshape(len(column), module.SEGMENT + members)
    for row, span, begin, place, each in zip(rows, column, begins, places, factors, strict=True):
        row[: module.SEGMENT] = begin, begin + span.size * dtype.itemsize, place
        row[module.SEGMENT :] = each
    return context, places


def _room(size: int) -> NDArray[np.int64]:
    try:
        room = _ROOMS.pop()
    except IndexError:
        room = np.empty(0, np.int64)
    return room if room.size >= size else np.empty(size, np.int64)
