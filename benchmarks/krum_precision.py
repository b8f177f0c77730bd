"""Whom multi-Krum keeps when honest updates lie close together: Flower by float32 distances, ours by exact ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.merge_inputs import EXPONENT
from benchmarks.merge_sides import Flower
from processor.blocks import Member
from processor.engine import plan_merge
from processor.updates import Accepted
from protocol.merge_terms import MergeRule
from protocol.model import Model
from protocol.specs import TensorClass, TensorSpec
from protocol.task import Task
from protocol.types import Digest, FederationId, RoundId, address
from protocol.update import Update

NAME = "00000.weights"
UPDATES, HOSTILE, PARAMETERS = 16, 3, 1_000_000
WEIGHT_STEPS = 1 << 20  # standard deviation of the weights, in steps of the grid
SPREAD = 1e-5  # of honest updates, beside the weights
PUSH = 3  # how many times as long as an honest change an attacker's is, all of them in one direction


def krum_precision(scratch: Path, flower: Flower | None) -> dict[str, Any]:
    """Return which of the attackers each side keeps among the n - f that it selects."""
    weights, changes = _vectors()
    keep = UPDATES - HOSTILE
    attackers = list(range(UPDATES - HOSTILE, UPDATES))
    record: dict[str, Any] = {
        "updates": UPDATES,
        "hostile": HOSTILE,
        "kept": keep,
        "parameters": PARAMETERS,
        "spread_of_weights": SPREAD,
        "attack": f"one direction, {PUSH} times as long as an honest change",
        "ours_keeps_attackers": [one for one in _ours(weights, changes, keep) if one in attackers],
    }
    if flower is not None:
        path = scratch / "krum.npy"
        np.save(path, ((weights + changes).astype(np.float32) * np.float32(2.0**EXPONENT)))  # exact: below 2^24 steps
        selected = flower.ask("krum_selects", vectors=str(path), byzantine=HOSTILE, keep=keep)["selected"]
        path.unlink()
        record["flower_keeps_attackers"] = [one for one in selected if one in attackers]
    return record


def _vectors() -> tuple[np.ndarray[Any, np.dtype[np.int32]], np.ndarray[Any, np.dtype[np.int32]]]:
    """Return the base's mantissas and (updates, parameters) changes in steps, the attackers' last."""
    random = np.random.Generator(np.random.SFC64(11))
    weights = np.clip(random.standard_normal(PARAMETERS, np.float32) * WEIGHT_STEPS, -(1 << 23), 1 << 23)
    sigma = WEIGHT_STEPS * SPREAD
    changes = random.standard_normal((UPDATES, PARAMETERS), np.float32) * np.float32(sigma)
    direction = random.choice(np.array([-1.0, 1.0], np.float32), PARAMETERS) * np.float32(PUSH * sigma)
    changes[-HOSTILE:] = direction + changes[-HOSTILE:] * np.float32(0.1)
    return weights.astype(np.int32), np.rint(changes).astype(np.int32)


def _ours(weights: np.ndarray[Any, Any], changes: np.ndarray[Any, Any], keep: int) -> list[int]:
    spec = TensorSpec(NAME, (PARAMETERS,), TensorClass.TRAINABLE, EXPONENT)
    base = Model(b"{}", 0, (), (spec,), {NAME: weights})
    task = Task("krum", merge=MergeRule(rule="multi-krum", byzantine=HOSTILE, keep=keep, weighting="uniform"))
    members = [_member(number, row.astype(np.int16)) for number, row in enumerate(changes)]
    merge = plan_merge(task, base, members)
    kept = {member.accepted.client for member, weight in zip(merge.members, merge.plan.weights, strict=True) if weight}
    return [number for number, member in enumerate(members) if member.accepted.client in kept]


def _member(number: int, change: np.ndarray[Any, Any]) -> Member:
    author, nothing = address(f"0x{number + 1:040x}"), bytes(32)
    exponents, deltas = {NAME: EXPONENT}, {NAME: change}
    update = Update(
        FederationId(nothing), RoundId(nothing), author, Digest(nothing), 1, 1, "benchmark", exponents, deltas
    )
    return Member(Accepted(author, Digest(nothing), 1, 1, 1), update)
