"""A merge of artifacts by their digests, whatever chain or file named them: opened, checked, merged, and made a model.

Nothing here says who may take part: whoever names the updates decides. Each is checked as a round checks it, and one that a
round would refuse ends the merge, since a result without it would be another one than was asked for.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from processor import ewc
from processor.blocks import Member
from processor.engine import Merged, apply_merge, plan_merge
from processor.runs import Run, serial
from processor.seen_deltas import SeenDeltas, delta_hash
from processor.updates import Accepted
from protocol.bounds import check_bounds
from protocol.cid import directory_cid
from protocol.content import Files, Pieced
from protocol.errors import (
    ArtifactRefused,
    DuplicateDelta,
    ForeignAuthor,
    ForeignBase,
    ForeignRound,
    InvalidInput,
    TooFewUpdates,
    WrongField,
)
from protocol.model import Model
from protocol.task import Task
from protocol.tensors import Stored
from protocol.types import Address, Digest
from protocol.update import Update, check_update, decode_update, guarded

_SAMPLE = 1 << 9  # coordinates of each tensor that tell honest updates apart without reading all of them


@dataclass(frozen=True, slots=True)
class Named:
    """An update with the digest that it was asked for by."""

    digest: Digest
    update: Update

    def __str__(self) -> str:
        return f"Update {directory_cid(self.digest)} of {self.update.author}"


def decode_updates(digests: Sequence[Digest], files: Sequence[Files]) -> list[Named]:
    """Return the updates that ``digests`` name, all of one round, in order of their authors' addresses.

    Args:
        files: Those of each, verified before they are read or while they are.

    Raises:
        ArtifactRefused: One is no update, belongs elsewhere than the first, or has an author that another one has; the
            error names it.
        InvalidInput: There is none.
    """
    found = [_decoded(digest, each) for digest, each in zip(digests, files, strict=True)]
    if not found:
        raise InvalidInput("No update is named.", "There is nothing to merge.", "Name the CIDs of updates.")
    authors: dict[Address, Named] = {}
    for one in found:
        _require_same_round(one, found[0])
        if one.update.author in authors:
            raise ForeignAuthor(
                f"{one} is refused: its author has another one, {directory_cid(authors[one.update.author].digest)}.",
                "One client has one update a round.",
                "Leave one of them out.",
            )
        authors[one.update.author] = one
    return sorted(found, key=lambda one: one.update.author)


def check_updates(
    updates: Sequence[Named], base_digest: Digest, base: Model, task: Task, importance: bool, run: Run
) -> list[Named]:
    """Check each of ``updates`` as a round does: that it fits the base, and that no two hold the same change.

    All but their mantissas, which may be gigabytes: those of the updates that are returned are checked as they are read,
    and a merge reads all of them.

    Args:
        importance: Whether updates must carry it (Task.needs_importance).
        run: Who reads them.

    Raises:
        ArtifactRefused: One is refused; the error names it. ArithmeticRefused: The sums of so many could overflow.
    """
    check_bounds(task, len(updates))
    for one in updates:
        _require_fits(one, base_digest, task)

    files = [_pieces_of(one.update) for one in updates]
    all_known = None not in files

    def check(one: Named) -> ArtifactRefused | bytes:
        try:
            check_update(one.update, base=base, delta_type=task.delta_type, importance=importance, mantissas=False)
        except ArtifactRefused as refusal:
            return refusal
        return _file_hash(one.update) if all_known else delta_hash(one.update, _SAMPLE)

    samples: list[bytes] = []
    for one, answer in zip(updates, run(check, updates), strict=True):
        if not isinstance(answer, bytes):
            raise _naming(one, answer) from answer
        samples.append(answer)
    often = Counter(samples)
    _require_different([one for one, sample in zip(updates, samples, strict=True) if often[sample] > 1])
    return [replace(one, update=guarded(one.update, f"{one} is refused: ")) for one in updates]


def members_of(updates: Sequence[Named], task: Task) -> list[Member]:
    """Return ``updates`` as members of a merge, each with the weight that ``task`` gives it."""
    return [Member(_accepted(one, task), one.update) for one in updates]


def merge_model(
    base_digest: Digest,
    base: Model,
    members: Sequence[Member],
    task: Task,
    *,
    index: int,
    anchor: str | None = None,
    run: Run = serial,
    shares_memory: bool = False,
) -> tuple[Model, Merged]:
    """Merge ``members`` into ``base`` as the round ``index`` of a federation with ``task`` would.

    Args:
        anchor: The CID of the base's weights file where the members' importances are to be consolidated, else None.
        shares_memory: As of `processor.engine.apply_merge`.

    Returns:
        The model that is the next base, and what the merge said beside it.

    Raises:
        TooFewUpdates: The rule, the task or the consolidation needs more.
        InvalidInput: The task goes on from what a round's chain names beside its base: a committee, a server's moments.
        As `processor.engine.merge_updates`.
    """
    _require_alone(task)
    if len(members) < task.least_updates() or (
        anchor is not None and len(members) < ewc.updates_needed(task.consolidation)
    ):
        needed = max(task.least_updates(), ewc.updates_needed(task.consolidation) if anchor is not None else 0)
        raise TooFewUpdates(
            f"{len(members)} updates are too few.", f"The task needs {needed}.", "Name more of them, or another task."
        )
    plan = plan_merge(task, base, members, run)
    merged = apply_merge(plan, base, None, run, witness=False, shares_memory=shares_memory)
    model = replace(base, round=index, parents=(base_digest,), mantissas=merged.mantissas)
    if anchor is not None:
        importance = ewc.consolidate(task.consolidation, base, members, run, shares_memory)
        model = replace(model, importance=importance, anchor=anchor)
    return model, merged


def _pieces_of(update: Update) -> tuple[Digest, ...] | None:
    """Return the digests of the pieces of the file of deltas; None where it lies in none."""
    first = next(iter(update.deltas.values()), None)
    return first.content.digests if isinstance(first, Stored) and isinstance(first.content, Pieced) else None


def _file_hash(update: Update) -> bytes:
    """Return what is the same for two updates with the same change: the one encoding of deltas is the same file."""
    exponents = sorted(update.exponents.items())
    return hashlib.sha256(repr((_pieces_of(update), exponents)).encode()).digest()


def _decoded(digest: Digest, files: Files) -> Named:
    try:
        return Named(digest, decode_update(files))
    except ArtifactRefused as refusal:
        what = f"Update {directory_cid(digest)} is refused: {refusal.what}"
        raise type(refusal)(what, refusal.why, refusal.do) from refusal


def _accepted(one: Named, task: Task) -> Accepted:
    weight = one.update.examples if task.merge.weighting == "examples" else 1
    return Accepted(one.update.author, one.digest, one.update.examples, one.update.steps, weight)


def _naming(one: Named, refusal: ArtifactRefused) -> ArtifactRefused:
    return type(refusal)(f"{one} is refused: {refusal.what}", refusal.why, refusal.do)


def _require_same_round(one: Named, first: Named) -> None:
    if (one.update.federation, one.update.round) != (first.update.federation, first.update.round):
        raise ForeignRound(
            f"{one} is refused: it is for another round than {directory_cid(first.digest)}.",
            "A merge is of one round's updates.",
            "Leave one of them out.",
        )


def _require_fits(one: Named, base: Digest, task: Task) -> None:
    if one.update.base != base:
        raise ForeignBase(
            f"{one} is refused: it starts from model {directory_cid(one.update.base)}.",
            f"The base is {directory_cid(base)}.",
            "Merge it into the model that it was trained from.",
        )
    if one.update.examples > task.merge.examples_cap:
        raise WrongField(
            f"{one} is refused: it states {one.update.examples} examples.",
            f"The task counts 1 to {task.merge.examples_cap}.",
            "Leave it out, or name the task that it was made for.",
        )


def _require_different(alike: Sequence[Named]) -> None:
    seen = SeenDeltas()
    for one in alike:
        earlier = seen.add(one.update)
        if earlier is not None:
            raise DuplicateDelta(
                f"{one} is refused: it holds the delta of {earlier}.",
                "The same change twice would weigh twice.",
                "Leave one of them out.",
            )


def _require_alone(task: Task) -> None:
    """Refuse a task whose result follows from more than base and updates."""
    for name, given in (
        ("server.step", task.server.step != "plain"),
        ("committee.vote", task.committee.vote != "none"),
        ("standing.use", task.standing.use == "weight"),
        ("rule fedcurv", task.merge.rule == "fedcurv"),
        ("rule distilled", task.merge.rule == "distilled"),
    ):
        if given:
            raise InvalidInput(
                f"The task sets {name}, and its model is made of more than base and updates.",
                "Earlier rounds, or files of its own, belong to it.",
                "Re-derive the round from its chain: rondo merge --round ROUND.",
            )
