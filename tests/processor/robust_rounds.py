"""Merges by a robust rule, and what they are compared with: everything over all trainable coordinates, in tensor order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from processor import engine
from processor.blocks import Member
from processor.engine import Merged, merge_updates
from processor.updates import Accepted
from protocol.model import Model
from protocol.specs import trainable_specs
from protocol.task import MergeRule
from protocol.types import Address, Digest
from protocol.update import Update
from tests.processor.factory import WINDOWS, TinyRound, account, tiny_model, tiny_task

MANTISSA_MOST = (1 << 24) - 1


def ring_of(rule: Any, delta_type: Any = "int16", seed: int = 0, span: int = 1 << 20, **terms: Any) -> TinyRound:
    """A round whose task merges by ``rule``."""
    task = tiny_task(merge=MergeRule(rule=rule, examples_cap=1000, **terms), delta_type=delta_type)
    return TinyRound(task=task, base=tiny_model(seed, span=span))


def clients(count: int) -> list[str]:
    """Names in order of their addresses."""
    return sorted((f"client {k}" for k in range(count)), key=lambda name: account(name).lower())


def accepted(count: int) -> list[Accepted]:
    """What screening would say of so many clients, in order of their addresses, weights 1, 2, 3 …"""
    return [Accepted(account(name), Digest(bytes(32)), 10 + k, 1, 1 + k) for k, name in enumerate(clients(count))]


def member(update: Update, weight: int | None = None) -> Member:
    """The update as if screening had accepted it; its weight is its examples unless given."""
    weight = update.examples if weight is None else weight
    return Member(Accepted(update.author, Digest(bytes(32)), update.examples, update.steps, weight), update)


@contextmanager
def blocks_of(width: int) -> Iterator[None]:
    """Merge in blocks of at most so many coordinates."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "block_width", lambda members, item_bytes: width)
        yield


def merge(ring: TinyRound, updates: Sequence[Update], width: int = 1 << 17) -> Merged:
    """Merge ``updates`` in blocks of ``width``."""
    with blocks_of(width):
        return merge_updates(ring.task, ring.base, [member(update) for update in updates])


def real_change(update: Update, base: Model) -> list[Fraction]:
    """The update's change of every trainable weight, as a real number."""
    return [
        int(q) * Fraction(2) ** update.exponents[spec.name]
        for spec in trainable_specs(base.specs)
        for q in update.deltas[spec.name].reshape(-1)  # type: ignore[union-attr]
    ]


def moved(base: Model, change: Sequence[Fraction]) -> list[int]:
    """The trainable mantissas after a change in real numbers: one rounding each, saturated."""
    values, at = [], 0
    for spec in trainable_specs(base.specs):
        for q in base.mantissas[spec.name].reshape(-1).tolist():
            value = q + round(change[at] / Fraction(2) ** spec.grid)
            values.append(max(-MANTISSA_MOST, min(MANTISSA_MOST, value)))
            at += 1
    return values


def trainable(merged: Merged, base: Model) -> list[int]:
    """All trainable mantissas of a merge."""
    return [q for spec in trainable_specs(base.specs) for q in merged.mantissas[spec.name].reshape(-1).tolist()]


def taken(merged: Merged) -> list[Address]:
    """Who was not left out, in order of address."""
    return sorted((client for client, weight in merged.weights.items() if weight), key=str.lower)


def alike(ring: TinyRound, names: Sequence[str], seed: int = 0, direction: int = 20, spread: int = 5) -> list[Update]:
    """Honest updates: one direction of ±``direction`` steps a coordinate, and each its own noise of up to ±``spread``."""
    signs = np.random.default_rng(seed)
    common = {spec.name: direction * signs.choice([-1, 1], spec.shape) for spec in trainable_specs(ring.base.specs)}

    def one(name: str) -> Update:
        update, noise = ring.update(name), np.random.default_rng(int.from_bytes(name.encode()) % 2**32 + seed)
        for spec in trainable_specs(ring.base.specs):
            delta = common[spec.name] + noise.integers(-spread, spread, spec.shape, endpoint=True)
            update = with_change(update, ring.base, spec.name, delta)
        return update

    return [one(name) for name in names]


def with_change(update: Update, base: Model, tensor: str, steps: NDArray[np.integer]) -> Update:
    """The update with ``steps`` of the base's grid as its change of ``tensor``, floored to the finest exponent that holds them."""
    dtype = update.deltas[tensor].dtype
    shift = 0
    while np.abs(steps >> shift).max() > WINDOWS[dtype.name][1]:
        shift += 1
    grid = next(spec.grid for spec in base.specs if spec.name == tensor)
    return replace(
        update,
        deltas={**update.deltas, tensor: (steps >> shift).astype(dtype)},
        exponents={**update.exponents, tensor: grid + shift},
    )
