"""Asking a model or a committee out of a content store; what ``rondo predict`` does."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from network.committee import load_committee
from network.files import write_atomic
from network.progress import TransferProgress, Watch
from network.store import ContentStore
from network.transfer import fetch
from organization.examples import Examples
from organization.members import MemberModels
from organization.voting import Network, tally
from protocol.cid import Cid, directory_cid
from protocol.committee import COMMITTEE, Ballot, CommitteeManifest, decode_committee
from protocol.errors import InvalidInput
from protocol.model import Model, decode_model

LINE_SECONDS = 5.0  # between lines of a log


@dataclass(frozen=True)
class Prediction:
    """What was said of examples.

    Args:
        kind: "model" or "committee". vote: How the committee decided; None for a model. members: 1 for a model.
        classes: int64 (examples, ...). probabilities: (examples, ..., classes); of a majority, the shares of the votes.
        accuracy: (correct, total) labels, None without labels.
    """

    kind: str
    vote: Ballot | None
    members: int
    classes: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    accuracy: tuple[int, int] | None


def predict_examples(
    store: ContentStore,
    cid: Cid,
    examples: Examples,
    *,
    committee: bool = False,
    vote: Ballot | None = None,
    limit: int,
    watch: Watch = TransferProgress,
) -> Prediction:
    """Ask what ``cid`` names.

    Args:
        committee: Ask the committee that the model ``cid`` names. vote: Another way to decide than the committee's own.
        limit: Most content bytes of one artifact.

    Raises:
        InvalidInput: It is a file, a model without a committee where one is asked for, or one model that is to vote; or
            the examples do not fit.
        ContentError, ArtifactRefused: Something cannot be fetched, or is not what it must be.
    """
    model, manifest = _load(store, cid, limit, watch)
    if committee and model is not None:
        if model.committee is None:
            raise InvalidInput(f"Model {cid} names no committee.", "Its task keeps none.", "Drop --committee.")
        manifest = load_committee(store, model.committee, watch)
    if manifest is None:
        assert model is not None  # noqa: S101 - it is one or the other; tells the type checker
        if vote is not None:
            raise InvalidInput(f"{cid} is one model, which does not vote.", "", "Drop --vote, or ask its --committee.")
        return _ask_model(model, examples)
    return _ask_committee(
        MemberModels(store, model_bytes=limit, update_bytes=limit, watch=watch),
        manifest,
        vote or manifest.vote,
        examples,
    )


def check_out(out: Path | None) -> None:
    """Raise InvalidInput where something is at ``out``, or it has no folder: before anything is fetched."""
    if out is not None and (out.exists() or not out.parent.is_dir()):
        what = f"{out} is there already." if out.exists() else f"{out.parent} is no folder."
        raise InvalidInput(what, "Nothing is ever overwritten.", "Name another file with --out.")


def write_out(out: Path, found: Prediction) -> None:
    """Write ``classes`` and ``probabilities`` (float32) to the .npz file ``out``; raises OSError."""
    data = io.BytesIO()
    np.savez(data, classes=found.classes, probabilities=found.probabilities.astype(np.float32))
    write_atomic(out, data.getvalue())


def _load(
    store: ContentStore, cid: Cid, limit: int, watch: Watch
) -> tuple[Model, None] | tuple[None, CommitteeManifest]:
    if cid != directory_cid(cid.digest):
        raise InvalidInput(f"{cid} is a file.", "Models and committees are directories.", "Name one of these.")
    with watch("model") as on_progress:
        files = fetch(store, cid.digest, limit, on_progress=on_progress)
    if files.keys() == {COMMITTEE}:
        return None, decode_committee(files)
    return decode_model(files), None


def _ask_model(model: Model, examples: Examples) -> Prediction:
    network = Network(model)
    said = network.predict(network.fitting(examples))
    classes = np.asarray(np.argmax(said, axis=-1), np.int64)
    return Prediction("model", None, 1, classes, said.astype(np.float64), _accuracy(classes, examples))


def _ask_committee(models: MemberModels, committee: CommitteeManifest, vote: Ballot, examples: Examples) -> Prediction:
    """Ask one member after another with one network; each is forgotten when its vote is added."""
    network = Network(models.base(committee.members[0]))
    x, votes = network.fitting(examples), tally(vote)
    with _shown(len(committee.members)) as advance:
        for member in committee.members:
            network.take(models(member))
            votes.add(network.predict(x), member.weight)
            advance()
    classes = votes.winners()
    return Prediction("committee", vote, len(committee.members), classes, votes.shares(), _accuracy(classes, examples))


def _accuracy(classes: NDArray[np.int64], examples: Examples) -> tuple[int, int] | None:
    y = examples.y
    if y is None:
        return None
    if classes.shape != y.shape and classes.shape == (*y.shape, 1):
        y = y[..., None]  # reading dropped the column that the model has
    if classes.shape != y.shape:
        raise InvalidInput(
            f"The labels have shape {y.shape}, the predictions {classes.shape}.",
            "There is one label for each place of the output.",
            "Leave y out of the file, or give the labels that clients train with.",
        )
    return int(np.count_nonzero(classes == y)), int(y.size)


@contextmanager
def _shown(members: int) -> Iterator[Callable[[], None]]:
    """Show how far a committee is: a bar on a terminal, in a log a line now and then; all on stderr."""
    if not sys.stderr.isatty():
        yield _Lines(members)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("members", total=members)
        yield lambda: bar.advance(task)


class _Lines:
    """Says how many members have voted, no more often than every `LINE_SECONDS`."""

    def __init__(self, members: int) -> None:
        self._members, self._done, self._last = members, 0, time.monotonic()

    def __call__(self) -> None:
        self._done += 1
        if time.monotonic() - self._last >= LINE_SECONDS:
            self._last = time.monotonic()
            print(f"members: {self._done} of {self._members}", file=sys.stderr, flush=True)
