"""The worker: a round from launch to money back, refusals by name, and a crash at every call."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import pytest

from network.transfer import fetch, publish
from organization.retry import MAX_REVERTS, MAX_UNKNOWN
from organization.settle import prepare_settlement
from protocol.cid import directory_cid
from protocol.errors import (
    BlockMissing,
    ChainUnavailable,
    InsufficientFunds,
    InvalidInput,
    LogsIncomplete,
    StoreUnavailable,
    TransactionReverted,
    UnknownFederation,
    UnknownRound,
)
from protocol.events import RoundLaunched, RoundSettled
from protocol.model import decode_model
from protocol.report import decode_report, derived_hash
from protocol.terms import Phase
from protocol.types import FederationId, Hash
from tests.network.test_probe import Searching
from tests.organization.faults import Crash, Faulty
from tests.organization.world import FUNDS, TOKEN, World
from tests.processor.factory import account

NAMES = ("alice", "bob", "carol")


@pytest.fixture
def world(tmp_path):
    world = World()
    world.found(tmp_path)
    return world


def trained(world, *names, **options):
    """A launched round with updates, training closed."""
    world.launch()
    world.ledger.advance(10)
    for name in names:
        world.post(name, **options)
    world.close_training()
    return world.round.id


def events(world, kind):
    return [logged.event for logged in world.ledger.logs if isinstance(logged.event, kind)]


def report_of(world):
    return decode_report(fetch(world.store, world.round.settled.settlement.report, 1 << 20))


# --- refusals ---


def test_refuses_another_account(world):
    with pytest.raises(InvalidInput, match="not the organization"):
        world.worker(world.chain("mallory")).step(1)


def test_refuses_to_launch_without_terms(world):
    with pytest.raises(InvalidInput, match="no terms"):
        world.worker(terms=None).step(1)


def test_run_ends_where_there_are_no_funds(world):
    world.ledger.transfer(TOKEN, account("acme"), account("bob"), FUNDS)
    with pytest.raises(InsufficientFunds):
        world.worker().run(1, pause=world.live())


def test_refuses_to_settle_a_void_round(world):
    round_id = trained(world)
    with pytest.raises(InvalidInput, match="it is void"):
        world.worker().settle(round_id)


def test_refuses_to_settle_too_late(world):
    round_id = trained(world, "alice")
    world.ledger.advance_to(world.round.settlement_ends)
    with pytest.raises(InvalidInput, match="it is abandoned"):
        world.worker().settle(round_id)


def test_a_missing_base_is_named_and_nothing_is_settled(world):
    round_id = trained(world, "alice")
    root = directory_cid(world.round.base)
    kept = world.store.blocks.pop(root)
    with pytest.raises(BlockMissing, match=str(root)):
        world.worker().settle(round_id)
    assert not events(world, RoundSettled)
    world.store.blocks[root] = kept
    assert world.worker().settle(round_id)


def test_run_gives_up_on_missing_content_only_while_nothing_is_at_stake(world):
    root = directory_cid(world.federation.head)
    kept = world.store.blocks.pop(root)
    with pytest.raises(BlockMissing):
        world.worker().run(1, pause=world.live())
    world.store.blocks[root] = kept
    trained(world, "alice")
    del world.store.blocks[root]
    pauses = itertools.count()

    def pause():
        if next(pauses) == 3:
            world.store.blocks[root] = kept
        world.live()() if world.round.phase is Phase.CHALLENGE else None

    world.worker().run(1, pause=pause)
    assert world.round.phase is Phase.FINAL
    assert any("Trying again" in line for line in world.said)


# --- a round ---


def test_training_is_waited_for(world):
    world.launch()
    worker = world.worker()
    assert not worker.step() and not worker.settle(world.round.id)
    assert "training until" in world.said[0] and len(world.said) == 1


def test_settles_at_once_when_all_bytes_are_there(world):
    round_id = trained(world, *NAMES)
    assert world.worker().settle(round_id)
    settled, (derived, statement) = world.round.settled, report_of(world)
    assert settled.settled_at == world.round.training_ends
    assert settled.settlement.derived_hash == derived_hash(derived)
    assert [one.verdict for one in derived.updates] == ["accepted"] * 3 and derived.merged == 3
    assert statement.metrics == {} and statement.software.startswith("rondo-fl")
    model = decode_model(fetch(world.store, settled.settlement.model, 1 << 20))
    assert model.round == 1 and model.parents == (world.round.base,)


def test_settling_again_changes_nothing(world):
    round_id = trained(world, "alice")
    assert world.worker().settle(round_id) and world.worker().settle(round_id)
    assert len(events(world, RoundSettled)) == 1


def test_missing_bytes_cost_their_client_alone(world):
    world.launch()
    world.ledger.advance(10)
    world.post("alice")
    world.post("bob", withhold=True)
    world.close_training()
    worker = world.worker()
    assert not worker.settle(world.round.id)
    assert account("bob") in world.said[-1]
    world.ledger.advance(59)
    assert not worker.settle(world.round.id)
    world.ledger.advance(1)
    assert worker.settle(world.round.id)
    derived, _ = report_of(world)
    assert [one.verdict for one in derived.updates] == ["accepted", "unavailable"]
    assert derived.updates[0].reward > 0 == derived.updates[1].reward


def test_late_bytes_within_the_window_are_merged(world):
    world.launch()
    world.ledger.advance(10)
    world.post("bob", withhold=True)
    world.close_training()
    worker = world.worker()
    assert not worker.settle(world.round.id)
    world.release()
    assert worker.settle(world.round.id)
    assert [one.verdict for one in report_of(world)[0].updates] == ["accepted"]


def test_refusals_are_said_and_unpaid(world):
    world.launch()
    world.ledger.advance(10)
    world.chain("mallory").submit_update(world.round.id, publish(world.store, {"update.json": b"{}"}), 1)
    world.post("alice")
    world.close_training()
    assert world.worker().settle(world.round.id)
    derived, _ = report_of(world)
    assert [one.verdict for one in derived.updates] == ["refused", "accepted"]
    assert any(account("mallory") in line and "refused" in line for line in world.said)


def test_content_is_published_before_the_transaction(world):
    round_id = trained(world, "alice")
    task = world.task
    prepared = prepare_settlement(world.chain(), world.store, world.state.rounds[round_id], task, frozenset())
    assert world.round.settled is None
    fetch(world.store, prepared.settlement.model, 1 << 20)
    fetch(world.store, prepared.settlement.report, 1 << 20)


def test_metrics_are_stated_and_their_failure_delays_nothing(world):
    round_id = trained(world, "alice")

    def fail(model):
        raise InvalidInput("wrong shape")

    assert world.worker(evaluate=fail).settle(round_id)
    assert any("not measured: wrong shape" in line for line in world.said)
    world.attest()
    trained(world, "bob")
    assert world.worker(evaluate=lambda model: {"accuracy": (model.round, 10)}).settle(world.round.id)
    assert report_of(world)[1].metrics == {"accuracy": (2, 10)}


def test_runs_rounds_and_takes_back_what_is_unused(world):
    world.worker().run(3, {2}, pause=world.live())
    rounds = [world.state.rounds[one] for one in world.federation.rounds]
    assert [one.phase for one in rounds] == [Phase.FINAL] * 3
    assert [one.terms.consolidate for one in rounds] == [False, True, False]
    assert rounds[1].base == rounds[0].settled.settlement.model
    owed = sum(one.settled.settlement.rewards_total + world.terms.attestation_fee for one in rounds)
    assert world.balance("acme") == FUNDS - owed and world.balance("contract") == owed
    assert world.worker().step(3)


def test_rounds_count_from_the_first(world):
    world.worker().run(1, pause=world.live())
    world.worker().run(2, pause=world.live())
    assert len(world.federation.rounds) == 2


def test_stops_when_told(world):
    world.worker().run(1, pause=world.live(), stopped=lambda: True)
    assert not world.federation.rounds


def test_an_abandoned_round_forfeits_its_bond_and_the_next_begins(world):
    trained(world, "alice")
    world.ledger.advance_to(world.round.settlement_ends)
    worker = world.worker()
    assert not worker.step(2) and not worker.step(2)
    first = world.state.rounds[world.federation.rounds[0]]
    assert first.phase is Phase.ABANDONED and first.forfeited == world.terms.bond and first.withdrawable == 0
    assert world.round.index == 2


def test_a_rejected_round_forfeits_its_bond(world):
    round_id = trained(world, "alice")
    assert world.worker().settle(round_id)
    world.attest(Hash(b"\x01" * 32))
    assert not world.worker().step(1)
    assert world.round.phase is Phase.REJECTED and world.round.forfeited == world.terms.bond


# --- the outside fails ---


@pytest.mark.parametrize("error", [ChainUnavailable("away"), StoreUnavailable("away")])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_run_waits_out_an_outage_at_any_call(tmp_path, error, after):
    for call in range(1, 50, 5):
        world = World()
        world.found(tmp_path / str(call))
        faulty = Faulty(call, after, error)
        world.worker(faulty.wrap(world.chain()), faulty.wrap(world.store)).run(1, pause=world.live())
        assert faulty.calls > call and world.round.phase is Phase.FINAL and len(events(world, RoundLaunched)) == 1


def test_run_looks_again_where_the_chain_is_ahead_of_its_view(world):
    chain = world.chain()
    stale = [world.state] * 3

    class Behind:
        """A node that shows an old state for a while."""

        def __getattr__(self, name):
            return getattr(chain, name)

        def state(self):
            return stale.pop() if stale else chain.state()

    world.launch()
    world.worker(Behind()).run(1, pause=world.live())
    assert len(events(world, RoundLaunched)) == 1 and any("RoundIsLive" in line for line in world.said)


class Refusing:
    """A chain that answers one call with an error, ``times`` times."""

    def __init__(self, world, call, error, times=10**9):
        self._chain, self._call, self._error, self.left = world.chain(), call, error, times

    def __getattr__(self, name):
        method = getattr(self._chain, name)
        if name != self._call or not self.left:
            return method

        def refuse(*args):
            self.left -= 1
            raise self._error

        return refuse


def test_run_gives_up_on_a_contract_that_keeps_refusing(world):
    chain = Refusing(world, "launch_round", TransactionReverted("InvalidTerm"))
    with pytest.raises(TransactionReverted, match="InvalidTerm"):
        world.worker(chain).run(1, pause=lambda: None)
    assert 10**9 - chain.left == MAX_REVERTS + 1


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("settle", TransactionReverted("InvalidRewards")),
        ("settle", InsufficientFunds("no gas")),
        ("settle", ChainUnavailable("away")),
        ("state", LogsIncomplete("gap")),
        ("state", UnknownFederation("behind")),
        ("state", UnknownRound("behind")),
        ("now", ChainUnavailable("away")),
    ],
)
@pytest.mark.parametrize("how", ["run", "settle"])
def test_nothing_outside_ends_the_worker_while_a_round_is_live(world, call, error, how):
    round_id = trained(world, "alice")
    chain = Refusing(world, call, error, times=0)
    worker = world.worker(chain)
    assert worker.at_stake()
    worker._watch(world.round)
    chain.left = 25
    if how == "run":
        worker.run(1, pause=lambda: None if chain.left else world.live()())
        assert world.round.phase is Phase.FINAL
    else:
        assert worker.settle_when_possible(lambda state: round_id, pause=lambda: None)
    assert chain.left == 0 and any("Trying again" in line for line in world.said)


@pytest.mark.parametrize("how", ["run", "settle"])
def test_a_node_that_lags_behind_is_waited_for(world, how):
    empty = world.state
    round_id = trained(world, "alice")
    chain, behind = world.chain(), [replace(empty, federations={}, rounds={})] * 5

    class Behind:
        def __getattr__(self, name):
            return getattr(chain, name)

        def state(self):
            return behind.pop() if behind else chain.state()

    worker = world.worker(Behind())
    if how == "run":
        worker.run(1, pause=lambda: None if behind else world.live()())
    else:
        assert worker.settle_when_possible(lambda state: round_id, pause=lambda: None)
    assert world.round.settled is not None


def test_an_id_that_stays_unknown_is_said(world):
    worker = world.worker()
    worker.federation = FederationId(b"?" * 32)
    looks = itertools.count()
    with pytest.raises(UnknownFederation):
        worker.run(1, pause=lambda: next(looks))
    assert next(looks) == MAX_UNKNOWN


def test_settling_waits_only_for_what_can_come(world):
    round_id = trained(world, "alice")
    world.ledger.advance_to(world.round.settlement_ends)
    with pytest.raises(InvalidInput, match="it is abandoned"):
        world.worker().settle_when_possible(lambda state: round_id, pause=lambda: None)


def test_a_settlement_that_fails_does_not_look_for_withheld_bytes_again(world):
    world.launch()
    world.ledger.advance(10)
    world.post("alice")
    world.post("bob", withhold=True)
    world.close_training()
    world.ledger.advance(60)
    chain = Refusing(world, "settle", ChainUnavailable("away"), times=3)
    released = itertools.count()

    def pause():
        if next(released) == 0:
            world.release()  # later than the last look: it changes nothing

    worker = world.worker(chain)
    assert worker.settle_when_possible(lambda state: world.round.id, pause=pause)
    assert [one.verdict for one in report_of(world)[0].updates] == ["accepted", "unavailable"]


def test_a_dozen_withheld_updates_cost_the_bond_nothing(tmp_path):
    """Each missing block is searched for as long as the store is allowed to, as in a real network."""
    world = World()
    world.store = Searching()
    world.found(tmp_path)
    world.launch(settlement_seconds=68)
    world.ledger.advance(10)
    for number in range(12):
        world.post(f"mallory{number}", withhold=True)
    world.post("alice")
    world.close_training()
    world.ledger.advance(60)  # the publication window is over, 8 s are left to settle
    began = time.monotonic()
    assert world.worker().settle(world.round.id)
    assert time.monotonic() - began < 8
    assert [one.verdict for one in report_of(world)[0].updates] == ["unavailable"] * 12 + ["accepted"]


def test_every_update_that_is_whole_is_kept_for_the_auditors(world):
    kept = []
    world.store.keep = kept.append
    world.launch()
    world.ledger.advance(10)
    good = world.post("alice")
    wrong = world.post("bob", world.update("bob", steps=1))
    withheld = world.post("carol", withhold=True)
    large = publish(world.store, {"delta.safetensors": bytes(1 << 20)})
    world.chain("mallory").submit_update(world.round.id, large, 1)
    world.close_training()
    world.ledger.advance(60)
    kept.clear()
    assert world.worker().settle(world.round.id)
    assert [one.verdict for one in report_of(world)[0].updates] == ["accepted", "refused", "unavailable", "refused"]
    assert {directory_cid(good), directory_cid(wrong), directory_cid(large)} <= set(kept)
    assert directory_cid(withheld) not in kept


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_crash_at_any_call_leads_to_the_same_money(tmp_path, after):
    """Law: whatever call the process dies in, a fresh worker ends with one launch, one settlement and the same pay."""
    whole = World()
    whole.found(tmp_path / "whole")
    whole.worker().run(1, pause=whole.live())
    for call in itertools.count(1):
        world = World()
        world.found(tmp_path / str(call))
        faulty = Faulty(call, after)
        try:
            world.worker(faulty.wrap(world.chain()), faulty.wrap(world.store)).run(1, pause=world.live())
        except Crash:
            pass
        else:
            break
        world.worker().run(1, pause=world.live())
        assert len(events(world, RoundLaunched)) == len(events(world, RoundSettled)) == 1
        assert world.round.settled.settlement == whole.round.settled.settlement
        assert world.balance("acme") == whole.balance("acme") and world.balance("contract") == whole.balance("contract")
    assert call > 40
