"""state = replay(logs, now): the Python replay of the events says what the contract's views say, at every deadline."""

import json
from pathlib import Path

import brownie
import pytest
from support import ETHER, MODEL, Phase, at, client_claims, mine_at, now, plain

from network.event_codec import EventCodec
from protocol.replay import replay

ABI = json.loads((Path(__file__).resolve().parents[2] / "network" / "abi" / "TrainingRounds.json").read_text())["abi"]


def state_of(rounds):
    codec = EventCodec(ABI)
    logs = brownie.web3.eth.get_logs({"address": rounds.address, "fromBlock": 0, "toBlock": "latest"})
    logged = [entry for entry in map(codec.decode, logs) if entry is not None]
    return replay(logged, now(), chain_id=brownie.web3.eth.chain_id, contract=rounds.address)


def assert_replays(world, rounds):
    """Compare every round and federation of the replay with the views."""
    state = state_of(rounds)
    for id, federation in state.federations.items():
        view = rounds.getFederation(id)
        assert plain(view["head"]) == federation.head
        assert plain(view["admissionRoot"]) == federation.admission_root
        assert (view["organization"], view["rounds"]) == (federation.organization, len(federation.rounds))
    for id, round in state.rounds.items():
        view = world.view(id)
        zero = bytes(32)
        settled, revealed = round.settled, round.revealed
        said = revealed or (settled and settled.settlement)
        assert view == {
            "federation": round.federation,
            "index": round.index,
            "phase": round.phase,
            "basis": round.basis,
            "base": round.base,
            "termsHash": round.terms_hash,
            "admissionRoot": round.admission_root,
            "launchedAt": round.launched_at,
            "trainingEnds": round.training_ends,
            "settlementEnds": round.settlement_ends,
            "challengeEnds": round.challenge_ends or 0,
            "revealEnds": round.reveal_ends or 0,
            "updates": len(round.updates),
            "updatesHash": round.updates_hash,
            "timeMillis": round.time_millis,
            "resultHash": settled.result_hash if settled else zero,
            "quorumHash": round.quorum_hash or zero,
            "rewardsRoot": said.rewards_root if said else zero,
            "rewardsTotal": said.rewards_total if said else 0,
            "attestations": len(round.attestations),
            "revealed": revealed is not None,
            "escrowed": round.escrow,
            "paidClients": round.paid_clients,
            "paidAuditors": sum(round.paid_auditors.values()),
            "returned": round.returned,
            "forfeited": round.forfeited,
        }
        assert rounds.withdrawable(id) == round.withdrawable
        for update in round.updates:
            seen = plain(rounds.getUpdate(id, update.client))
            assert seen == (update.millis, True, update.paid is not None)


@pytest.fixture
def rewards(alice, bob):
    return {alice: 20 * ETHER, bob: 4 * ETHER}


@pytest.mark.parametrize("phase", [Phase.VOID, Phase.FINAL, Phase.UNCONFIRMED, Phase.REJECTED, Phase.ABANDONED])
def test_every_outcome_at_every_deadline_to_the_last_payment(world, rounds, rewards, acme, phase):
    round, result = world.decided(phase, {} if phase == Phase.VOID else rewards)
    assert_replays(world, rounds)
    view = world.view(round)
    rounds.withdraw(round, {"from": acme})
    for deadline in sorted({view["challengeEnds"], view["revealEnds"], view["settlementEnds"]}):
        for moment in (deadline - 1, deadline):
            if moment > now():
                mine_at(moment)
                assert_replays(world, rounds)
    rounds.withdraw(round, {"from": acme})
    for client in rewards if phase not in (Phase.VOID, Phase.FINAL) else ():
        rounds.claimByTime(round, client, {"from": acme})
        assert_replays(world, rounds)
    if phase == Phase.FINAL:
        claims = [client_claims(client, result.item(client)) for client in rewards]
        rounds.claimBatch(world.view(round)["federation"], claims, {"from": acme})
    if phase in (Phase.FINAL, Phase.REJECTED):
        rounds.claimAttestationFee(round, world.auditors[0], {"from": acme})
    if phase in (Phase.REJECTED, Phase.ABANDONED):
        rounds.forfeit(round, {"from": acme})
    assert_replays(world, rounds)


def test_a_revealed_round(world, rounds, rewards, acme, mallory):
    round, _ = world.decided(Phase.REJECTED, rewards)
    other = world.other(round, rewards)
    rounds.reveal(*other.opening, {"from": mallory})
    assert_replays(world, rounds)
    rounds.claim(*other.claim(next(iter(rewards))), {"from": acme})
    rounds.withdraw(round, {"from": acme})
    assert_replays(world, rounds)


def test_batches_over_rounds_of_either_basis(world, rounds, rewards, acme, alice, bob):
    """A client's whole year in one call, with rounds that it has been paid for and one that it missed in between."""
    federation = world.federation(quorum=0)
    items = {client: [] for client in rewards}
    for index in range(1, 10):
        clients = [alice] if index == 4 else list(rewards)
        head = plain(rounds.getFederation(federation)["head"])
        round = world.trained(federation, clients, base=head, challenge_seconds=0)
        if index % 3 == 0:
            world.close_settlement(round)
        else:
            result = world.settle(round, {client: rewards[client] for client in clients}, model=MODEL)
        for client in clients:
            items[client].append(index if index % 3 == 0 else result.item(client, index))
    rounds.claimBatch(federation, [client_claims(bob, *items[bob][2:5])], {"from": acme})
    assert_replays(world, rounds)
    rounds.claimBatch(
        federation, [client_claims(client, *reversed(items[client])) for client in rewards], {"from": acme}
    )
    assert_replays(world, rounds)
    state = state_of(rounds)
    paid = [update.paid for id in state.federations[federation].rounds for update in state.rounds[id].updates]
    assert len(paid) == 17
    assert None not in paid


def test_a_live_round_step_by_step(world, rounds, federation, alice, bob, carol, mallory):
    round = world.launch(federation)
    assert_replays(world, rounds)
    at(now() + 100)
    rounds.submitUpdates(round, [world.signed(round, alice), world.signed(round, alice)], {"from": mallory})
    world.submit(round, bob, 59_999)
    assert_replays(world, rounds)
    world.submit(round, carol)  # the last one closes training
    assert_replays(world, rounds)
    result = world.settle(round, {alice: ETHER})
    assert_replays(world, rounds)
    for count, auditor in enumerate(world.auditors):
        hashed = result.result_hash if count != 1 else b"\7" * 32
        rounds.attest(round, hashed, bytes(32), {"from": auditor})
        assert_replays(world, rounds)
