"""A round's merge as the processor does it; the one place where benchmarks of learning touch its rules."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from processor import ewc
from processor.blocks import Member
from processor.engine import merge_updates
from processor.importance import rescale_tables
from processor.updates import Accepted, UpdateReader
from protocol.model import Model
from protocol.task import Task
from protocol.tensors import whole
from protocol.types import Digest
from protocol.unixfs import directory_digest
from protocol.update import Update, check_update, encode_update

Mantissas = Mapping[str, NDArray[np.int32]]
Importance = Mapping[str, NDArray[np.uint32]]


def merge_round(
    task: Task, base: Model, updates: Sequence[Update], consolidate: bool
) -> tuple[dict[str, NDArray[np.int32]], Importance | None]:
    """Return the merged mantissas and, where ``consolidate``, the new importance."""
    named = {_short_digest(update): update for update in updates}
    members = [Member(_accepted(task, digest, update), update) for digest, update in named.items()]
    return _merge(task, base, members, consolidate)


def merge_encoded(
    task: Task, base: Model, updates: Sequence[Update], consolidate: bool
) -> tuple[dict[str, NDArray[np.int32]], Importance | None]:
    """Do what `merge_round` does by the whole path: encoded, named by digest, decoded, checked as screening does."""
    posted: dict[Digest, Mapping[str, bytes]] = {}
    for update in updates:
        files = encode_update(update)
        posted[directory_digest(files)] = files
    load = UpdateReader(posted.__getitem__)
    members = []
    for digest in posted:
        update = load(digest)
        check_update(update, base=base, delta_type=task.delta_type, importance=update.importance is not None)
        members.append(Member(_accepted(task, digest, update), update))
    return _merge(task, base, members, consolidate)


def _merge(
    task: Task, base: Model, members: Sequence[Member], consolidate: bool
) -> tuple[dict[str, NDArray[np.int32]], Importance | None]:
    merged = merge_updates(task, base, members)
    importance = ewc.consolidate(task.consolidation, base, members) if consolidate else None
    return dict(merged.mantissas), importance


def _accepted(task: Task, digest: Digest, update: Update) -> Accepted:
    weight = update.examples if task.merge.weighting == "examples" else 1
    return Accepted(update.author, digest, update.examples, update.steps, weight)


def _short_digest(update: Update) -> Digest:
    """Return a name that is unique in a round; hashing all bytes of every update is for the first round only."""
    return Digest(hashlib.sha256(update.round + update.author.encode("ascii")).digest())


def rescaled_importance(base: Model, update: Update) -> dict[str, NDArray[np.uint32]]:
    """Return the importance that ``update`` posts as the processor rescales it: mean 1, 16 fraction bits."""
    values, exponents = update.importance or {}, update.importance_exponents or {}
    sums = {name: int(whole(tensor).sum(dtype=np.uint64)) for name, tensor in values.items()}
    tables = rescale_tables(sums, exponents, sum(tensor.size for tensor in values.values()))
    return {name: tables[name][whole(values[name])] for name in base.mantissas}
