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

from processor.blocks import Member, Span, read_rows
from processor.kernels import looked_up
from processor.runs import Run
from protocol.errors import EmptyImportance
from protocol.fixed_point import UINT32_MAX
from protocol.tensors import read_span

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

    def sums(span: Span) -> list[int]:
        # the sum of a span, at most 2^17 of a uint8, is below 2^25
        return [int(_values(member, span).sum(dtype=np.uint32)) for member in members]

    totals: list[dict[str, int]] = [{} for _ in members]
    for span, row in zip(spans, run(sums, spans), strict=True):
        for total, value in zip(totals, row, strict=True):
            total[span.name] = total.get(span.name, 0) + value
    coordinates = sum(span.size for span in spans)
    return tuple(
        rescale_tables(total, member.update.importance_exponents or {}, coordinates)
        for total, member in zip(totals, members, strict=True)
    )


def rescaled_rows(span: Span, members: Sequence[Member], tables: Tables) -> NDArray[np.uint32]:
    """Return the members' rescaled importances in ``span``: uint32 (members, coordinates)."""
    values = read_rows(span, [(member.update.importance or {})[span.name] for member in members])
    return looked_up(np.asarray(values, np.uint8), np.stack([table[span.name] for table in tables]))


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


def _values(member: Member, span: Span) -> NDArray[np.uint8]:
    return read_span((member.update.importance or {})[span.name], span.start, span.stop)
