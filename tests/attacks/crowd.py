"""An honest crowd that agrees but for noise, what an attacker makes of its own training, and how far a round follows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processor.round import Derivation
from protocol.specs import trainable_specs
from protocol.update import Update
from tests.processor.factory import TinyRound
from tests.processor.robust_rounds import alike, ring_of, with_change

HONEST = ["alice", "bob", "carol", "dave", "erin", "frank", "grace"]
SELECTING = {"krum", "multi-krum", "bulyan"}
Move = Mapping[str, NDArray[Any]]  # by trainable tensor, in steps of its grid

# Rules, and the settings under which they bear that many hostile updates beside seven honest ones.
RULES: Sequence[tuple[str, Mapping[str, Any], int]] = (
    ("median", {}, 3),
    ("trimmed-mean", {"trim": 3}, 3),
    ("krum", {"byzantine": 3}, 3),
    ("multi-krum", {"byzantine": 3}, 3),
    ("bulyan", {"byzantine": 1}, 1),
)


def crowd(rule: str, terms: Mapping[str, Any]) -> tuple[TinyRound, list[Update]]:
    """A round of ``rule`` to which the honest have posted; and their updates."""
    ring = ring_of(rule, **terms)
    updates = alike(ring, HONEST)
    for name, update in zip(HONEST, updates, strict=True):
        ring.post(name, update)
    return ring, updates


def scaled(ring: TinyRound, name: str, factor: int) -> Update:
    """What honest training gave ``name``, times ``factor``."""
    (update,) = alike(ring, [name])
    for spec in trainable_specs(ring.base.specs):
        update = with_change(update, ring.base, spec.name, wanted(ring, update)[spec.name] * factor)
    return update


def wanted(ring: TinyRound, update: Update) -> Move:
    """The change that an update asks for."""
    return {
        spec.name: np.array(update.deltas[spec.name], np.int64) << (update.exponents[spec.name] - spec.grid)
        for spec in trainable_specs(ring.base.specs)
    }


def moved(ring: TinyRound, derivation: Derivation) -> Move:
    """The change that a round made; it must have made one."""
    assert derivation.model is not None
    after = derivation.model.mantissas
    return {
        spec.name: after[spec.name].astype(np.int64) - ring.base.mantissas[spec.name]
        for spec in trainable_specs(ring.base.specs)
    }


def is_between(ring: TinyRound, move: Move, updates: Sequence[Update]) -> bool:
    """Whether every weight moved no less and no more than one of ``updates`` wanted it to."""
    for name, steps in move.items():
        asked = np.stack([wanted(ring, update)[name] for update in updates])
        if (steps < asked.min(axis=0)).any() or (steps > asked.max(axis=0)).any():
            return False
    return True


def inner(ring: TinyRound, one: Move, other: Move) -> float:
    """The inner product of two changes, in the weights' units."""
    grids = {spec.name: spec.grid for spec in trainable_specs(ring.base.specs)}
    return sum(float((steps.astype(float) * other[name]).sum()) * 4.0 ** grids[name] for name, steps in one.items())


def length(ring: TinyRound, move: Move) -> float:
    """The norm of a change, in the weights' units."""
    return float(inner(ring, move, move) ** 0.5)


def progress(ring: TinyRound, derivation: Derivation, honest: Sequence[Update]) -> float:
    """How far the model went along the honest clients' mean: 1 is all the way, negative is back."""
    asked = [wanted(ring, update) for update in honest]
    mean = {name: sum(move[name] for move in asked) / len(asked) for name in asked[0]}
    return inner(ring, moved(ring, derivation), mean) / inner(ring, mean, mean)
