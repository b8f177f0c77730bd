"""The model that an organization stated for a round, out of a content store, for those who check what it must fit."""

from __future__ import annotations

from network.progress import Watch, unwatched
from network.store import ContentStore
from network.transfer import fetch
from protocol.errors import ArtifactRefused
from protocol.model import Model, decode_model
from protocol.state import RoundState
from protocol.task import Task
from protocol.types import Digest


def load_stated(
    store: ContentStore, round_: RoundState, task: Task, watch: Watch = unwatched
) -> tuple[Digest, Model] | None:
    """Return the settled model with its digest where the task's rule leaves the model to the organization's word.

    None under every other rule, where nothing is settled, where the base was settled (so that no model is stated), and
    where what was settled is no model, so that it cannot be taken.

    Raises:
        BlockMissing, BlockCorrupt, StoreUnavailable: It cannot be fetched.
    """
    settled = round_.settled
    if task.merge.rule != "distilled" or settled is None or settled.settlement.model == round_.base:
        return None
    digest = settled.settlement.model
    try:
        with watch("stated model") as on_progress:
            return digest, decode_model(fetch(store, digest, task.limits.model_bytes, on_progress=on_progress))
    except ArtifactRefused:
        return None
