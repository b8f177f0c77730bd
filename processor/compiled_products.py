"""Products of 16-bit rows by the processor's own multiply-and-add of 16-bit pairs (AVX-512's vpmaddwd, and where there is VNNI
vpdpwssd): the same integers as processor.compiled_distances, in a fraction of its time.

A register is multiplied lane by lane, two values each, and lanes are added up in 32 bits; after some steps in 64. By
Cauchy-Schwarz no lane of two rows' products ends beyond the larger of the two rows' sums of squares in it, and what wraps
around on the way wraps back: with sums of squares below 2^31 (`_fits`) 32 bits hold every result. Where values are too large
for that, a row b is split into bytes, b = 256 high + low with |high|, |low| <= 128: then a pair of products is at most
2 * 2^15 * 2^7 = 2^23 in magnitude, and a lane takes `MOST_STEPS` = 2^6 of them, 2^29.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import codegen, config
from numba.extending import intrinsic
from numpy.typing import NDArray

LANES = 32  # values of 16 bits in a register
MOST_STEPS = 1 << 6  # registers of a row at a time
LEAST_STEPS = 1 << 3
WORTH_STEPS = 1 << 4  # that a lane must take of whole values; with fewer of them bytes cost less
SQUARES_SHIFT = 7  # so that MOST_STEPS squares of pairs, each at most 2^31, stay below 2^31 together
MOST_SQUARES = (1 << 31 - SQUARES_SHIFT) - 1
CACHE_BYTES = 3 << 18  # of a row's values and their bytes, three arrays of 16 bits, for all rows: in the second cache
TALL, WIDE = (
    4,
    2,
)  # rows by rows of a tile of bytes: 16 sums, high and low, and 8 factors fit the 32 registers; else TALL by TALL

_WORD, _SHORTS = ir.IntType(64), ir.VectorType(ir.IntType(16), LANES)
_INTS = ir.VectorType(ir.IntType(32), LANES // 2)

_compile = njit(nogil=True, cache=True, error_model="numpy")


def is_usable() -> bool:
    """Return whether Numba compiles for a processor that has the instruction."""
    chosen = config.CPU_NAME is None and config.CPU_FEATURES is None and not config.DISABLE_JIT
    return chosen and "+avx512bw" in _host_features()


@cache
def _host_features() -> frozenset[str]:
    return frozenset(codegen.get_host_cpu_features().split(","))


def products(rows: NDArray[np.signedinteger]) -> NDArray[np.int64]:
    """Return rows @ rows.T, int64.

    Args:
        rows: (members, coordinates) of int8 or int16, below 2^47 coordinates.
    """
    steps = max(LEAST_STEPS, min(MOST_STEPS, CACHE_BYTES // (6 * LANES * len(rows))))
    tall = (len(rows) + TALL - 1) // TALL * TALL
    return np.asarray(_products(rows, _room(tall, LANES * steps)))


def _room(tall: int, piece: int) -> NDArray[np.int16]:
    """Return zeros for a piece of all rows, whole, and their bytes: (3, tall, pitch), each row from the beginning of a line."""
    pitch = piece + LANES  # rows a power of 2 apart would take each other's place in the nearest cache
    size = 3 * tall * pitch
    raw = np.zeros(size + LANES, np.int16)
    start = -raw.ctypes.data % (2 * LANES) // 2
    return raw[start : start + size].reshape(3, tall, pitch)


@_compile
def _products(rows: NDArray[np.signedinteger], room: NDArray[np.int16]) -> NDArray[np.int64]:
    members, size = rows.shape
    values, high, low = room[0], room[1], room[2]
    tall, piece = len(values), values.shape[1] - LANES
    total = np.zeros((tall, tall), np.int64)
    for begin in range(0, size, piece):
        width = min(piece, size - begin)
        steps = (width + LANES - 1) // LANES
        for k in range(members):
            row, value = rows[k, begin : begin + width], values[k]
            for c in range(width):
                value[c] = row[c]
            value[width : steps * LANES] = 0  # what is left there of the piece before
        at_once = _steps_at_once(values, steps)
        if at_once:
            _add_products(values, steps, at_once, total)
        else:
            for k in range(members):
                _split(values[k, : steps * LANES], high[k], low[k])
            _add_byte_products(values, high, low, steps, total)
    for i in range(members):
        for j in range(i):
            total[j, i] = total[i, j]
    return total[:members, :members].copy()


@_compile
def _steps_at_once(values: NDArray[np.int16], steps: int) -> int:
    """Return how many of ``steps`` registers a lane takes of whole values, 0 where bytes cost less."""
    at_once = steps
    while not _fits(values, steps, at_once):
        at_once = (at_once + 1) // 2
        if at_once < WORTH_STEPS:
            return 0
    return at_once


@_compile
def _fits(values: NDArray[np.int16], steps: int, at_once: int) -> bool:
    """Return whether in no row any lane's squares reach 2^31 over ``at_once`` steps."""
    for first in range(0, steps, at_once):
        for k in range(len(values)):
            if _squares(values, k, first, min(first + at_once, steps)) > MOST_SQUARES:
                return False
    return True


