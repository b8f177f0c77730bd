"""What federations need by chain *and* store: the part of ``protocol.retention``'s arguments that stands in artifacts.

Tasks, verdicts and what models name are read from the store itself, never fetched from others: what cannot be read here makes
the answer keep more, not less.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from network.artifact_tree import artifact_file, local_get
from network.store import BlockSource
from protocol.artifact import load_directory
from protocol.cid import RAW, Cid, directory_cid
from protocol.committee import MAX_COMMITTEE_BYTES, decode_committee
from protocol.errors import ArtifactRefused, BlockCorrupt, BlockMissing
from protocol.model import MANIFEST, MAX_MANIFEST_BYTES
from protocol.report import DERIVED, MAX_DERIVED_BYTES, MAX_REPORT_BYTES, decode_derived
from protocol.retention import (
    ATTACHED,
    ROUNDS_KEPT,
    Attached,
    Kind,
    Mention,
    Reason,
    Verdicts,
    attached_to,
    named,
    needed,
    verdicts_of,
)
from protocol.state import FederationState, RoundState, State
from protocol.task import MAX_ARTIFACT_BYTES, MAX_TASK_BYTES, Task, decode_task
from protocol.types import Digest, FederationId, Hash, RoundId
from protocol.unixfs import CHUNK, read_file

_UNREADABLE = (BlockMissing, BlockCorrupt, ArtifactRefused)


class Needs:
    """Answers for any state of one contract; what it has read it does not read again.

    Args:
        source: The store that keeps. rounds_kept: K of ``protocol.retention``.
    """

    def __init__(self, source: BlockSource, rounds_kept: int = ROUNDS_KEPT) -> None:
        self._source, self._get, self._rounds_kept = source, local_get(source), rounds_kept
        self._tasks: dict[Digest, Task] = {}
        self._verdicts: dict[tuple[RoundId, Hash], Verdicts] = {}
        self._attached: dict[Digest, Mapping[Cid, Kind]] = {}

    def of(self, state: State, federation: FederationState) -> dict[Cid, Reason]:
        """Return what ``federation`` needs; raises StoreUnavailable."""
        return needed(
            state,
            federation,
            self._task(federation.terms.task),
            rounds_kept=self._rounds_kept,
            verdicts=self._known_verdicts(state, federation),
            attached=self._known_attached(state, federation),
        )

    def of_all(self, state: State) -> dict[FederationId, dict[Cid, Reason]]:
        """Return what each federation of the contract needs; raises StoreUnavailable."""
        return {id: self.of(state, federation) for id, federation in state.federations.items()}

    def named(self, state: State, federation: FederationState) -> dict[Cid, tuple[Mention, ...]]:
        """Return all that the log names of ``federation``, with what its models name; raises StoreUnavailable."""
        return named(state, federation, self._known_attached(state, federation))

    def uncertain(self, needs: Mapping[Cid, Reason]) -> frozenset[Kind]:
        """Return the kinds of which more may be needed than ``needs``, which came from ``of``, says: a model among them
        could not be read for what it names.
        """
        models = (cid.digest for cid, reason in needs.items() if reason.kind is Kind.MODEL)
        if all(model in self._attached for model in models):
            return frozenset()
        committees = any(task.committee.vote != "none" for task in self._tasks.values())
        return ATTACHED | {Kind.MODEL, Kind.UPDATE} if committees else ATTACHED

    def _task(self, digest: Digest) -> Task | None:
        if digest not in self._tasks:
            try:
                self._tasks[digest] = decode_task(load_directory(digest, self._get, MAX_TASK_BYTES))
            except _UNREADABLE:
                return None
        return self._tasks[digest]

    def _known_verdicts(self, state: State, federation: FederationState) -> dict[RoundId, Verdicts]:
        found = {}
        for round_id in federation.rounds:
            verdicts = self._verdicts_of(state.rounds[round_id])
            if verdicts is not None:
                found[round_id] = verdicts
        return found

    def _verdicts_of(self, round_: RoundState) -> Verdicts | None:
        """What the record that decides on the round says: the auditors' where it is revealed, else the settled one."""
        if round_.settled is None:
            return None
        deciding = (round_.revealed or round_.settled.settlement).derived_hash
        key = (round_.id, deciding)
        if key not in self._verdicts:
            for read in (self._reported, self._revealed):
                try:
                    data = read(round_, deciding)
                    if hashlib.sha256(data).digest() == deciding:
                        self._verdicts[key] = verdicts_of(decode_derived(data))
                        break
                except _UNREADABLE:
                    continue
        return self._verdicts.get(key)

    def _reported(self, round_: RoundState, deciding: Hash) -> bytes:
        assert round_.settled is not None  # noqa: S101 - the caller's condition; tells the type checker
        return artifact_file(round_.settled.settlement.report, DERIVED, self._get, MAX_REPORT_BYTES, MAX_DERIVED_BYTES)

    def _revealed(self, round_: RoundState, deciding: Hash) -> bytes:
        return read_file(Cid(RAW, Digest(deciding)), self._get, CHUNK)

    def _known_attached(self, state: State, federation: FederationState) -> Attached:
        found = {digest: self._attached_to(digest) for digest in _models(state, federation)}
        return {digest: attached for digest, attached in found.items() if attached}

    def _attached_to(self, model: Digest) -> Mapping[Cid, Kind] | None:
        """What ``model`` names, with its committee's members; None where it cannot be read here."""
        if model not in self._attached:
            try:
                manifest = artifact_file(model, MANIFEST, self._get, MAX_ARTIFACT_BYTES, MAX_MANIFEST_BYTES)
                attached = attached_to(manifest)
            except ArtifactRefused:
                attached = {}  # it is no model, so nobody trains from it
            except (BlockMissing, BlockCorrupt):
                return None
            committees = [cid.digest for cid, kind in attached.items() if kind is Kind.COMMITTEE]
            members = [self._members(committee) for committee in committees]
            if None in members:
                return attached  # and ask again: its manifest may come
            self._attached[model] = {cid: kind for found in members for cid, kind in (found or {}).items()} | attached
        return self._attached[model]

    def _members(self, committee: Digest) -> Mapping[Cid, Kind] | None:
        """What the members of ``committee`` are made of; None where its manifest cannot be read here."""
        try:
            members = decode_committee(load_directory(committee, self._get, MAX_COMMITTEE_BYTES)).members
        except ArtifactRefused:
            return {}
        except (BlockMissing, BlockCorrupt):
            return None
        bases = {directory_cid(member.base): Kind.MODEL for member in members}
        return bases | {directory_cid(member.update): Kind.UPDATE for member in members}


def _models(state: State, federation: FederationState) -> Iterable[Digest]:
    models = [federation.terms.model, federation.head]
    for round_id in federation.rounds:
        round_ = state.rounds[round_id]
        models.append(round_.base)
        if round_.settled is not None:
            models.append(round_.settled.settlement.model)
        if round_.revealed is not None:
            models.append(round_.revealed.model)
    return dict.fromkeys(models)
