"""What federations need by chain *and* store: the part of ``protocol.retention``'s arguments that stands in artifacts.

Tasks, verdicts and anchors are read from the store itself, never fetched from others: what cannot be read here makes
the answer keep more, not less.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from network.artifact_tree import artifact_file, local_get
from network.store import BlockSource
from protocol.artifact import load_directory
from protocol.cid import RAW, Cid
from protocol.errors import ArtifactRefused, BlockCorrupt, BlockMissing
from protocol.model import MANIFEST, MAX_MANIFEST_BYTES
from protocol.report import DERIVED, MAX_DERIVED_BYTES, MAX_REPORT_BYTES, decode_derived
from protocol.retention import ROUNDS_KEPT, Kind, Mention, Reason, Verdicts, anchor_of, named, needed, verdicts_of
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
        self._anchors: dict[Digest, Cid | None] = {}

    def of(self, state: State, federation: FederationState) -> dict[Cid, Reason]:
        """Return what ``federation`` needs; raises StoreUnavailable."""
        return needed(
            state,
            federation,
            self._task(federation.terms.task),
            rounds_kept=self._rounds_kept,
            verdicts=self._known_verdicts(state, federation),
            anchors=self._known_anchors(state, federation),
        )

    def of_all(self, state: State) -> dict[FederationId, dict[Cid, Reason]]:
        """Return what each federation of the contract needs; raises StoreUnavailable."""
        return {id: self.of(state, federation) for id, federation in state.federations.items()}

    def named(self, state: State, federation: FederationState) -> dict[Cid, tuple[Mention, ...]]:
        """Return all that the log names of ``federation``, anchors included; raises StoreUnavailable."""
        return named(state, federation, self._known_anchors(state, federation))

    def knows_anchors(self, needs: Mapping[Cid, Reason]) -> bool:
        """Whether every model among ``needs``, which came from ``of``, could be read for the anchor that it names."""
        return all(cid.digest in self._anchors for cid, reason in needs.items() if reason.kind is Kind.MODEL)

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

    def _known_anchors(self, state: State, federation: FederationState) -> dict[Digest, Cid]:
        found = {digest: self._anchor(digest) for digest in _models(state, federation)}
        return {digest: anchor for digest, anchor in found.items() if anchor is not None}

    def _anchor(self, model: Digest) -> Cid | None:
        if model not in self._anchors:
            try:
                manifest = artifact_file(model, MANIFEST, self._get, MAX_ARTIFACT_BYTES, MAX_MANIFEST_BYTES)
                self._anchors[model] = anchor_of(manifest)
            except ArtifactRefused:
                self._anchors[model] = None  # it is no model, so nobody trains from it
            except (BlockMissing, BlockCorrupt):
                return None
        return self._anchors[model]


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
