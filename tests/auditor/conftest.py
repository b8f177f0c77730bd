"""A federation in memory with three clients and three auditors (quorum 2); what acme settles is up to the test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auditor.rederive import Audit, audit_round
from auditor.worker import AuditorWorker
from network.memory_chain import MemoryChain
from network.memory_ledger import MemoryLedger
from network.memory_store import MemoryStore
from network.transfer import fetch, publish
from processor.round import Derivation, derive_round, facts
from protocol.model import encode_model
from protocol.report import Derived, Statement, derived_hash, encode_report
from protocol.rewards import rewards_tree
from protocol.state import RoundState
from protocol.task import encode_task
from protocol.terms import FederationTerms, Settlement
from protocol.types import Digest, Hash, RoundId, address
from protocol.update import encode_update
from tests.processor.factory import TinyRound, account, tiny_model, tiny_task, tiny_terms

TOKEN = address("0x" + "70ce".rjust(40, "0"))
AUDITORS = tuple(sorted((account(name) for name in ("ann", "ben", "cat")), key=lambda text: int(text, 16)))
STATEMENT = Statement(metrics={"accuracy": (9, 10)}, software="tests")


class Stage:
    """One round up to its settlement, with helpers that lie on demand."""

    def __init__(self) -> None:
        self.ledger, self.store = MemoryLedger(), MemoryStore()
        self.task = tiny_task(publication_seconds=60, rederivation_margin_seconds=60)
        self.base = tiny_model()
        self.acme = MemoryChain(self.ledger, account("acme"))
        self.ledger.mint(TOKEN, account("acme"), 10**12)
        terms = FederationTerms(
            token=TOKEN,
            task=publish(self.store, encode_task(self.task)),
            model=publish(self.store, encode_model(self.base)),
            forfeit_to=account("charity"),
            quorum=2,
            admission_root=Hash(bytes(32)),
            auditors=AUDITORS,
        )
        self.federation = self.acme.create_federation(Hash(bytes(32)), terms)
        self.round: RoundId = self.acme.launch_round(self.federation, terms.model, tiny_terms(max_updates=3))
        tiny = TinyRound(task=self.task, terms=tiny_terms(max_updates=3), base=self.base)
        tiny.federation, tiny.round = self.federation, self.round
        self.updates = {name: tiny.update(name) for name in ("alice", "bob", "carol")}
        self.digests: dict[str, Digest] = {}

    @property
    def state(self) -> RoundState:
        return self.acme.state().rounds[self.round]

    def submit(self, published: tuple[str, ...] = ("alice", "bob", "carol")) -> Stage:
        self.ledger.advance(10)
        for name, update in self.updates.items():
            files = encode_update(update)
            scratch = MemoryStore()
            self.digests[name] = publish(self.store if name in published else scratch, files)
            MemoryChain(self.ledger, account(name)).submit_update(self.round, self.digests[name], 1000)
        return self

    def derive(self, unavailable: tuple[str, ...] = ()) -> Derivation:
        read = lambda digest: fetch(self.store, digest, 10**9)  # noqa: E731
        absent = frozenset(account(name) for name in unavailable)
        return derive_round(
            facts(self.acme.chain_id, self.acme.contract, self.state), self.task, self.base, read, absent
        )

    def settle(
        self,
        unavailable: tuple[str, ...] = (),
        lie: Callable[[Derived], Derived] = lambda derived: derived,
        **chain: Any,
    ) -> Derivation:
        """Settle what follows, or ``lie`` of it in report and rewards, or other values on ``chain``."""
        derivation = self.derive(unavailable)
        if derivation.model_files is not None:
            publish(self.store, derivation.model_files)
        derived = lie(derivation.derived)
        tree = rewards_tree(self.round, [(update.client, update.reward) for update in derived.updates])
        derived = replace(derived, rewards_root=tree.root, rewards_total=sum(one.reward for one in derived.updates))
        settlement = Settlement(
            updates_hash=derived.updates_hash,
            model=derived.model,
            report=publish(self.store, encode_report(derived, STATEMENT)),
            derived_hash=derived_hash(derived),
            rewards_root=derived.rewards_root,
            rewards_total=derived.rewards_total,
        )
        self.acme.settle(self.round, replace(settlement, **chain))
        return derivation

    def audit(self, **arguments: Any) -> Audit:
        return audit_round(MemoryChain(self.ledger), self.store, self.round, **arguments)

    def worker(self, number: int, home: Path, attest: bool = True) -> AuditorWorker:
        chain = MemoryChain(self.ledger, AUDITORS[number])
        self.lines: list[str] = getattr(self, "lines", [])
        return AuditorWorker(
            chain, self.store, self.federation, home / str(number), attest=attest, say=self.lines.append
        )


@pytest.fixture
def stage() -> Stage:
    return Stage()
