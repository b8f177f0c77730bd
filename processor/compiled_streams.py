"""The sink of `processor.streams`, compiled: sums of rows while they lie in a processor's cache. See `processor.compiled`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import carray, cfunc, njit, types
from numba.core import config
from numpy.typing import NDArray

PIECE = 1 << 11  # coordinates at a time: their sums stay in the nearest cache while all rows pass by
TOGETHER = 8  # rows: the sums are loaded and stored an eighth as often

# The context: a head, then for each segment SEGMENT numbers and a factor for each member, then the sums.
HEAD = 7
SEGMENTS, MEMBERS, NARROW, LIMIT, OUTSIDE, SIZE, TAKEN = range(
    HEAD
)  # NARROW: whether int32 holds every sum; TAKEN: bytes
SEGMENT = 3
BEGIN, END, SUMS = range(SEGMENT)

_compile = njit(nogil=True, cache=True, error_model="numpy")


@cache
def sink(dtype: str) -> int | None:
    """Return the address of the compiled sink (protocol.content.Sink) for rows of "int8", "int16" or "int32".

    None where Numba runs its functions as Python, or cannot compile this one: others do its work.
    """
    if config.DISABLE_JIT:
        return None
    try:
        return _compiled_sink(dtype)
    except Exception:  # a compiler can fail in many ways, none of which changes a result
        return None


def _compiled_sink(dtype: str) -> int:
    kind = getattr(types, dtype)
    signature = types.void(types.CPointer(types.int64), types.CPointer(kind), *[types.int64] * 5)
    function: Any = _SINKS[dtype]
    return int(cfunc(signature, cache=True)(function).address)


def _take_int8(context: Any, rows: Any, stride: int, first: int, count: int, at: int, size: int) -> None:
    _take(context, carray(rows, ((count - 1) * stride + size,)), stride, 1, first, count, at, size)


def _take_int16(context: Any, rows: Any, stride: int, first: int, count: int, at: int, size: int) -> None:
    _take(context, carray(rows, (((count - 1) * stride + size) // 2,)), stride, 2, first, count, at, size)


def _take_int32(context: Any, rows: Any, stride: int, first: int, count: int, at: int, size: int) -> None:
    _take(context, carray(rows, (((count - 1) * stride + size) // 4,)), stride, 4, first, count, at, size)


_SINKS: dict[str, Callable[..., None]] = {"int8": _take_int8, "int16": _take_int16, "int32": _take_int32}


@_compile
def _take(context: Any, data: NDArray[Any], stride: int, item: int, first: int, count: int, at: int, size: int) -> None:
    """Add rows ``first`` to before ``first + count``, which lie ``stride`` bytes apart, to the sums of their segments."""
    head = carray(context, (HEAD,))
    whole = carray(context, (head[SIZE],))
    narrow, wide = np.empty(PIECE, np.int32), np.empty(PIECE, np.int64)
    step = stride // item
    for segment in range(head[SEGMENTS]):
        base = HEAD + segment * (SEGMENT + head[MEMBERS])
        begin, end = max(at, whole[base + BEGIN]), min(at + size, whole[base + END])
        factors = whole[base + SEGMENT + first : base + SEGMENT + first + count]
        for low in range(begin, end, PIECE * item):
            width = min(PIECE, (end - low) // item)
            rows = data[(low - at) // item :]
            head[OUTSIDE] |= _outside(rows, step, count, width, head[LIMIT])
            start = whole[base + SUMS] + (low - whole[base + BEGIN]) // item
            sums = whole[start : start + width]
            if head[NARROW]:
                _weighted_sum(rows, step, factors.astype(np.int32), narrow[:width])
                _put(narrow[:width], sums, first == 0)
            else:
                _weighted_sum(rows, step, factors, wide[:width])
                _put(wide[:width], sums, first == 0)
    head[TAKEN] += count * size  # last: Numba tells the caller of no error, such as that memory is out


@_compile
def _outside(rows: NDArray[Any], step: int, count: int, width: int, limit: int) -> np.int64:
    """Return whether a value is outside ±limit."""
    lowest = highest = rows.dtype.type(0)
    for k in range(count):
        row = rows[k * step : k * step + width]
        for i in range(width):
            lowest = min(lowest, row[i])
            highest = max(highest, row[i])
    return np.int64(lowest < -limit or highest > limit)


@_compile
def _weighted_sum(rows: NDArray[Any], step: int, factors: NDArray[Any], sums: NDArray[Any]) -> None:
    """Set ``sums``, of a dtype that holds every sum of any of the products in any order, to sum_k factors[k] * row k."""
    width = sums.size
    for i in range(width):
        sums[i] = 0
    k = 0
    while k + TOGETHER <= factors.size:
        at = k * step
        row0, row1 = rows[at : at + width], rows[at + step : at + step + width]
        row2, row3 = rows[at + 2 * step : at + 2 * step + width], rows[at + 3 * step : at + 3 * step + width]
        row4, row5 = rows[at + 4 * step : at + 4 * step + width], rows[at + 5 * step : at + 5 * step + width]
        row6, row7 = rows[at + 6 * step : at + 6 * step + width], rows[at + 7 * step : at + 7 * step + width]
        factor0, factor1 = np.int64(factors[k]), np.int64(factors[k + 1])
        factor2, factor3 = np.int64(factors[k + 2]), np.int64(factors[k + 3])
        factor4, factor5 = np.int64(factors[k + 4]), np.int64(factors[k + 5])
        factor6, factor7 = np.int64(factors[k + 6]), np.int64(factors[k + 7])
        for i in range(width):
            sums[i] += (
                row0[i] * factor0
                + row1[i] * factor1
                + row2[i] * factor2
                + row3[i] * factor3
                + row4[i] * factor4
                + row5[i] * factor5
                + row6[i] * factor6
                + row7[i] * factor7
            )
        k += TOGETHER
    while k < factors.size:
        row, factor = rows[k * step : k * step + width], np.int64(factors[k])
        for i in range(width):
            sums[i] += row[i] * factor
        k += 1


@_compile
def _put(found: NDArray[Any], sums: NDArray[np.int64], is_first: bool) -> None:
    if is_first:
        for i in range(found.size):
            sums[i] = found[i]
    else:
        for i in range(found.size):
            sums[i] += found[i]
