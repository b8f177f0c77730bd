"""The importances of a round's updates on one scale, so that they can be compared: each rescaled to mean 1, in integers.

A client's importance is u * 2^x, u uint8 a coordinate and x an exponent a tensor. Clients measure on different data and
scales, so each is first rescaled to mean 1 over all N trainable coordinates, as fixed-point with 16 fraction bits:

    r = min(floor(u * 2^x * N * 2^16 / T), 2^32 - 1),    T = sum over all coordinates of u * 2^x

Only differences of exponents matter. A tensor whose exponent is more than 64 below the largest one counts as zero, in T
too: its r would be 0 for every N up to 2^40, and a hostile exponent cannot make a number longer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from processor.blocks import Member, Span, block_width, read_rows
from processor.columns import Column, Tensors, columns, read_parts, until_whole
from processor.kernels import COMPILED_FROM, compiled, looked_up
from processor.runs import Run
from protocol.errors import EmptyImportance
from protocol.fixed_point import UINT32_MAX

FRACTION_BITS = 16  # of F and of a rescaled importance: 1.0 is 2^16
EXPONENT_SPAN = 64  # exponents further than this below the largest count as zero

Tables = tuple[Mapping[str, NDArray[np.uint32]], ...]  # for each member and tensor what each of the 256 values becomes


def rescaling(members: Sequence[Member], spans: Sequence[Span], run: Run) -> Tables:
    """Return the tables of all members; their importances are read once.

    Args:
        spans: Those that cover all trainable tensors.

    Raises:
        EmptyImportance: An importance is zero everywhere; screening refuses such updates.
    """

    def sums(column: Column) -> list[tuple[str, NDArray[np.int64]]]:
        parts = read_parts(column, importances(members), width)
        return [(span.name, _sums(np.asarray(values, np.uint8))) for span, values in parts]

    width = block_width(len(members), 4)
    totals: list[dict[str, int]] = [{} for _ in members]
    for found in run(until_whole(sums), columns(spans, importances(members))):
        for name, row in found:
            for total, value in zip(totals, row.tolist(), strict=True):
                total[name] = total.get(name, 0) + value
    coordinates = sum(span.size for span in spans)
    return tuple(
        rescale_tables(total, member.update.importance_exponents or {}, coordinates)
        for total, member in zip(totals, members, strict=True)
    )


def rescaled_rows(span: Span, members: Sequence[Member], tables: Tables) -> NDArray[np.uint32]:
    """Return the members' rescaled importances in ``span``: uint32 (members, coordinates)."""
    values = np.asarray(read_rows(span, importances(members)(span)), np.uint8)
    own = stacked(tables, span.name)
    fast = compiled("compiled_importance") if values.size >= COMPILED_FROM else None
    return looked_up(values, own) if fast is None else np.asarray(fast.rescaled(values, scales(own)))


def importances(members: Sequence[Member]) -> Tensors:
    """Return what gives the members' importances (processor.columns)."""
    return lambda span: [(member.update.importance or {})[span.name] for member in members]


def stacked(tables: Tables, name: str) -> NDArray[np.uint32]:
    """Return all members' tables of the tensor ``name``: (members, 256)."""
    return np.stack([table[name] for table in tables])


def scales(tables: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Return s for each of ``tables`` such that in float64 min(floor(u * s), 2^32 - 1) is table[u], for all 256 u.

    A table holds r_u = min(floor(u f), 2^32 - 1) with one f >= 0. So r_u / u <= f for every u > 0, and f < (r_u + 1) / u for
    those below 2^32 - 1: f lies between the largest of the ones and the smallest of the others. These are fractions with
    denominators below 2^8, so they are at least 2^-16 apart. s is the middle between them, so that u s is at least 2^-17 away
    from each r_u and r_u + 1 that it must lie between. All numbers are below 2^33, and roundings below 2^-19 each. Where all
    r_u saturate, s is the lower bound, 2^32 - 1, and exact.

    Args:
        tables: (members, 256), each as of `rescale_tables`.
    """
    values = np.arange(1, 256)
    wide = tables[:, 1:].astype(np.float64)
    low = (wide / values).max(axis=1)
    high = np.where(wide < UINT32_MAX, (wide + 1) / values, np.inf).min(axis=1)
    return np.asarray(np.where(np.isinf(high), low, (low + high) / 2))


def rescale_tables(
    sums: Mapping[str, int], exponents: Mapping[str, int], coordinates: int
) -> dict[str, NDArray[np.uint32]]:
    """Return for each tensor of one client what each of the 256 values of u becomes: exact, by the formula above.

    Args:
        sums: The sum of u over each tensor. exponents: x of each. coordinates: N, of all tensors together.

    Raises:
        EmptyImportance: All sums are zero.
    """
    nonzero = [name for name, total in sums.items() if total]
    if not nonzero:
        raise EmptyImportance(
            "An importance is zero everywhere.", "It has no mean to rescale.", "Measure it on at least one example."
        )
    largest = max(exponents[name] for name in nonzero)
    shifts = {name: exponents[name] - largest + EXPONENT_SPAN for name in nonzero}
    scales = {name: 1 << shift if shift >= 0 else 0 for name, shift in shifts.items()}  # 2^(x - largest + 64), or 0
    total = sum(sums[name] * scale for name, scale in scales.items())
    factors = {name: scales.get(name, 0) * coordinates << FRACTION_BITS for name in sums}
    tables = {  # tensors of one exponent share one
        factor: np.array([min(u * factor // total, UINT32_MAX) for u in range(256)], dtype=np.uint32)
        for factor in set(factors.values())
    }
    return {name: tables[factor] for name, factor in factors.items()}


def _sums(values: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the sum of each row, of at most 2^17 coordinates: below 2^25."""
    fast = compiled("compiled_importance") if values.size >= COMPILED_FROM else None
    return np.asarray(values.sum(axis=1, dtype=np.int64) if fast is None else fast.sums(values))
