"""What a round goes on from beside its base, out of a content store: the same for all who derive the round."""

from __future__ import annotations

from contextlib import AbstractContextManager

from network.arrival import open_artifact
from network.committee import load_committee
from network.progress import Watch, unwatched
from network.standing import load_standing
from network.stated import load_stated
from network.store import ContentStore
from protocol.cid import directory_cid
from protocol.content import Content
from protocol.model import Model
from protocol.past import Moments, Past
from protocol.server_state import decode_state, state_limit
from protocol.state import RoundState, State
from protocol.task import Task
from protocol.types import Digest


def load_past(
    store: ContentStore, state: State, round_: RoundState, task: Task, base: Model, watch: Watch = unwatched
) -> Past:
    """Return what ``round_`` goes on from at ``base``: all that its derivation needs beside the base and the updates.

    Args:
        state: What the chain says of the federation, its earlier rounds included.

    Raises:
        BlockMissing, BlockCorrupt, StoreUnavailable: Something of it cannot be fetched.
        ArtifactRefused: The base names something that is not what it must be, so no result can follow from it.
    """
    return Past(
        moments=load_moments(store, task, base, watch),
        standing=load_standing(store, state, round_, task, watch),
        committee=None if base.committee is None else load_committee(store, base.committee, watch),
        stated=load_stated(store, round_, task, watch),
    )


def load_moments(store: ContentStore, task: Task, base: Model, watch: Watch = unwatched) -> Moments | None:
    """Return the moments that ``base`` names, None where it names none; raises as `load_past`."""
    if base.server_state is None:
        return None
    with watch("server state") as on_progress:
        files = open_artifact(store, base.server_state, state_limit(task.limits.model_bytes), on_progress=on_progress)
    return decode_state(files, task.server, base)


def open_update(store: ContentStore, digest: Digest, task: Task, watch: Watch = unwatched) -> dict[str, Content]:
    """Return the verified files of an update, which are read piece by piece where they lie on disk.

    Raises:
        BlockMissing, BlockCorrupt, StoreUnavailable: They cannot be fetched. ArtifactRefused: They are no artifact.
    """
    with watch("update") as on_progress:
        return open_artifact(store, digest, task.limits.update_bytes, on_progress=on_progress)


def hold(store: ContentStore, round_: RoundState, base: Model) -> AbstractContextManager[None]:
    """Return a context in which no collector takes what is opened for deriving ``round_``; raises StoreUnavailable."""
    states = [] if base.server_state is None else [base.server_state]
    return store.lease(*(directory_cid(digest) for digest in (*states, *(update.digest for update in round_.updates))))
