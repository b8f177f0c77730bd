"""The auditor's worker: follows a federation, fetches updates while they must be public, audits and attests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from auditor.rederive import Audit, Verdict, audit_round
from auditor.sources import TASK_LIMIT_BYTES
from network.chain import Chain
from network.files import make_directory, write_atomic
from network.store import ContentStore, fetch
from protocol.cid import RAW, block_cid
from protocol.errors import ArtifactRefused, ContentError, InvalidInput
from protocol.report import derived_hash, encode_derived
from protocol.state import RoundState
from protocol.task import Task, decode_task
from protocol.terms import Phase
from protocol.types import Address, FederationId, RoundId, hex32
from protocol.unixfs import Block


class AuditorWorker:
    """Audits the rounds of one federation as they are settled.

    Args:
        home: Folder of local caches: which updates were fetched in their window, and the last verdicts.
        attest: Whether decided audits are said on chain; the account must be a named auditor.
        say: Takes one line of progress.
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
    ) -> None:
        self.chain, self.store, self.federation = chain, store, federation
        self.home, self.attest, self.say = home, attest, say
        self.audits: dict[RoundId, Audit] = {}
        self._task: Task | None = None
        self._undecided: dict[RoundId, str] = {}

    def step(self) -> int:
        """One pass: witness availability, audit what is settled, attest, take the fee. Returns the rounds done for good.

        Raises:
            InvalidInput: The configured federation does not exist.
            ChainError: The chain does not answer.
        """
        state = self.chain.state()
        federation = state.federations.get(self.federation)
        if federation is None:
            raise InvalidInput(
                f"The contract has no federation {hex32(self.federation)}.",
                "The id is wrong, or belongs to another chain.",
                "Set federation to the id that `rondo org create` printed.",
            )
        done = 0
        for round_id in federation.rounds:
            done += self._visit(state.rounds[round_id])
        return done

    def _visit(self, round_: RoundState) -> bool:
        if round_.settled is None:
            if round_.phase is Phase.SETTLEMENT:
                self._witness_availability(round_)
            return round_.phase in (Phase.VOID, Phase.ABANDONED)
        audit = self.audits.get(round_.id)
        if audit is None or audit.verdict is Verdict.UNDECIDED:
            audit = audit_round(self.chain, self.store, round_.id, fetched_in_time=self._witnessed(round_))
            self.audits[round_.id] = audit
            self._report(audit)
        if audit.verdict is Verdict.UNDECIDED:
            return not round_.phase.is_live
        if not self.attest:
            return True
        return self._attest(round_, audit) and self._reveal(round_, audit)

    def _attest(self, round_: RoundState, audit: Audit) -> bool:
        account = self.chain.account
        if account is None or audit.result_hash is None or round_.settled is None:
            return True
        if account not in round_.attestations:
            if self.chain.now() >= round_.settled.challenge_ends:
                return True
            self.chain.attest(round_.id, audit.result_hash, audit.witness_of(account))
            self.say(f"round {round_.index}: attested {hex32(audit.result_hash)}")
            return False
        if round_.terms.attestation_fee and account not in round_.paid_auditors:
            self.chain.claim_attestation_fee(round_.id, account)
            self.say(f"round {round_.index}: took the attestation fee")
        return True

    def _reveal(self, round_: RoundState, audit: Audit) -> bool:
        """Open a quorum's other result, so that clients are paid by it; its derived.json is published first."""
        derivation = audit.derivation
        if round_.phase is not Phase.REJECTED or round_.revealed is not None or derivation is None:
            return True
        if audit.result_hash != round_.quorum_hash or self.chain.now() >= (round_.reveal_ends or 0):
            return True
        derived = derivation.derived
        # The chain names derived.json by its sha-256, which is also the CID of the same bytes as one raw block.
        data = encode_derived(derived)
        self.store.put_block(Block(block_cid(RAW, data), data))
        self.chain.reveal(round_.id, derived.model, derived_hash(derived), derived.rewards_root, derived.rewards_total)
        self.say(f"round {round_.index}: revealed the result that the quorum agreed on")
        return False

    def _report(self, audit: Audit) -> None:
        if audit.verdict is Verdict.UNDECIDED:
            if self._undecided.get(audit.round) != audit.reason:
                self.say(f"round {audit.index}: undecided: {audit.reason}")
            self._undecided[audit.round] = audit.reason
            return
        self.say(f"round {audit.index}: {audit.verdict}")
        for difference in audit.differences:
            self.say(f"  {difference.where}: said {difference.said}, follows {difference.derived}")

    def _witness_availability(self, round_: RoundState) -> None:
        """Remember whose bytes were public within the publication window, for contesting a false ``unavailable``."""
        task = self._task or decode_task(
            fetch(self.store, self.chain.state().federations[self.federation].terms.task, TASK_LIMIT_BYTES)
        )
        self._task = task
        if (
            round_.training_closed_at is None
            or self.chain.now() >= round_.training_closed_at + task.publication_seconds
        ):
            return
        seen = set(self._witnessed(round_))
        for update in round_.updates:
            if update.client not in seen and self._is_public(update.digest, task):
                seen.add(update.client)
        make_directory(self.home)
        write_atomic(self._witness_file(round_), json.dumps(sorted(seen)).encode())

    def _is_public(self, digest: bytes, task: Task) -> bool:
        try:
            fetch(self.store, digest, task.limits.update_bytes)  # type: ignore[arg-type]
        except ContentError:
            return False
        except ArtifactRefused:
            return True  # the bytes are there; that they are refused is another verdict
        return True

    def _witnessed(self, round_: RoundState) -> frozenset[Address]:
        try:
            return frozenset(json.loads(self._witness_file(round_).read_bytes()))
        except (OSError, ValueError):
            return frozenset()

    def _witness_file(self, round_: RoundState) -> Path:
        return self.home / f"witnessed-{round_.id.hex()}.json"
