"""The organization on the contract itself: a round on an EVM node, with the process dying before any one transaction."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from network.memory_store import MemoryStore
from network.node import LocalNode
from network.sender import Sender
from network.transfer import fetch, publish
from organization.federation import create_federation, name_auditors
from organization.worker import OrganizationWorker
from protocol.errors import InsufficientFunds
from protocol.events import RoundLaunched, RoundSettled
from protocol.hashing import witness
from protocol.model import decode_model
from protocol.terms import Phase
from protocol.types import Hash
from protocol.update import encode_update
from tests.network.chain_world import EvmWorld, address_of
from tests.organization.faults import Crash
from tests.processor.factory import TinyRound, tiny_model, tiny_task, tiny_terms

pytestmark = pytest.mark.node

TASK = tiny_task(publication_seconds=60, rederivation_margin_seconds=60)
FEE, RATE = 10, 3


@pytest.fixture(scope="module")
def node() -> Iterator[LocalNode]:
    with LocalNode(block_time=None) as running:
        yield running


class Federation:
    """acme's federation on a node, audited by one."""

    def __init__(self, node, home, salt):
        self.world, self.store = EvmWorld(node), MemoryStore()
        created = create_federation(
            self.world.chain("acme"),
            self.store,
            home,
            task=TASK,
            model=tiny_model(),
            token=self.world.token,
            bench=name_auditors([address_of("auditor-1")], 1, False),
            salt=Hash(salt * 32),
            fresh_salt=lambda: salt * 32,
        )
        self.id = created.federation

    @property
    def rounds(self):
        state = self.world.state()
        return [state.rounds[one] for one in state.federations[self.id].rounds]

    def run(self, terms=None):
        """acme's worker until one round is over."""
        worker = OrganizationWorker(self.world.chain("acme"), self.store, self.id, terms=terms or tiny_terms())
        worker.run(1, pause=self.live)

    def live(self):
        """alice trains, time passes, the auditor attests."""
        if not self.rounds:
            return
        (round_,) = self.rounds
        if round_.phase is Phase.TRAINING:
            self.world.advance(30)
            if not round_.updates:
                self.post(round_)
            self.world.advance_to(round_.training_ends)
        elif round_.phase is Phase.CHALLENGE:
            auditor = address_of("auditor-1")
            stated = round_.settled.result_hash
            self.world.chain("auditor-1").attest(round_.id, stated, witness(auditor, round_.id, stated))

    def post(self, round_):
        base = decode_model(fetch(self.store, round_.base, 1 << 20))
        mine = {"federation": self.id, "round": round_.id, "author": address_of("alice")}
        update = TinyRound(TASK, round_.terms, base).update("alice", base=round_.base, **mine)
        self.world.chain("alice").submit_update(round_.id, publish(self.store, encode_update(update)), 1000)

    def count(self, kind):
        logs = self.world.chain("acme").logs()
        return sum(isinstance(logged.event, kind) for logged in logs)


def test_refuses_an_escrow_that_acme_does_not_hold(node, tmp_path):
    federation = Federation(node, tmp_path, b"\x01")
    with pytest.raises(InsufficientFunds):
        federation.run(tiny_terms(bond=10**18))
    assert federation.rounds == []


# Sent by acme's worker, in this order: approve, launch, settle, withdraw. The others send between them.
@pytest.mark.parametrize("dies_before", ["approve", "launch", "settle", "withdraw", None])
def test_one_launch_and_one_settlement_however_it_dies(node, tmp_path, monkeypatch, dies_before):
    federation = Federation(node, tmp_path, b"\x02")
    acme, sent = address_of("acme"), []
    send = Sender.send

    def dying(self, to, data, *arguments, **options):
        if self.address == acme:
            sent.append(to)
            names = ["approve", "launch", "settle", "withdraw"]
            if dies_before in names and len(sent) == names.index(dies_before) + 1:
                raise Crash
        return send(self, to, data, *arguments, **options)

    monkeypatch.setattr(Sender, "send", dying)
    if dies_before:
        with pytest.raises(Crash):
            federation.run()
    federation.run()
    (round_,) = federation.rounds
    assert len(sent) == 4 + (dies_before is not None)
    assert federation.count(RoundLaunched) == federation.count(RoundSettled) == 1
    assert round_.phase is Phase.FINAL and round_.withdrawable == 0
    owed = round_.settled.settlement.rewards_total + FEE
    assert 0 < round_.settled.settlement.rewards_total <= RATE * 1000
    assert round_.returned == round_.escrow - owed
    federation.world.check()
