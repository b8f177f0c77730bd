"""Standings out of a content store: the records of earlier rounds, each verified by the hash that the chain names."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence

from network.progress import Watch, unwatched
from network.store import ContentStore
from network.transfer import fetch
from protocol.cid import RAW, Cid
from protocol.errors import ArtifactRefused, BlockCorrupt, BlockMissing, ContentError, RondoError
from protocol.merge_terms import Standing
from protocol.report import DERIVED, MAX_REPORT_BYTES, Derived, decode_derived
from protocol.standing import Deciding, counts, deciding, is_record_of, standings
from protocol.state import FederationState, RoundState, State
from protocol.task import Task
from protocol.types import Address, Digest


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

    One that hashes to what the chain says, but is not of that round's updates, counts for nothing: only the organization
    of a federation without auditors can settle such a one.

    Args:
        before: The round whose standings they are; None for those of the round that could be launched now.

    Raises:
        As `load_standing`.
    """
    found = [(one, _record(store, one, watch)) for one in deciding(state, federation, terms, before)]
    return [record for one, record in found if record is not None and is_record_of(record, one.round)]


def _record(store: ContentStore, one: Deciding, watch: Watch) -> Derived | None:
    """The record that hashes to what the chain names, None where there is none.

    It stands in the settled report, which is the organization's to choose. Where that is wrong or gone, auditors that
    confirmed the result keep the record under its own hash, which is what they attested. Where nobody confirmed it, a
    wrong report is all there will ever be, for everybody alike.
    """
    data, gone = None, None
    if not one.revealed:
        try:
            data = _reported(store, one, watch)
        except (BlockMissing, BlockCorrupt) as error:
            gone = error
        if data is None and gone is None and one.round.quorum_hash is None:
            return None
    try:
        return decode_derived(store.get_block(Cid(RAW, Digest(one.derived_hash))) if data is None else data)
    except (BlockMissing, BlockCorrupt) as error:
        raise RecordMissing(one, gone or error) from error
    except ArtifactRefused:
        return None


def _serve(store: ContentStore, revealed: Sequence[Deciding]) -> None:
    """Keep what only auditors published: if they go away, no round could follow from it any more."""
    for one in revealed:
        with contextlib.suppress(ContentError):  # a store that keeps nothing is no reason to stop
            store.keep(one.cid)


def _reported(store: ContentStore, one: Deciding, watch: Watch) -> bytes | None:
    """The report's record, None where the report is no artifact or holds another record; raises where it is gone."""
    try:
        with watch(f"report of round {one.round.index}") as on_progress:
            data = fetch(store, one.cid.digest, MAX_REPORT_BYTES, on_progress=on_progress).get(DERIVED)
    except ArtifactRefused:
        return None
    return data if data is not None and hashlib.sha256(data).digest() == one.derived_hash else None
