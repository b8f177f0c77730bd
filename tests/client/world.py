"""A federation in memory: acme organizes, carol audits, clients are the code under test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from network.memory_chain import MemoryChain
from network.memory_ledger import MemoryLedger
from network.memory_store import MemoryStore
from network.transfer import fetch, publish, publish_file
from processor.round import Derivation, derive_round, facts
from protocol.errors import ContentError
from protocol.events import UpdateSubmitted
from protocol.hashing import witness
from protocol.model import Model, decode_model, encode_model, weights_bytes
from protocol.report import Statement, derived_hash, encode_report
from protocol.state import RoundState
from protocol.task import Task, encode_task
from protocol.terms import FederationTerms, RoundTerms, Settlement
from protocol.types import ZERO_HASH, Address, Hash, RoundId, address

ACME, ALICE, BOB, CAROL, MALLORY = (address("0x" + digit * 40) for digit in "12345")
TOKEN, FORFEITS = address("0x" + "7" * 40), address("0x" + "8" * 40)
LIMIT = 1 << 24

TERMS = RoundTerms(
    reward_per_milli=3,
    max_millis=60_000,
    time_cap_millis=1_000,
    max_updates=2,
    training_seconds=300,
    settlement_seconds=300,
    challenge_seconds=300,
    bond=50,
    attestation_fee=5,
    consolidate=False,
)


class World:
    """One federation and the outside of a client."""

    def __init__(self, task: Task, model: Model, *, audited: bool = True) -> None:
        self.ledger, self.store, self.task = MemoryLedger(), MemoryStore(), task
        self.ledger.mint(TOKEN, ACME, 10**12)
        auditors = (CAROL,) if audited else ()
        terms = FederationTerms(
            TOKEN,
            publish(self.store, encode_task(task)),
            publish(self.store, encode_model(model)),
            FORFEITS,
            len(auditors),
            ZERO_HASH,
            auditors,
        )
        publish_file(self.store, weights_bytes(model))
        self.federation = self.chain(ACME).create_federation(Hash(bytes(32)), terms)

    def chain(self, account: Address) -> MemoryChain:
        return MemoryChain(self.ledger, account)

    def round(self, round_id: RoundId) -> RoundState:
        return self.ledger.state().rounds[round_id]

    def launch(self, **change: Any) -> RoundId:
        """Launch the next round; two minutes pass, so that there is time to state."""
        head = self.ledger.state().federations[self.federation].head
        round_id = self.chain(ACME).launch_round(self.federation, head, replace(TERMS, **change))
        self.ledger.advance(120)
        return round_id

    def close(self, round_id: RoundId) -> None:
        self.ledger.advance_to(max(self.ledger.now, self.round(round_id).training_ends))

    def derive(self, round_id: RoundId, refuse: frozenset[Address] = frozenset()) -> Derivation:
        """The honest result; ``refuse`` are called unavailable whatever is there."""
        round_ = self.round(round_id)
        base = decode_model(fetch(self.store, round_.base, LIMIT))

        def absent(client: Address, digest: Any) -> bool:
            try:
                fetch(self.store, digest, LIMIT)
            except ContentError:
                return True
            return client in refuse

        unavailable = frozenset(u.client for u in round_.updates if absent(u.client, u.digest))
        what = facts(self.ledger.chain_id, self.ledger.contract, round_)
        return derive_round(what, self.task, base, lambda digest: fetch(self.store, digest, LIMIT), unavailable)

    def settle(
        self,
        round_id: RoundId,
        derivation: Derivation | None = None,
        *,
        publish_report: bool = True,
        attested: Derivation | None = None,
        attest: bool = True,
    ) -> Derivation:
        """Settle by ``derivation`` (the honest one by default); carol attests it, or ``attested``, or nothing."""
        derivation = derivation or self.derive(round_id)
        derived = derivation.derived
        report = encode_report(derived, Statement({}, "test"))
        digest = publish(self.store if publish_report else MemoryStore(), report)
        if derivation.model_files is not None and derivation.model is not None:
            publish(self.store, derivation.model_files)
            publish_file(self.store, weights_bytes(derivation.model))
        self.chain(ACME).settle(
            round_id,
            Settlement(
                derived.updates_hash,
                derived.model,
                digest,
                derived_hash(derived),
                derived.rewards_root,
                derived.rewards_total,
            ),
        )
        agreed = attested or derivation
        if attest and self.ledger.state().federations[self.federation].terms.is_audited:
            proof = witness(CAROL, round_id, agreed.merge_digest)
            self.chain(CAROL).attest(round_id, agreed.result_hash, proof)
        return derivation

    def submissions(self, account: Address) -> list[UpdateSubmitted]:
        events = (one.event for one in self.ledger.logs)
        return [event for event in events if isinstance(event, UpdateSubmitted) and event.client == account]


def steps(step: Callable[[], str | None]) -> list[str]:
    """Step until there is nothing to do."""
    return list(iter(step, None))
