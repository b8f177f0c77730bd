"""A whole merge once more, slow and plain, for every rule, bound and step: one coordinate at a time, in exact fractions.

It knows the set of updates only: no blocks, no threads, no order but that of the clients' addresses, which ties need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from protocol.model import Model
from protocol.specs import TensorClass, merged_specs, trainable_specs
from protocol.task import MergeRule, Task
from protocol.tensors import Tensor, whole
from protocol.types import Address
from protocol.update import Update
from tests.processor import reference_importance, reference_robust, reference_steps
from tests.processor.reference import MANTISSA_MOST, UINT32_MOST, Flat, rescaled

Column = Sequence[int]  # one coordinate's changes, of all clients, in grid steps
Moments = Mapping[str, list[reference_steps.Moments]]


@dataclass(frozen=True)
class Expected:
    """What a merge must come to. ``moments`` are those of the server's step by trainable tensor, flat."""

    mantissas: Flat
    saturated: int
    weights: Mapping[Address, int]
    moments: Moments


def merged(task: Task, base: Model, updates: Sequence[Update], before: Moments | None = None) -> Expected:
    """Merge ``updates``, of different clients, into ``base``; a client weighs its examples, or 1."""
    ordered = sorted(updates, key=lambda update: update.author.lower())
    columns = bounded(task.merge, base, ordered)
    weights, means = RULES[task.merge.rule](task.merge, base, ordered, columns)
    mantissas: dict[str, list[int]] = {}
    moments: dict[str, list[reference_steps.Moments]] = {}
    at = 0
    for spec in merged_specs(base.specs):
        moved = []
        if spec.kind is TensorClass.TRAINABLE:
            size = base.mantissas[spec.name].size
            old = before[spec.name] if before else [reference_steps.start(task.server)] * size
            stepped = [
                reference_steps.step(task.server, spec.grid, change, moment)
                for change, moment in zip(means[at : at + size], old, strict=True)
            ]
            moved, moments[spec.name] = [change for change, _ in stepped], [moment for _, moment in stepped]
            at += size
        else:
            moved = statistics(spec.name, spec.grid, ordered, weights)
        mantissas[spec.name] = [
            int(q) + round(change) for q, change in zip(base.mantissas[spec.name].reshape(-1), moved, strict=True)
        ]
    saturated = sum(abs(q) > MANTISSA_MOST for values in mantissas.values() for q in values)
    clipped = {name: [max(-MANTISSA_MOST, min(MANTISSA_MOST, q)) for q in q_s] for name, q_s in mantissas.items()}
    return Expected(clipped, saturated, {one.author: n for one, n in zip(ordered, weights, strict=True)}, moments)


def statistics(name: str, grid: int, updates: Sequence[Update], weights: Sequence[int]) -> list[Fraction]:
    """The mean by examples of whoever was not left out, whatever the rule."""
    taking_part = [update for update, weight in zip(updates, weights, strict=True) if weight]
    total = sum(update.examples for update in taking_part)
    steps = [[q * Fraction(2) ** (one.exponents[name] - grid) for q in flat(one.deltas[name])] for one in taking_part]
    return [
        sum((one.examples * change for one, change in zip(taking_part, column, strict=True)), Fraction(0)) / total
        for column in zip(*steps, strict=True)
    ]


