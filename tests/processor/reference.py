"""The processor's arithmetic once more, slow and plain: one coordinate at a time, in exact fractions of real numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

from protocol.model import Model
from protocol.specs import TensorClass, merged_specs, trainable_specs
from protocol.task import Consolidation
from protocol.update import Update

MANTISSA_MOST, UINT32_MOST = (1 << 24) - 1, (1 << 32) - 1
Flat = Mapping[str, list[int]]


def fedavg(base: Model, updates: Sequence[Update], uniform: bool = False) -> tuple[Flat, int]:
    """Mantissas of the weighted mean of the updated weights, and how many were saturated."""
    result, saturated = {}, 0
    for spec in merged_specs(base.specs):
        by_examples = not uniform or spec.kind is TensorClass.STATISTIC
        weights = [update.examples if by_examples else 1 for update in updates]
        step = Fraction(2) ** spec.grid
        moved = []
        for at, mantissa in enumerate(base.mantissas[spec.name].reshape(-1).tolist()):
            changes = [
                int(update.deltas[spec.name].reshape(-1)[at]) * Fraction(2) ** update.exponents[spec.name]
                for update in updates
            ]
            mean = sum((n * change for n, change in zip(weights, changes, strict=True)), Fraction(0)) / sum(weights)
            moved.append(mantissa + round(mean / step))
        saturated += sum(abs(q) > MANTISSA_MOST for q in moved)
        result[spec.name] = [max(-MANTISSA_MOST, min(MANTISSA_MOST, q)) for q in moved]
    return result, saturated


def rescaled(update: Update) -> list[int]:
    """One client's importance over all trainable coordinates, in tensor order, rescaled to mean 1.0 = 2^16."""
    tensors, exponents = update.importance or {}, update.importance_exponents or {}
    largest = max(exponents[name] for name, tensor in tensors.items() if tensor.any())
    values: list[Fraction] = []
    for name in sorted(tensors):
        scale = Fraction(2) ** exponents[name] if exponents[name] >= largest - 64 else Fraction(0)
        values += [int(u) * scale for u in tensors[name].reshape(-1)]
    total = sum(values)
    return [min(math.floor(value * len(values) * 65536 / total), UINT32_MOST) for value in values]


def consolidated(rule: Consolidation, base: Model, updates: Sequence[Update]) -> Flat:
    """The new importance by tensor."""
    columns = list(zip(*map(rescaled, updates), strict=True))
    result, at = {}, 0
    for spec in trainable_specs(base.specs):
        before = base.importance[spec.name].reshape(-1).tolist() if base.importance else [0] * math.prod(spec.shape)
        result[spec.name] = [
            min(math.floor(f * rule.decay) + combined(columns[at + i], rule), UINT32_MOST) for i, f in enumerate(before)
        ]
        at += len(before)
    return result


def combined(values: Sequence[int], rule: Consolidation) -> int:
    """Median or trimmed mean of one coordinate over the clients, floored."""
    ordered, count = sorted(values), len(values)
    if rule.combine == "trimmed_mean":
        kept = ordered[rule.trim : count - rule.trim]
        return sum(kept) // len(kept)
    if count % 2:
        return ordered[count // 2]
    return (ordered[count // 2 - 1] + ordered[count // 2]) // 2
