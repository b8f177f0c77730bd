"""Consolidation: the federation's importance F for Elastic Weight Consolidation, combined from the clients' in integers.

EWC: Kirkpatrick et al., *Overcoming catastrophic forgetting in neural networks*, PNAS 2017. The online form with one F
and one anchor: Schwarz et al., *Progress & Compress*, ICML 2018, eq. 9, F <- gamma F + F_new.

A client's importance is u * 2^x, u uint8 a coordinate and x an exponent a tensor. Clients measure on different data and
scales, so each is first rescaled to mean 1 over all N trainable coordinates, as fixed-point with 16 fraction bits:

    r = min(floor(u * 2^x * N * 2^16 / T), 2^32 - 1),    T = sum over all coordinates of u * 2^x

Only differences of exponents matter. A tensor whose exponent is more than 64 below the largest one counts as zero, in T
too: its r would be 0 for every N up to 2^40, and a hostile exponent cannot make a number longer. Then, coordinate by
coordinate over the clients, a median or a trimmed mean: shape counts, loudness does not, and no minority decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from processor.merge import BLOCK
from processor.updates import Accepted, Load
from protocol.errors import EmptyImportance
from protocol.fixed_point import UINT32_MAX, add_saturating, floor_mul
from protocol.model import Model
from protocol.specs import trainable_specs
from protocol.task import Consolidation
from protocol.update import Update

FRACTION_BITS = 16  # of F and of a rescaled importance: 1.0 is 2^16
EXPONENT_SPAN = 64  # exponents further than this below the largest count as zero
WORKING_BYTES = 256 << 20  # for one pass over the clients

Scalar = TypeVar("Scalar", bound=np.generic)
Span = tuple[str, int, int]  # a tensor's name, first and past-the-last flat coordinate


def updates_needed(rule: Consolidation) -> int:
    """Return how many updates a consolidation needs: one for a median, one beyond the trimmed for a trimmed mean."""
    return 2 * rule.trim + 1 if rule.combine == "trimmed_mean" else 1


def consolidate(
    rule: Consolidation, base: Model, accepted: Sequence[Accepted], load: Load, working_bytes: int = WORKING_BYTES
) -> dict[str, NDArray[np.uint32]] | None:
    """Return the new importance, min(floor(gamma F) + combination, 2^32 - 1), or None where updates are too few.

    Memory is the result, one update and ``working_bytes``: coordinates are taken in as many passes over the updates as
    that allows, one where 4 bytes x coordinates x updates fit. Neither passes nor order of updates change the result.

    Args:
        rule: The task's consolidation; its ``decay`` is gamma.
        base: The round's base; its importance is F, zero before the first consolidation.
        accepted: The merged updates; each has importance that is not zero everywhere.
        load: Gives an update by its digest.

    Returns:
        uint32 with 16 fraction bits by trainable tensor, in the base's order and shapes.

    Raises:
        EmptyImportance: An update's importance is zero everywhere; screening refuses such updates.
    """
    if len(accepted) < updates_needed(rule):
        return None
    shapes = {spec.name: spec.shape for spec in trainable_specs(base.specs)}
    sizes = {name: base.mantissas[name].size for name in shapes}
    before = base.importance or {name: np.zeros(shape, dtype=np.uint32) for name, shape in shapes.items()}
    result = {name: np.empty(size, dtype=np.uint32) for name, size in sizes.items()}
    for spans in _passes(sizes, max(1, working_bytes // (4 * len(accepted)))):
        rows = _rescaled_rows(spans, accepted, load, sum(sizes.values()))
        for (name, start, stop), part in zip(spans, _split(rows, spans), strict=True):
            _consolidate_span(rule, before[name].reshape(-1)[start:stop], part, result[name][start:stop])
    return {name: result[name].reshape(shape) for name, shape in shapes.items()}


def _consolidate_span(
    rule: Consolidation, before: NDArray[np.uint32], rows: NDArray[np.uint32], out: NDArray[np.uint32]
) -> None:
    """Write min(floor(gamma F) + combination, 2^32 - 1) of one span to ``out``, block by block."""
    for start in range(0, out.size, BLOCK):
        part = slice(start, start + BLOCK)
        out[part] = add_saturating(floor_mul(before[part], rule.decay), combine(rows[:, part], rule))


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
    return {
        name: np.array([min(u * factor // total, UINT32_MAX) for u in range(256)], dtype=np.uint32)
        for name, factor in factors.items()
    }


def combine(rows: NDArray[np.uint32], rule: Consolidation) -> NDArray[np.uint64]:
    """Combine the clients' importances coordinate by coordinate.

    median: the middle one; of an even count, floor of the mean of the two middle ones.
    trimmed_mean: floor of the mean of what is left after dropping the ``trim`` largest and the ``trim`` smallest.

    Args:
        rows: uint32 of shape (clients, coordinates), clients >= `updates_needed`; sorted in place.
        rule: Which of the two, and ``trim``.

    Returns:
        uint64 of shape (coordinates,), every value below 2^32.
    """
    rows.sort(axis=0)
    clients = len(rows)
    trim = rule.trim if rule.combine == "trimmed_mean" else (clients - 1) // 2  # a median is what trimming leaves
    kept = rows[trim : clients - trim]
    total = kept.sum(axis=0, dtype=np.uint64)  # at most 2^32 clients x 2^32
    return np.asarray(total // np.uint64(len(kept)), dtype=np.uint64)


def _passes(sizes: Mapping[str, int], width: int) -> Iterator[list[Span]]:
    """Cut all coordinates into groups of spans, each of at most ``width`` coordinates together."""
    spans: list[Span] = []
    room = width
    for name, size in sizes.items():
        start = 0
        while start < size:
            stop = min(size, start + room)
            spans.append((name, start, stop))
            room -= stop - start
            start = stop
            if not room:
                yield spans
                spans, room = [], width
    if spans:
        yield spans


def _rescaled_rows(
    spans: Sequence[Span], accepted: Sequence[Accepted], load: Load, coordinates: int
) -> NDArray[np.uint32]:
    """Return the spans' rescaled importances, one row a client."""
    rows = np.empty((len(accepted), sum(stop - start for _, start, stop in spans)), dtype=np.uint32)
    for row, one in zip(rows, accepted, strict=True):
        importance, tables = _importance(load(one.digest), coordinates)
        for (name, start, stop), part in zip(spans, _split(row, spans), strict=True):
            # A uint8 is always inside its table; "clip" only saves numpy a buffer for raising halfway.
            np.take(tables[name], importance[name].reshape(-1)[start:stop], out=part, mode="clip")
    return rows


def _importance(
    update: Update, coordinates: int
) -> tuple[Mapping[str, NDArray[np.uint8]], dict[str, NDArray[np.uint32]]]:
    """Return an update's importance and its tables."""
    values, exponents = update.importance or {}, update.importance_exponents or {}
    sums = {name: int(tensor.sum(dtype=np.uint64)) for name, tensor in values.items()}
    return values, rescale_tables(sums, exponents, coordinates)


def _split(array: NDArray[Scalar], spans: Sequence[Span]) -> Iterator[NDArray[Scalar]]:
    """Yield the views of ``array`` that belong to the spans, which its last axis holds one after the other."""
    at = 0
    for _, start, stop in spans:
        yield array[..., at : at + stop - start]
        at += stop - start
