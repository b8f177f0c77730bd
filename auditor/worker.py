"""The auditor's worker: follows a federation, fetches updates while they must be public, audits and attests.

Nothing that one round does, or fails to do, keeps the worker from the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from auditor.availability import Availability
from auditor.rederive import Audit, Verdict, audit_round
from auditor.sources import Undecided, load_task
from network.chain import Chain
from network.pins import Keeper
from network.progress import Watch, unwatched
from network.store import ContentStore
from network.transfer import publish, publish_file
from protocol.cid import RAW, block_cid, directory_cid
from protocol.errors import ArtifactRefused, ContentError, RondoError, TransactionReverted
from protocol.reference import resolve_federation
from protocol.report import derived_hash, encode_derived
from protocol.retention import ATTACHED, ROUNDS_KEPT, Kind, is_open
from protocol.state import FederationState, RoundState, State
from protocol.task import Task
from protocol.terms import Phase
from protocol.types import FederationId, Hash, RoundId, hex32
from protocol.unixfs import CHUNK, Block, directory_digest

# An undecided round is tried again after 1, 2, 4 … seconds of the chain's clock, at most this many.
LONGEST_WAIT_SECONDS = 60

Settled = tuple[RoundId, Hash, bytes]  # after a reorganisation a round can be settled otherwise


class AuditorWorker:
    """Audits the rounds of one federation as they are settled.

    Args:
        home: Folder of the record of updates fetched in time.
        attest: Whether decided audits are said on chain; the account must be a named auditor.
        say: Takes one line of progress.
        rounds_kept: For how many settled rounds the models that it served stay kept.
        watch: Shows how far large fetches are.
    """

    def __init__(
        self,
        chain: Chain,
        store: ContentStore,
        federation: FederationId,
        home: Path,
        *,
        attest: bool,
        say: Callable[[str], None],
        rounds_kept: int = ROUNDS_KEPT,
        watch: Watch = unwatched,
    ) -> None:
        self._chain, self._store, self._federation = chain, store, federation
        self._attests, self._say, self._watch = attest, say, watch
        self._availability = Availability(chain, store, home)
        self._audits: dict[Settled, Audit] = {}
        self._retries: dict[Settled, tuple[int, int]] = {}  # (chain second of the next try, seconds waited before it)
        self._said: set[str] = set()
        self._task: Task | None = None
        self._keeper = Keeper(store, rounds_kept)
        self._over: frozenset[RoundId] = (
            frozenset()
        )  # rounds that were over when it last let go of what they had needed

    @property
    def audits(self) -> dict[RoundId, Audit]:
        """The latest audit of each round, without its derivation."""
        return {audit.round: audit for audit in self._audits.values()}

    def step(self) -> int:
        """One pass: witness availability, audit what is settled, attest, take the fee. Returns the rounds done for good.

        Raises:
            UnknownFederation: The configured federation does not exist.
            ChainError: The chain does not answer; calling again goes on where this pass ended.
        """
        state = self._chain.state()
        federation = resolve_federation(state, self._federation)
        rounds = [state.rounds[round_id] for round_id in federation.rounds]
        # The live round first: history can wait, a challenge window cannot.
        done = sum(self._visit_safely(round_, federation) for round_ in reversed(rounds))
        self._let_go(state, frozenset(round_.id for round_ in rounds if not is_open(round_)))
        return done

    def _visit_safely(self, round_: RoundState, federation: FederationState) -> bool:
        try:
            return self._visit(round_, federation)
        except (ContentError, ArtifactRefused, Undecided, TransactionReverted) as error:
            # A revert is most often a race that the next look at the chain resolves: revealed, or attested too late.
            self._say_once(f"round {round_.index}: {error}")
            return not round_.phase.is_live

    def _visit(self, round_: RoundState, federation: FederationState) -> bool:
        if round_.settled is None:
            if round_.phase is Phase.SETTLEMENT:
                self._availability.watch(round_, self._load_task(federation))
            return round_.phase in (Phase.VOID, Phase.ABANDONED)
        audit = self._audit(round_)
        if audit.verdict is Verdict.UNDECIDED:
            return not round_.phase.is_live
        return not self._attests or (self._attest(round_, audit) and self._reveal(round_))

    def _load_task(self, federation: FederationState) -> Task:
        if self._task is None:
            self._task = load_task(self._store, federation)
        return self._task

    # --- what follows ---

    def _audit(self, round_: RoundState) -> Audit:
        settled = round_.settled
        assert settled is not None  # noqa: S101 - the caller's condition; tells the type checker
        key = (round_.id, settled.result_hash, settled.settlement.report)
        known = self._audits.get(key) or self._attested_before(round_)
        now = self._chain.now()
        due, waited = self._retries.get(key, (0, 0))
        if known is None or (known.verdict is Verdict.UNDECIDED and now >= due):
            known = self._derive(round_)
            self._tell(known)
            waited = min(LONGEST_WAIT_SECONDS, max(1, 2 * waited))
            self._retries[key] = (now + waited, waited)
        self._audits[key] = replace(known, derivation=None)  # models of every round would fill the memory
        return known

    def _derive(self, round_: RoundState) -> Audit:
        fetched = self._availability.fetched_in_time(round_.id)
        audit = audit_round(self._chain, self._store, round_.id, fetched_in_time=fetched, watch=self._watch)
        derivation = audit.derivation
        if derivation is not None and _has_no_report(round_, audit):
            self._publish_derived(encode_derived(derivation.derived))  # what later rounds read of it must not be lost
        if audit.verdict is not Verdict.MATCH or derivation is None or derivation.model_files is None:
            return audit
        # The result is right, so the next round will start from it, whether its publisher serves it or not.
        for files in (*derivation.artifacts, derivation.model_files):
            if not self._store.has_block(directory_cid(directory_digest(files))):
                publish(self._store, files)
        for file in derivation.anchors:
            publish_file(self._store, file)
        return audit

    def _attested_before(self, round_: RoundState) -> Audit | None:
        """What this account attested in an earlier life: history is not derived again after a restart."""
        account, settled = self._chain.account, round_.settled
        if account is None or account not in round_.attestations or settled is None:
            return None
        attested = round_.attestations[account][0]
        verdict = Verdict.MATCH if attested == settled.result_hash else Verdict.MISMATCH
        # Only a named auditor can have attested.
        return Audit(round_.id, round_.index, verdict, audited=True, result_hash=attested)

    # --- what is said on chain ---

    def _attest(self, round_: RoundState, audit: Audit) -> bool:
        account = self._chain.account
        if account is None or audit.result_hash is None or round_.settled is None:
            return True
        if account not in round_.attestations:
            if self._chain.now() >= round_.settled.challenge_ends:
                return True
            self._chain.attest(round_.id, audit.result_hash, audit.witness_of(account))
            self._say(f"round {round_.index}: attested {hex32(audit.result_hash)}")
            return False
        if round_.terms.attestation_fee and account not in round_.paid_auditors:
            self._chain.claim_attestation_fee(round_.id, account)
            self._say(f"round {round_.index}: took the attestation fee")
        return True

    def _reveal(self, round_: RoundState) -> bool:
        """Open a quorum's other result, so that clients are paid by it; its derived.json is published first."""
        if round_.phase is not Phase.REJECTED or round_.revealed is not None:
            return True
        if self._chain.now() >= (round_.reveal_ends or 0):
            return True
        audit = self._derive(round_)
        if audit.result_hash != round_.quorum_hash or audit.derivation is None:
            return True
        derived = audit.derivation.derived
        self._publish_derived(encode_derived(derived))
        self._chain.reveal(round_.id, derived.model, derived_hash(derived), derived.rewards_root, derived.rewards_total)
        self._say(f"round {round_.index}: revealed the result that the quorum agreed on")
        return False

    def _publish_derived(self, data: bytes) -> None:
        """The chain names derived.json by its sha-256, which up to one chunk is also the CID of the file itself."""
        if len(data) > CHUNK:
            return  # no CID follows from the hash of a longer file; clients derive the record themselves (S7)
        block = Block(block_cid(RAW, data), data)
        self._store.put_block(block)
        self._store.keep(block.cid)

    def _let_go(self, state: State, over: frozenset[RoundId]) -> None:
        """After a round: release the models and records that were published here and that no round needs any more."""
        if over == self._over:
            return
        self._over = over
        try:
            spare = self._keeper.spare(state, [self._federation])
            self._keeper.release(pin for pin in spare if pin.kind in {Kind.MODEL, Kind.RECORD} | ATTACHED)
        except RondoError as error:
            self._say_once(f"What past rounds no longer need was not let go: {error}")

    # --- what is said to people ---

    def _tell(self, audit: Audit) -> None:
        if audit.verdict is Verdict.UNDECIDED:
            self._say_once(f"round {audit.index}: undecided: {audit.reason}")
            return
        stated = " (model: stated by the organization, not recomputed)" if audit.stated else ""
        self._say(f"round {audit.index}: {audit.verdict}{stated}")
        for difference in audit.differences:
            self._say(f"  {difference.where}: said {difference.said}, follows {difference.derived}")

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._say(line)


def _has_no_report(round_: RoundState, audit: Audit) -> bool:
    """Whether the settled result is right while its report is wrong or gone."""
    follows = round_.settled is not None and audit.result_hash == round_.settled.result_hash
    return follows and (audit.verdict is Verdict.MISMATCH or bool(audit.reason))
