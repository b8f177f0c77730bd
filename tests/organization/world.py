"""acme's federation in memory: a chain whose clock is set, a store, clients that post, an auditor that agrees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from network.memory_chain import MemoryChain
from network.memory_ledger import MemoryLedger
from network.memory_store import MemoryStore
from network.transfer import fetch, publish
from organization.federation import Created, create_federation, name_auditors
from organization.launch import launch_round
from organization.worker import OrganizationWorker
from protocol.hashing import witness
from protocol.model import Model, decode_model
from protocol.replay import FederationState, RoundState, State
from protocol.task import Task
from protocol.terms import Phase, RoundTerms
from protocol.types import Digest, FederationId, Hash, RoundId
from protocol.unixfs import directory_digest
from protocol.update import Update, encode_update
from tests.processor.factory import CHAIN_ID, TinyRound, account, tiny_model, tiny_task, tiny_terms

TOKEN = account("token")
FUNDS = 10_000_000
SALT = Hash(bytes(32))  # the factory's federation has it, so that its updates are ours


class World:
    """One contract, one store, and acme's federation once `found` was called."""

    def __init__(self, task: Task | None = None, terms: RoundTerms | None = None) -> None:
        self.ledger = MemoryLedger(chain_id=CHAIN_ID, contract=account("contract"))
        self.store = MemoryStore()
        self.task = task or tiny_task(publication_seconds=60, rederivation_margin_seconds=60)
        self.terms = terms or tiny_terms()
        self.said: list[str] = []
        self.withheld: dict[Digest, dict[str, bytes]] = {}
        self.ledger.mint(TOKEN, account("acme"), FUNDS)

    def chain(self, name: str = "acme") -> MemoryChain:
        """The chain as ``name`` sees it."""
        return MemoryChain(self.ledger, account(name))

    def found(self, home: Path, model: Model | None = None, audited: bool = True, **changes: Any) -> Created:
        """Create acme's federation, audited by dave."""
        options: dict[str, Any] = {
            "task": self.task,
            "model": model or tiny_model(),
            "token": TOKEN,
            "bench": name_auditors([account("dave")] if audited else [], None, not audited),
            "salt": SALT,
            "fresh_salt": lambda: bytes(32),
        }
        return create_federation(self.chain(), self.store, home, **(options | changes))

    @property
    def state(self) -> State:
        return self.ledger.state()

    @property
    def federation(self) -> FederationState:
        (found,) = self.state.federations.values()
        return found

    @property
    def federation_id(self) -> FederationId:
        return self.federation.id

    @property
    def round(self) -> RoundState:
        """The last round."""
        return self.state.rounds[self.federation.rounds[-1]]

    def launch(self, **changes: Any) -> RoundId:
        """acme launches the next round."""
        terms = replace(self.terms, **changes)
        return launch_round(self.chain(), self.store, self.state, self.federation_id, terms)

    def update(self, name: str, **changes: Any) -> Update:
        """An honest update of the last round by ``name``."""
        round_ = self.round
        base = decode_model(fetch(self.store, round_.base, 1 << 20))
        return TinyRound(self.task, round_.terms, base, round_.index).update(name, **changes)

    def post(self, name: str, update: Update | None = None, withhold: bool = False, millis: int = 1000) -> Digest:
        """``name`` commits an update on chain; its bytes are published, or withheld until `release`."""
        files = encode_update(update or self.update(name))
        digest = directory_digest(files)
        if withhold:
            self.withheld[digest] = files
        else:
            publish(self.store, files)
        self.chain(name).submit_update(self.round.id, digest, millis)
        return digest

    def release(self) -> None:
        """Publish what was withheld."""
        for files in self.withheld.values():
            publish(self.store, files)

    def close_training(self) -> None:
        """Let the training window pass."""
        self.ledger.advance_to(max(self.ledger.now, self.round.training_ends))

    def attest(self, result: Hash | None = None) -> None:
        """dave attests the settled result, or another."""
        settled = self.round.settled
        assert settled is not None
        dave = self.chain("dave")
        dave.attest(self.round.id, result or settled.result_hash, witness(account("dave"), self.round.id, SALT))

    def worker(self, chain: Any = None, store: Any = None, **options: Any) -> OrganizationWorker:
        """acme's worker."""
        options = {"terms": self.terms, "say": self.said.append} | options
        return OrganizationWorker(chain or self.chain(), store or self.store, self.federation_id, **options)

    def live(self) -> Callable[[], None]:
        """What happens between a worker's steps: clients post, time passes, dave attests."""

        def pause() -> None:
            if self.federation.rounds and self.round.phase is Phase.TRAINING:
                self.ledger.advance(30)
                for name in ("alice", "bob", "carol"):
                    if self.round.update_of(account(name)) is None:
                        self.post(name)
                self.close_training()
            elif self.federation.rounds and self.round.phase is Phase.CHALLENGE:
                self.attest()
            else:
                self.ledger.advance(1)

        return pause

    def balance(self, name: str) -> int:
        """Base units that ``name`` holds."""
        return self.ledger.balance_of(TOKEN, account(name))