@_compile
def _split(values: NDArray[np.int16], high: NDArray[np.int16], low: NDArray[np.int16]) -> None:
    for c in range(values.size):
        value = np.int32(values[c])
        byte = np.int32(np.int8(value))  # the lowest eight bits, signed
        low[c] = byte
        high[c] = (value - byte) >> 8


@_compile
def _add_products(values: NDArray[np.int16], steps: int, at_once: int, total: NDArray[np.int64]) -> None:
    tile = np.empty((TALL, TALL), np.int64)
    for i in range(0, len(total), TALL):
        for j in range(0, i + TALL, TALL):
            for first in range(0, steps, at_once):
                _tile(values, i, j, first, min(first + at_once, steps), tile)
                for x in range(TALL):
                    for y in range(TALL):
                        total[i + x, j + y] += tile[x, y]


@_compile
def _add_byte_products(
    values: NDArray[np.int16], high: NDArray[np.int16], low: NDArray[np.int16], steps: int, total: NDArray[np.int64]
) -> None:
    tile = np.empty((TALL, TALL), np.int64)
    for i in range(0, len(total), TALL):
        for j in range(0, i + TALL, WIDE):
            _byte_tile(values, high, low, i, j, steps, tile)
            for x in range(TALL):
                for y in range(WIDE):
                    total[i + x, j + y] += tile[x, y]


