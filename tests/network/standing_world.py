"""Several rounds of a federation whose task looks at standing: alice and bob honest, mallory as a test says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from auditor.rederive import Audit, audit_round
from network.standing import load_records, load_standing
from network.store import ContentStore
from network.transfer import fetch, publish
from processor.round import Derivation, derive_round, facts
from protocol.cid import RAW, block_cid
from protocol.hashing import witness
from protocol.merge_terms import Standing
from protocol.model import decode_model
from protocol.past import Past
from protocol.report import (
    Derived,
    Statement,
    UpdateVerdict,
    decode_report,
    derived_hash,
    encode_derived,
    encode_report,
)
from protocol.state import RoundState
from protocol.terms import Phase, Settlement
from protocol.types import Address
from protocol.unixfs import Block
from tests.organization.world import SALT, World
from tests.processor.factory import account, tiny_task

HONEST = ("alice", "bob")
LIMIT = 1 << 20


class StandingWorld(World):
    """acme's federation, its rounds settled by acme's own worker and audited by dave's own code."""

    def __init__(
        self, home: Path, standing: Standing, audited: bool = True, store: ContentStore | None = None, **task: Any
    ) -> None:
        super().__init__(tiny_task(publication_seconds=60, rederivation_margin_seconds=60, standing=standing, **task))
        if store is not None:
            self.store = store  # type: ignore[assignment]
        self.found(home, audited=audited)

    # --- a round ---

    def train(self, *names: str, bad: Sequence[str] = (), withhold: Sequence[str] = ()) -> RoundState:
        """A new round up to the end of its training: ``bad`` state a step too many, ``withhold`` never publish."""
        self.launch()
        self.ledger.advance(30)
        for name in names:
            self.post(name, withhold=name in withhold)
        for name in bad:
            honest = self.update(name)
            self.post(name, replace(honest, steps=honest.steps + 1))
        self.close_training()
        if withhold:
            self.ledger.advance(self.task.publication_seconds)
        return self.round

    def play(self, *names: str, **how: Sequence[str]) -> Derived:
        """A whole round that dave confirms; its record."""
        self.train(*names, **how)
        assert self.worker().settle(self.round.id)
        self.attest()
        assert self.round.phase is Phase.FINAL
        return self.record()

    def record(self) -> Derived:
        """What acme reported of the last round."""
        settled = self.round.settled
        assert settled is not None
        return decode_report(fetch(self.store, settled.settlement.report, LIMIT))[0]

    # --- what follows, and what is said instead ---

    def derive(self, standing: Mapping[Address, int] | None = None) -> Derivation:
        """The last round with the standings that follow, or with others."""
        if standing is None:
            standing = load_standing(self.store, self.state, self.round, self.task)
        return derive_round(
            facts(self.chain().chain_id, self.chain().contract, self.round),
            self.task,
            decode_model(fetch(self.store, self.round.base, LIMIT)),
            lambda digest: fetch(self.store, digest, LIMIT),
            frozenset(),
            Past(standing=standing),
        )

    def settle(self, derivation: Derivation, report: Mapping[str, bytes] | None = None, **chain: Any) -> None:
        """acme states ``derivation``, with another report or other values where given."""
        if derivation.model_files is not None:
            publish(self.store, derivation.model_files)
        derived = derivation.derived
        files = encode_report(derived, Statement({}, "test")) if report is None else report
        settlement = Settlement(
            derived.updates_hash,
            derived.model,
            publish(self.store, files),
            derived_hash(derived),
            derived.rewards_root,
            derived.rewards_total,
        )
        self.chain().settle(self.round.id, replace(settlement, **chain))

    def reject(self, agreed: Derivation, publish_record: bool = True) -> None:
        """dave agrees on ``agreed`` instead of what is settled, and reveals it."""
        dave, derived = self.chain("dave"), agreed.derived
        dave.attest(self.round.id, agreed.result_hash, witness(account("dave"), self.round.id, SALT))
        if publish_record:
            data = encode_derived(derived)
            self.store.put_block(Block(block_cid(RAW, data), data))
        dave.reveal(self.round.id, derived.model, derived_hash(derived), derived.rewards_root, derived.rewards_total)

    def audit(self) -> Audit:
        """dave's audit of the last round."""
        return audit_round(self.chain("dave"), self.store, self.round.id)

    # --- standings ---

    def records(self, before: RoundState | None = None) -> list[Derived]:
        return load_records(self.store, self.state, self.federation, self.task.standing, before)

    def standing_of(self, name: str) -> int:
        """The standing of ``name`` in the last round."""
        return load_standing(self.store, self.state, self.round, self.task).get(account(name), 0)


def said_of(derived: Derived, name: str) -> UpdateVerdict:
    """The verdict on the update of ``name``."""
    return next(one for one in derived.updates if one.client == account(name))
