"""Standings out of a content store: the records of earlier rounds, each verified by the hash that the chain names."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence

from network.progress import Watch, unwatched
from network.store import ContentStore
from network.transfer import fetch
from protocol.errors import ArtifactRefused, BlockCorrupt, BlockMissing, ContentError, RondoError
from protocol.merge_terms import Standing
from protocol.report import DERIVED, MAX_REPORT_BYTES, Derived, decode_derived
from protocol.standing import Deciding, counts, deciding, is_record_of, standings
from protocol.state import FederationState, RoundState, State
from protocol.task import Task
from protocol.types import Address


class RecordMissing(BlockMissing):
    """The record of an earlier round cannot be fetched, and standings follow from it."""

    def __init__(self, one: Deciding, error: BlockMissing | BlockCorrupt) -> None:
        self.cid = error.cid
        RondoError.__init__(
            self,
            f"The record of round {one.round.index}, in {one.cid}, cannot be fetched: {error.what}",
            "The standings of clients follow from it.",
            "Ask the organization or an auditor for it, or add another source.",
        )


def load_standing(
    store: ContentStore, state: State, round_: RoundState, task: Task, watch: Watch = unwatched
) -> Mapping[Address, int]:
    """Return the standings that ``round_`` is derived with, in thousandths; empty, without a fetch, where none counts.

    Raises:
        RecordMissing: The record of an earlier round cannot be fetched. StoreUnavailable: The store does not answer.
    """
    if not counts(task.standing):
        return {}
    federation = state.federations[round_.federation]
    records = load_records(store, state, federation, task.standing, round_, watch)
    _serve(store, [one for one in deciding(state, federation, task.standing, round_) if one.revealed])
    return standings(records, task.standing)


def load_records(
    store: ContentStore,
    state: State,
    federation: FederationState,
    terms: Standing,
    before: RoundState | None = None,
    watch: Watch = unwatched,
) -> list[Derived]:
    """Return the records that count, oldest first (`protocol.standing.deciding`).

    One that is there, but is not what the chain says of it, counts for nothing: everybody who reads it sees that.

    Args:
        before: The round whose standings they are; None for those of the round that could be launched now.

    Raises:
        As `load_standing`.
    """
    found = [(one, _record(store, one, watch)) for one in deciding(state, federation, terms, before)]
    return [record for one, record in found if record is not None and is_record_of(record, one.round)]


def _record(store: ContentStore, one: Deciding, watch: Watch) -> Derived | None:
    """The record that hashes to what the chain names, None where something else was published in its place."""
    try:
        data = store.get_block(one.cid) if one.revealed else _reported(store, one, watch)
        if data is None or hashlib.sha256(data).digest() != one.derived_hash:
            return None
        return decode_derived(data)
    except (BlockMissing, BlockCorrupt) as error:
        raise RecordMissing(one, error) from error
    except ArtifactRefused:
        return None


def _serve(store: ContentStore, revealed: Sequence[Deciding]) -> None:
    """Keep what only auditors published: if they go away, no round could follow from it any more."""
    for one in revealed:
        with contextlib.suppress(ContentError):  # a store that keeps nothing is no reason to stop
            store.keep(one.cid)


def _reported(store: ContentStore, one: Deciding, watch: Watch) -> bytes | None:
    with watch(f"report of round {one.round.index}") as on_progress:
        return fetch(store, one.cid.digest, MAX_REPORT_BYTES, on_progress=on_progress).get(DERIVED)