@intrinsic
def _squares(context: Any, values: Any, k: Any, first: Any, stop: Any) -> tuple[Any, Any]:
    """Return the largest of all lanes' sums of squares in row ``k``, each pair's in 2^7, rounded up: int64.

    Args:
        values, first, stop: As of `_tile`; at most `MOST_STEPS` registers.
    """

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, number, begin, end = arguments
        row = _row(context, builder, signature.args[0], array, number, 0)

        def add(sums: list[list[Any]], loaded: list[Any]) -> list[list[Any]]:
            shift, one = (ir.Constant(_INTS, [value] * (LANES // 2)) for value in (SQUARES_SHIFT, 1))
            pair = builder.lshr(_multiplied(builder, loaded[0], loaded[0]), shift)  # 2^31 at most, not negative
            return [[builder.add(sums[0][0], builder.add(pair, one))]]

        found = _emit_loop(builder, [row], [[None]], begin, end, add)
        largest = _declared(builder, "llvm.vector.reduce.umax.v16i32", ir.FunctionType(ir.IntType(32), [_INTS]))
        return builder.zext(builder.call(largest, [found[0][0]]), _WORD)

    return types.int64(values, k, first, stop), emit


@intrinsic
def _tile(context: Any, values: Any, i: Any, j: Any, first: Any, stop: Any, tile: Any) -> tuple[Any, Any]:
    """Set ``tile`` to the products of rows i ... i + 3 of ``values`` with rows j ... j + 3.

    Args:
        values: int16 of shape (rows, pitch), C order. first, stop: Which registers of each row count, at least one.
        tile: int64 of shape (TALL, TALL), C order.
    """

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, one, other, begin, end, result = arguments
        rows = [_row(context, builder, signature.args[0], array, at, k) for at in (one, other) for k in range(TALL)]
        found = _emit_products(builder, rows, begin, end)
        return _emit_stores(context, builder, signature.args[5], result, found)

    return types.void(values, i, j, first, stop, tile), emit


@intrinsic
def _byte_tile(
    context: Any, values: Any, high: Any, low: Any, i: Any, j: Any, steps: Any, tile: Any
) -> tuple[Any, Any]:
    """Set the first two columns of ``tile`` to the products of rows i ... i + 3 of ``values`` with rows j, j + 1 of
    ``high`` * 256 + ``low``.

    Args:
        values, high, low: int16 of shape (rows, pitch), C order. steps: Registers of each row that count, at least one.
        tile: int64 of shape (TALL, TALL), C order.
    """

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole, upper, lower, one, other, count, result = arguments
        rows = [_row(context, builder, signature.args[0], whole, one, k) for k in range(TALL)]
        rows += [
            _row(context, builder, signature.args[1], part, other, k) for part in (upper, lower) for k in range(WIDE)
        ]
        found = [
            [builder.add(builder.shl(line[y], _WORD(8)), line[WIDE + y]) for y in range(WIDE)]
            for line in _emit_products(builder, rows, _WORD(0), count)
        ]
        return _emit_stores(context, builder, signature.args[6], result, found)

    return types.void(values, high, low, i, j, steps, tile), emit


def _emit_products(builder: Any, rows: list[Any], first: Any, stop: Any) -> list[list[Any]]:
    """Build the products of each of the first TALL rows with each of the others, added up in 64 bits at the end."""

    def add(sums: list[list[Any]], loaded: list[Any]) -> list[list[Any]]:
        return [
            [builder.add(one, _multiplied(builder, a, b)) for one, b in zip(line, loaded[TALL:], strict=True)]
            for line, a in zip(sums, loaded[:TALL], strict=True)
        ]

    longs = ir.VectorType(_WORD, LANES // 2)
    add_up = _declared(builder, "llvm.vector.reduce.add.v16i64", ir.FunctionType(_WORD, [longs]))
    found = _emit_loop(builder, rows, [[None] * len(rows[TALL:])] * TALL, first, stop, add)
    return [[builder.call(add_up, [builder.sext(one, longs)]) for one in line] for line in found]


def _emit_loop(
    builder: Any, rows: list[Any], shape: list[list[None]], first: Any, stop: Any, add: Callable[..., list[list[Any]]]
) -> list[list[Any]]:
    """Build a loop in which a step loads a register of each row and adds something of them to sums of a shape, 0 at first."""
    before, loop, done = builder.block, builder.append_basic_block("step"), builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    step, zero = builder.phi(_WORD), ir.Constant(_INTS, [0] * (LANES // 2))
    sums = [[builder.phi(_INTS) for _ in line] for line in shape]
    offset = builder.mul(step, _WORD(2 * LANES))
    places = [builder.inttoptr(builder.add(row, offset), _SHORTS.as_pointer()) for row in rows]
    added = add(sums, [builder.load(place, align=2) for place in places])
    following = builder.add(step, _WORD(1))
    for node, start, then in [(step, first, following), *_phis(sums, added, zero)]:
        node.add_incoming(start, before)
        node.add_incoming(then, loop)
    builder.cbranch(builder.icmp_signed("<", following, stop), loop, done)
    builder.position_at_end(done)
    return added


def _multiplied(builder: Any, a: Any, b: Any) -> Any:
    """Return the sums of products of pairs, 32 bits each."""
    kind = ir.FunctionType(_INTS, [_SHORTS, _SHORTS])
    return builder.call(_declared(builder, "llvm.x86.avx512.pmaddw.d.512", kind), [a, b])


def _emit_stores(context: Any, builder: Any, kind: Any, tile: Any, found: list[list[Any]]) -> Any:
    """Build the stores of what was found to the beginnings of the rows of ``tile``."""
    place = context.make_array(kind)(context, builder, tile).data
    for x, line in enumerate(found):
        for y, value in enumerate(line):
            builder.store(value, builder.gep(place, [_WORD(TALL * x + y)]))
    return context.get_dummy_value()


def _phis(sums: list[list[Any]], added: list[list[Any]], zero: Any) -> list[tuple[Any, Any, Any]]:
    return [
        (one, zero, then)
        for line, after in zip(sums, added, strict=True)
        for one, then in zip(line, after, strict=True)
    ]


def _row(context: Any, builder: Any, kind: Any, array: Any, first: Any, number: int) -> Any:
    """Return the address of row ``first + number`` of an array."""
    found = context.make_array(kind)(context, builder, array)
    stride = builder.extract_value(found.strides, 0)
    start = builder.ptrtoint(found.data, _WORD)
    return builder.add(start, builder.mul(builder.add(first, _WORD(number)), stride))


def _declared(builder: Any, name: str, kind: Any) -> Any:
    return builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
