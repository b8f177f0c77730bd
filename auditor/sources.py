"""What an audit reads: the round's artifacts, each by a digest that the chain names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from network.past import load_past, open_update
from network.progress import Watch, unwatched
from network.store import ContentStore
from network.transfer import fetch
from protocol.cid import directory_cid
from protocol.content import Files
from protocol.errors import ArtifactRefused, BlockCorrupt, BlockMissing, InvalidInput, StoreUnavailable
from protocol.model import Model, decode_model
from protocol.past import Past
from protocol.report import MAX_REPORT_BYTES, Derived, decode_report
from protocol.state import FederationState, RoundState, State
from protocol.task import MAX_TASK_BYTES, Task, decode_task
from protocol.types import Digest

GONE = (BlockMissing, BlockCorrupt, StoreUnavailable)


class Undecided(Exception):
    """The audit cannot be decided now; ``args[0]`` names what is missing."""


@dataclass(frozen=True)
class ReportCopy:
    """The organization's report as it was read; ``derived`` is None where it is not a canonical report."""

    derived: Derived | None
    problem: str


def fetch_or_undecided(
    store: ContentStore, digest: Digest, limit: int, what: str, watch: Watch = unwatched
) -> Mapping[str, bytes]:
    """Fetch an artifact directory that the audit cannot do without.

    Raises:
        Undecided: A block is missing or corrupt in every source, or the store does not answer.
    """
    try:
        with watch(what.removeprefix("The ")) as on_progress:
            return fetch(store, digest, limit, on_progress=on_progress)
    except GONE as error:
        raise Undecided(f"{what} {directory_cid(digest)} cannot be fetched: {error.what}") from error


def load_task(store: ContentStore, federation: FederationState) -> Task:
    """The federation's task. Raises: Undecided, ArtifactRefused."""
    return decode_task(fetch_or_undecided(store, federation.terms.task, MAX_TASK_BYTES, "The task"))


def load_base(store: ContentStore, round_: RoundState, task: Task, watch: Watch = unwatched) -> Model:
    """The round's base model. Raises: Undecided, ArtifactRefused."""
    return decode_model(fetch_or_undecided(store, round_.base, task.limits.model_bytes, "The base model", watch))


def load_past_or_undecided(
    store: ContentStore, state: State, round_: RoundState, task: Task, base: Model, watch: Watch = unwatched
) -> Past:
    """What the round goes on from beside its base. Raises: Undecided, ArtifactRefused."""
    try:
        return load_past(store, state, round_, task, base, watch)
    except GONE as error:
        raise Undecided(f"What the round goes on from cannot be fetched: {error.what}") from error


def open_update_or_undecided(store: ContentStore, digest: Digest, task: Task, watch: Watch = unwatched) -> Files:
    """An update's files, read piece by piece. Raises: Undecided, ArtifactRefused."""
    try:
        return open_update(store, digest, task, watch)
    except GONE as error:
        raise Undecided(f"The update {directory_cid(digest)} cannot be fetched: {error.what}") from error


def load_report(store: ContentStore, round_: RoundState, copy: Path | None) -> ReportCopy:
    """The settled report from the store, or from the folder ``copy`` instead.

    Raises:
        Undecided: The report cannot be fetched.
        InvalidInput: ``copy`` is not a readable folder.
    """
    if round_.settled is None:
        raise Undecided("The round is not settled.")
    try:
        if copy is not None:
            files: Mapping[str, bytes] = read_folder(copy)
        else:
            files = fetch_or_undecided(store, round_.settled.settlement.report, MAX_REPORT_BYTES, "The report")
        return ReportCopy(decode_report(files)[0], "")
    except ArtifactRefused as refusal:
        return ReportCopy(None, str(refusal))


def read_folder(folder: Path) -> dict[str, bytes]:
    """The files of a folder by name. Raises: InvalidInput where it cannot be read."""
    try:
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
    except OSError as error:
        raise InvalidInput(
            f"The report folder {folder} cannot be read.", str(error.strerror), "Name a folder that holds derived.json."
        ) from error
