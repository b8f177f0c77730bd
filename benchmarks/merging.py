"""A round's merge as the processor does it; the one place where benchmarks of learning touch its rules."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processor import ewc
from processor.blocks import Member
from processor.engine import merge_updates
from processor.fedcurv import curvature
from processor.updates import Accepted, UpdateReader
from protocol.model import Model
from protocol.task import Task
from protocol.types import Digest
from protocol.unixfs import directory_digest
from protocol.update import Update, check_update, encode_update


@dataclass(frozen=True)
class Outcome:
    """What a round makes: as `processor.round` has it, without artifacts.

    Args:
        mantissas: int32 by tensor. importance: uint32 by tensor where it is new, else None.
        anchor: Mantissas that the new importance is anchored at; None where that is the round's base.
    """

    mantissas: Mapping[str, NDArray[np.int32]]
    importance: Mapping[str, NDArray[np.uint32]] | None = None
    anchor: Mapping[str, NDArray[np.int32]] | None = None

    def same(self, other: Outcome) -> bool:
        """Whether every integer is the same."""
        ours, theirs = self._arrays(), other._arrays()
        return ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)

    def _arrays(self) -> dict[str, NDArray[np.generic]]:
        parts = {"mantissas": self.mantissas, "importance": self.importance or {}, "anchor": self.anchor or {}}
        return {f"{kind} {name}": array for kind, part in parts.items() for name, array in part.items()}


def merge_round(task: Task, base: Model, updates: Sequence[Update], consolidate: bool) -> Outcome:
    """Merge ``updates`` into ``base`` and, where ``consolidate``, renew the importance."""
    members = [Member(_accepted(task, _short_digest(update), update), update) for update in updates]
    return _merge(task, base, members, consolidate)


def merge_encoded(task: Task, base: Model, updates: Sequence[Update], consolidate: bool) -> Outcome:
    """Do what `merge_round` does by the whole path: encoded, named by digest, decoded, checked as screening does."""
    posted: dict[Digest, Mapping[str, bytes]] = {}
    for update in updates:
        files = encode_update(update)
        posted[directory_digest(files)] = files
    load = UpdateReader(posted.__getitem__)
    members = []
    for digest in posted:
        update = load(digest)
        check_update(update, base=base, delta_type=task.delta_type, importance=task.needs_importance(consolidate))
        members.append(Member(_accepted(task, digest, update), update))
    return _merge(task, base, members, consolidate)


def _merge(task: Task, base: Model, members: Sequence[Member], consolidate: bool) -> Outcome:
    """What `processor.consolidation.renew` decides, with arrays for artifacts."""
    merged = merge_updates(task, base, members)
    if task.merge.rule == "fedcurv":
        found = curvature(base, members)
        return Outcome(merged.mantissas, found.importance, found.anchor)
    return Outcome(merged.mantissas, ewc.consolidate(task.consolidation, base, members) if consolidate else None)


def _accepted(task: Task, digest: Digest, update: Update) -> Accepted:
    weight = update.examples if task.merge.weighting == "examples" else 1
    return Accepted(update.author, digest, update.examples, update.steps, weight)


def _short_digest(update: Update) -> Digest:
    """Return a name that is unique in a round; hashing all bytes of every update is for the first round only."""
    return Digest(hashlib.sha256(update.round + update.author.encode("ascii")).digest())
