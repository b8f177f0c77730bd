"""Products of 16-bit rows by the processor's own multiply-and-add of 16-bit pairs (AVX-512's vpmaddwd): the same integers as
processor.compiled_distances, in half its time.

A row b is split into bytes, b = 256 high + low with |high|, |low| <= 128, so that 32-bit sums hold: a pair of products is at
most 2 * 2^15 * 2^7 = 2^23 in magnitude, and a lane takes `MOST_STEPS` = 2^6 of them, 2^29. The lanes are added up in 64 bits.
"""

from __future__ import annotations

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
CACHE_BYTES = 3 << 18  # of a row's values and their bytes, three arrays of 16 bits, for all rows: in the second cache
TALL, WIDE = 4, 2  # rows by rows of a tile: 16 sums, high and low, and 8 factors fit the 32 registers

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
    return np.asarray(_products(rows, LANES * steps))


@_compile
def _products(rows: NDArray[np.signedinteger], piece: int) -> NDArray[np.int64]:
    members, size = rows.shape
    tall = (members + TALL - 1) // TALL * TALL
    total = np.zeros((tall, tall), np.int64)
    values, high, low = (
        np.zeros((tall, piece), np.int16),
        np.zeros((tall, piece), np.int16),
        np.zeros((tall, piece), np.int16),
    )
    tile = np.empty((TALL, WIDE), np.int64)
    for begin in range(0, size, piece):
        width = min(piece, size - begin)
        steps = (width + LANES - 1) // LANES
        for k in range(members):
            _split(rows[k, begin : begin + width], values[k], high[k], low[k])
            values[k, width : steps * LANES] = 0  # what is left there of the piece before
        for i in range(0, tall, TALL):
            for j in range(0, i + TALL, WIDE):
                _tile(values, high, low, i, j, steps, tile)
                for x in range(TALL):
                    for y in range(WIDE):
                        total[i + x, j + y] += tile[x, y]
    for i in range(members):
        for j in range(i):
            total[j, i] = total[i, j]
    return total[:members, :members].copy()


@_compile
def _split(
    row: NDArray[np.signedinteger], values: NDArray[np.int16], high: NDArray[np.int16], low: NDArray[np.int16]
) -> None:
    for c in range(row.size):
        value = np.int32(row[c])
        byte = np.int32(np.int8(value))  # the lowest eight bits, signed
        values[c] = value
        low[c] = byte
        high[c] = (value - byte) >> 8


@intrinsic
def _tile(context: Any, values: Any, high: Any, low: Any, i: Any, j: Any, steps: Any, tile: Any) -> tuple[Any, Any]:
    """Set ``tile`` to the products of rows i ... i + 3 of ``values`` with rows j, j + 1 of ``high`` * 256 + ``low``.

    Args:
        values, high, low: int16 of shape (rows, piece), C order. steps: Registers of each row that count, at least one.
        tile: int64 of shape (TALL, WIDE), C order.
    """
    return types.void(values, high, low, i, j, steps, tile), _emit_tile


def _emit_tile(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Build the tile's loop: a step loads a register of each row and adds the products of its pairs to 16 sums."""
    word, shorts = ir.IntType(64), ir.VectorType(ir.IntType(16), LANES)
    ints, longs = ir.VectorType(ir.IntType(32), LANES // 2), ir.VectorType(word, LANES // 2)
    multiply = _declared(builder, "llvm.x86.avx512.pmaddw.d.512", ir.FunctionType(ints, [shorts, shorts]))
    add_up = _declared(builder, "llvm.vector.reduce.add.v16i64", ir.FunctionType(word, [longs]))
    values, high, low, i, j, steps, tile = arguments
    rows = [_row(context, builder, signature.args[0], values, i, k) for k in range(TALL)]
    rows += [_row(context, builder, signature.args[1], part, j, k) for part in (high, low) for k in range(WIDE)]

    before, loop, done = builder.block, builder.append_basic_block("step"), builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    step, zero = builder.phi(word), ir.Constant(ints, [0] * (LANES // 2))
    sums = [[builder.phi(ints) for _ in range(2 * WIDE)] for _ in range(TALL)]
    offset = builder.mul(step, word(2 * LANES))
    loaded = [builder.load(builder.inttoptr(builder.add(row, offset), shorts.as_pointer()), align=2) for row in rows]
    added = [
        [builder.add(one, builder.call(multiply, [a, b])) for one, b in zip(line, loaded[TALL:], strict=True)]
        for line, a in zip(sums, loaded[:TALL], strict=True)
    ]
    following = builder.add(step, word(1))
    for node, first, then in [(step, word(0), following), *_phis(sums, added, zero)]:
        node.add_incoming(first, before)
        node.add_incoming(then, loop)
    builder.cbranch(builder.icmp_signed("<", following, steps), loop, done)

    builder.position_at_end(done)
    place = context.make_array(signature.args[6])(context, builder, tile).data
    for x, line in enumerate(added):
        found = [builder.call(add_up, [builder.sext(one, longs)]) for one in line]
        for y in range(WIDE):
            value = builder.add(builder.shl(found[y], word(8)), found[WIDE + y])
            builder.store(value, builder.gep(place, [word(WIDE * x + y)]))
    return context.get_dummy_value()


def _phis(sums: list[list[Any]], added: list[list[Any]], zero: Any) -> list[tuple[Any, Any, Any]]:
    return [
        (one, zero, then)
        for line, after in zip(sums, added, strict=True)
        for one, then in zip(line, after, strict=True)
    ]


def _row(context: Any, builder: Any, kind: Any, array: Any, first: Any, number: int) -> Any:
    """Return the address of row ``first + number`` of an array."""
    found, word = context.make_array(kind)(context, builder, array), ir.IntType(64)
    stride = builder.extract_value(found.strides, 0)
    start = builder.ptrtoint(found.data, word)
    return builder.add(start, builder.mul(builder.add(first, word(number)), stride))


def _declared(builder: Any, name: str, kind: Any) -> Any:
    return builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