def bounded(terms: MergeRule, base: Model, updates: Sequence[Update]) -> list[Column]:
    """Every trainable coordinate's changes in whole grid steps, after norm bounding."""
    grids = [spec.grid for spec in trainable_specs(base.specs) for _ in range(base.mantissas[spec.name].size)]
    rows = [steps(base, update) for update in updates]
    if terms.bound != "none":
        real = [[q * Fraction(2) ** grid for q, grid in zip(row, grids, strict=True)] for row in rows]
        squares = [sum((value**2 for value in row), Fraction(0)) for row in real]
        limit = sorted(squares)[(len(squares) - 1) // 2] if terms.bound == "median" else terms.bound_norm**2
        factors = [reference_robust.norm_factor(row, limit) for row in real]
        rows = [[round(q * factor) for q in row] for row, factor in zip(rows, factors, strict=True)]
    return list(zip(*rows, strict=True))


def steps(base: Model, update: Update) -> list[int]:
    """An update's change of all trainable coordinates, in tensor order, in grid steps."""
    return [
        q * 2 ** (update.exponents[spec.name] - spec.grid)
        for spec in trainable_specs(base.specs)
        for q in flat(update.deltas[spec.name])
    ]


def flat(tensor: Tensor) -> list[int]:
    """A tensor's values in C order."""
    return [int(value) for value in whole(tensor).reshape(-1)]


def _weights(terms: MergeRule, updates: Sequence[Update]) -> list[int]:
    return [update.examples if terms.weighting == "examples" else 1 for update in updates]


def _mean(column: Column, weights: Sequence[int]) -> Fraction:
    return Fraction(sum(n * q for n, q in zip(weights, column, strict=True)), sum(weights))


def _fedavg(
    terms: MergeRule, base: Model, updates: Sequence[Update], columns: list[Column]
) -> tuple[list[int], list[Fraction]]:
    weights = _weights(terms, updates)
    return weights, [_mean(column, weights) for column in columns]


def _fisher(
    terms: MergeRule, base: Model, updates: Sequence[Update], columns: list[Column]
) -> tuple[list[int], list[Fraction]]:
    weights = _weights(terms, updates)
    floor = round(terms.fisher_floor * 65536)
    cap = min(round(terms.fisher_cap * 65536), UINT32_MOST)
    lost = next(bits for bits in range(64) if sum(weights) * ((floor + cap) >> bits) < reference_importance.LARGEST_SUM)
    importances = zip(*(rescaled(update) for update in updates), strict=True)
    return weights, [
        _mean(column, [n * ((floor + min(value, cap)) >> lost) for n, value in zip(weights, values, strict=True)])
        for column, values in zip(columns, importances, strict=True)
    ]


def _median(
    terms: MergeRule, base: Model, updates: Sequence[Update], columns: list[Column]
) -> tuple[list[int], list[Fraction]]:
    return [1] * len(updates), [reference_robust.median([Fraction(q) for q in column]) for column in columns]


def _trimmed_mean(
    terms: MergeRule, base: Model, updates: Sequence[Update], columns: list[Column]
) -> tuple[list[int], list[Fraction]]:
    return [1] * len(updates), [
        reference_robust.trimmed_mean([Fraction(q) for q in column], terms.trim) for column in columns
    ]


def _real(base: Model, columns: list[Column]) -> list[list[Fraction]]:
    """Each update's change in real numbers: distances run over tensors on different grids."""
    grids = [spec.grid for spec in trainable_specs(base.specs) for _ in range(base.mantissas[spec.name].size)]
    return [[q * Fraction(2) ** grid for q, grid in zip(row, grids, strict=True)] for row in zip(*columns, strict=True)]


def _krum(
    terms: MergeRule, base: Model, updates: Sequence[Update], columns: list[Column]
) -> tuple[list[int], list[Fraction]]:
    (chosen,) = reference_robust.multi_krum(_real(base, columns), terms.byzantine, 1)
    return [int(k == chosen) for k in range(len(updates))], [Fraction(column[chosen]) for column in columns]


def _multi_krum(
    terms: MergeRule, base: Model, updates: Sequence[Update], columns: list[Column]
) -> tuple[list[int], list[Fraction]]:
    keep = terms.keep or len(updates) - terms.byzantine
    chosen = reference_robust.multi_krum(_real(base, columns), terms.byzantine, keep)
    weights = [n if k in chosen else 0 for k, n in enumerate(_weights(terms, updates))]
    return weights, [_mean(column, weights) for column in columns]


def _bulyan(
    terms: MergeRule, base: Model, updates: Sequence[Update], columns: list[Column]
) -> tuple[list[int], list[Fraction]]:
    chosen = reference_robust.bulyan_selected(_real(base, columns), terms.byzantine)
    keep = len(updates) - 4 * terms.byzantine
    means = [reference_robust.nearest_mean([Fraction(column[k]) for k in chosen], keep) for column in columns]
    return [int(k in chosen) for k in range(len(updates))], means


RULES = {
    "fedavg": _fedavg,
    "fedcurv": _fedavg,
    "distilled": _fedavg,
    "fisher-weighted": _fisher,
    "median": _median,
    "trimmed-mean": _trimmed_mean,
    "krum": _krum,
    "multi-krum": _multi_krum,
    "bulyan": _bulyan,
}
