"""The model that a round makes of its merge, with all that goes with it, or why the base stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from processor import committee as committees
from processor.consolidation import Renewed
from processor.engine import Merged
from processor.facts import RoundFacts
from processor.stated import Demand, is_stated, taken
from processor.updates import Accepted
from protocol.committee import CommitteeManifest, encode_committee
from protocol.content import Content, Files
from protocol.errors import TooLarge
from protocol.model import Model, encode_model
from protocol.past import Moments, Past
from protocol.report import Outcome
from protocol.server_state import state_contents
from protocol.task import Task
from protocol.types import Digest
from protocol.unixfs import directory_digest


@dataclass(frozen=True)
class Result:
    """What a round comes to.

    Args:
        model: The merged model; None where the base stays. files: Its artifact's files; None likewise.
        digest: The model's, or the base's. outcome: Which of the two, and why.
        saturated: Coordinates that left the grid's range. consolidated: Whether importance and anchor are new.
        artifacts, anchors, moments, demand: As in `processor.round.Derivation`.
    """

    model: Model | None
    files: dict[str, bytes] | None
    digest: Digest
    outcome: Outcome
    saturated: int = 0
    consolidated: bool = False
    artifacts: tuple[Mapping[str, bytes] | Files, ...] = ()
    anchors: tuple[Content, ...] = ()
    demand: Demand | None = None
    moments: Moments | None = None


def make_result(
    facts: RoundFacts,
    task: Task,
    base: Model,
    merged: Merged | None,
    renewed: Renewed | None,
    accepted: Sequence[Accepted],
    past: Past,
) -> Result:
    """Make the merged model. Without a merge, or where nobody could fetch its result, the base stays, under its digest."""
    if merged is None:
        return Result(None, None, facts.base, "too-few-updates")
    committee = committees.renewed(task.committee, past.committee, facts, accepted, merged.weights)
    try:
        model, artifacts = _model(facts, task, base, merged, renewed, committee)
    except TooLarge:
        return Result(None, None, facts.base, "too-large")
    demand = None
    if is_stated(task.merge.rule):
        assert committee is not None  # noqa: S101 - decode_task: who distils keeps a committee; tells the type checker
        demand = Demand(model, committee)
        stated = taken(past.stated, demand)
        if stated is None:
            return Result(None, None, facts.base, "unfit-model", demand=demand)
        model = stated
    files = _files(model, task.limits.model_bytes)
    if files is None:
        return Result(None, None, facts.base, "too-large")
    return Result(
        model=model,
        files=files,
        digest=directory_digest(files),
        outcome="merged",
        saturated=merged.saturated,
        consolidated=renewed is not None,
        artifacts=artifacts,
        anchors=() if renewed is None or renewed.file is None else (renewed.file,),
        demand=demand,
        moments=merged.moments,
    )


def _model(
    facts: RoundFacts,
    task: Task,
    base: Model,
    merged: Merged,
    renewed: Renewed | None,
    committee: CommitteeManifest | None,
) -> tuple[Model, tuple[Mapping[str, bytes] | Files, ...]]:
    """Return the model and the files of what it names: the server's state and the committee, where there are such.

    Raises:
        TooLarge: The state could not be read again.
    """
    kept = None if committee is None else encode_committee(committee)
    state = None
    if merged.moments is not None:
        state = state_contents(task.server.step, facts.index, merged.moments, base.specs)
    model = replace(
        base,
        round=facts.index,
        parents=(facts.base,),
        mantissas=merged.mantissas,
        server_state=None if state is None else directory_digest(state),
        committee=None if kept is None else directory_digest(kept),
    )
    if renewed is not None:
        model = replace(model, importance=renewed.importance, anchor=str(renewed.anchor))
    return model, tuple(files for files in (state, kept) if files is not None)


def _files(model: Model, limit: int) -> dict[str, bytes] | None:
    """Return the model's files, None where nobody could encode or fetch them."""
    try:
        files = encode_model(model)
    except TooLarge:
        return None
    return files if sum(map(len, files.values())) <= limit else None
