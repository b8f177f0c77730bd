"""Consolidation: the federation's importance F for Elastic Weight Consolidation, combined from the clients' in integers.

EWC: Kirkpatrick et al., *Overcoming catastrophic forgetting in neural networks*, PNAS 2017. The online form with one F
and one anchor: Schwarz et al., *Progress & Compress*, ICML 2018, eq. 9, F <- gamma F + F_new.

The clients' importances, rescaled to mean 1 (processor.importance), are combined coordinate by coordinate, by a median or a
trimmed mean: shape counts, loudness does not, and no minority decides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from processor.blocks import Member, Span, block_width, spans
from processor.columns import Column, columns, read_parts, until_whole
from processor.importance import Tables, importances, rescaling, scales, stacked
from processor.kernels import COMPILED_FROM, compiled, looked_up
from processor.networks import MOST_WIRES, trimmed_sum, trimming, wires
from processor.runs import Run, serial
from protocol.fixed_point import add_saturating, floor_mul
from protocol.model import Model
from protocol.specs import trainable_specs
from protocol.task import Consolidation
from protocol.tensors import Array, empty_arrays

_Renewed = tuple[Span, NDArray[np.uint32]]
LARGEST_DIVISOR = 1 << 18  # by which compiled code divides


def updates_needed(rule: Consolidation) -> int:
    """Return how many updates a consolidation needs: one for a median, one beyond the trimmed for a trimmed mean."""
    return 2 * rule.trim + 1 if rule.combine == "trimmed_mean" else 1


def consolidate(
    rule: Consolidation, base: Model, members: Sequence[Member], run: Run = serial, shares_memory: bool = False
) -> dict[str, NDArray[np.uint32]] | None:
    """Return the new importance, min(floor(gamma F) + combination, 2^32 - 1), or None where updates are too few.

    Memory is the result and a bounded block for each piece of work under way.

    Args:
        rule: The task's consolidation; its ``decay`` is gamma.
        base: The round's base; its importance is F, zero before the first consolidation.
        members: The merged updates; each has importance that is not zero everywhere.
        shares_memory: Whether ``run`` works in this process's memory alone, so that it may write the result there.

    Returns:
        uint32 with 16 fraction bits by trainable tensor, in the base's order and shapes.

    Raises:
        EmptyImportance: An update's importance is zero everywhere; screening refuses such updates.
    """
    if len(members) < updates_needed(rule):
        return None
    trainable = trainable_specs(base.specs)
    whole = spans(trainable)
    tables = rescaling(members, whole, run)
    factors = _factors(tables, [spec.name for spec in trainable])

    result = empty_arrays({spec.name: spec.shape for spec in trainable}, np.dtype(np.uint32))
    shared = result if shares_memory else None  # what other machines work with is shipped to them

    def work(column: Column) -> list[_Renewed]:
        found = []
        for span, values in read_parts(column, importances(members), block_width(len(members), 4)):
            own, before = stacked(tables, span.name), _before(base, span)
            found.append((span, renewed(np.asarray(values, np.uint8), own, factors[span.name], before, rule)))
        return found if shared is None else _written(found, shared)

    for found in run(until_whole(work), columns(whole, importances(members))):
        _written(found, result)
    return result


def _factors(tables: Tables, names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Return `scales` of each tensor's tables; tensors share most of them (processor.importance.rescale_tables)."""
    known: dict[tuple[int, ...], NDArray[np.float64]] = {}
    found = {}
    for name in names:
        shared = tuple(id(each[name]) for each in tables)
        if shared not in known:
            known[shared] = scales(stacked(tables, name))
        found[name] = known[shared]
    return found


def _written(found: list[_Renewed], importance: dict[str, Array]) -> list[_Renewed]:
    """Write what came of spans to their place, and return nothing more of it."""
    for span, values in found:
        importance[span.name].reshape(-1)[span.start : span.stop] = values
    return []


def renewed(
    values: NDArray[np.uint8],
    tables: NDArray[np.uint32],
    factors: NDArray[np.float64],
    before: NDArray[np.uint32],
    rule: Consolidation,
) -> NDArray[np.uint32]:
    """Return the new importance of some coordinates.

    Args:
        values: The clients' importances, (clients, coordinates). tables: What each of their values counts as, (clients, 256).
        factors: `scales` of these. before: F, (coordinates,).
    """
    clients, trim = len(values), _trim(rule, len(values))
    fast = compiled("compiled_networks") if values.size >= COMPILED_FROM else None
    if (
        fast is not None
        and clients <= MOST_WIRES[True]
        and rule.decay <= 1
        and rule.decay.denominator <= LARGEST_DIVISOR
    ):
        room = wires(clients, np.dtype(np.uint32))
        totals, network = np.empty(room.shape[2], np.int64), trimming(clients, trim)
        decay = (float(rule.decay.numerator), float(rule.decay.denominator))
        return np.asarray(fast.consolidated(values, factors, network, trim, room, totals, before, *decay))
    return add_saturating(floor_mul(before, rule.decay), combine(looked_up(values, tables), rule))


def _before(base: Model, span: Span) -> NDArray[np.uint32]:
    if base.importance is None:
        return np.zeros(span.size, dtype=np.uint32)
    return base.importance[span.name].reshape(-1)[span.start : span.stop]


def combine(rows: NDArray[np.uint32], rule: Consolidation) -> NDArray[np.uint64]:
    """Combine the clients' importances coordinate by coordinate.

    median: the middle one; of an even count, floor of the mean of the two middle ones.
    trimmed_mean: floor of the mean of what is left after dropping the ``trim`` largest and the ``trim`` smallest.

    Args:
        rows: uint32 of shape (clients, coordinates), clients >= `updates_needed`; not changed.
        rule: Which of the two, and ``trim``.

    Returns:
        uint64 of shape (coordinates,), every value below 2^32.
    """
    clients, trim = len(rows), _trim(rule, len(rows))
    total = trimmed_sum(rows, trim).astype(np.uint64)  # at most 2^24 clients x 2^32
    return np.asarray(total // np.uint64(clients - 2 * trim), dtype=np.uint64)


def _trim(rule: Consolidation, clients: int) -> int:
    return rule.trim if rule.combine == "trimmed_mean" else (clients - 1) // 2  # a median is what trimming leaves
