"""What returns to the organization, and when; the sums of each outcome are in test_outcomes.py."""

import pytest
from support import ETHER, RATE, WITNESS, ZERO_HASH, Phase, assert_events, mine_at, refused

POOL = 180 * ETHER
ESCROW = POOL + 5 * ETHER + 3 * ETHER


@pytest.fixture
def rewards(alice, bob):
    return {alice: 20 * ETHER, bob: 4 * ETHER}


def test_refuses_an_unknown_round(rounds, acme):
    with refused("UnknownRound", ZERO_HASH):
        rounds.withdraw(ZERO_HASH, {"from": acme})
    assert rounds.withdrawable(ZERO_HASH) == 0


def test_returns_nothing_while_the_round_is_live(world, rounds, federation, acme, alice):
    round = world.launch(federation)
    assert_events(rounds.withdraw(round, {"from": acme}))
    world.submit(round, alice)
    world.close(round)
    assert_events(rounds.withdraw(round, {"from": acme}))
    world.settle(round, {alice: ETHER})
    assert rounds.withdrawable(round) == 0
    assert rounds.withdraw(round, {"from": acme}).return_value == 0
    assert world.view(round)["returned"] == 0


def test_returns_to_the_organization_whoever_sends(world, rounds, acme, mallory):
    round, _ = world.decided(Phase.VOID, {})
    before = world.balances(acme, mallory)
    transaction = rounds.withdraw(round, {"from": mallory})
    assert transaction.return_value == ESCROW
    assert_events(transaction, ("EscrowReturned", {"round": round, "to": acme, "amount": ESCROW}))
    assert world.balances(acme, mallory) == [before[0] + ESCROW, before[1]]


@pytest.mark.parametrize("phase", [Phase.VOID, Phase.FINAL, Phase.UNCONFIRMED, Phase.REJECTED, Phase.ABANDONED])
def test_is_idempotent(world, rounds, rewards, acme, phase):
    round, _ = world.decided(phase, rewards)
    first = rounds.withdraw(round, {"from": acme}).return_value
    returned = world.view(round)["returned"]
    assert first == returned
    assert_events(rounds.withdraw(round, {"from": acme}))
    assert world.view(round)["returned"] == returned


def test_keeps_the_fees_that_can_still_be_earned(world, rounds, rewards, acme, auditors):
    round, _ = world.decided(Phase.FINAL, rewards)  # by two of three, and the challenge is still open
    assert rounds.withdrawable(round) == ESCROW - 24 * ETHER - 3 * ETHER
    rounds.withdraw(round, {"from": acme})
    mine_at(world.view(round)["challengeEnds"] - 1)
    assert rounds.withdrawable(round) == 0
    mine_at(world.view(round)["challengeEnds"])
    assert rounds.withdrawable(round) == ETHER  # the third auditor did not come
    assert rounds.withdraw(round, {"from": acme}).return_value == ETHER


def test_keeps_the_fee_of_who_attests_after_a_withdrawal(world, rounds, rewards, acme, auditors):
    round, result = world.decided(Phase.FINAL, rewards)
    rounds.withdraw(round, {"from": acme})
    rounds.attest(round, result.result_hash, WITNESS, {"from": auditors[2]})
    mine_at(world.view(round)["challengeEnds"])
    assert rounds.withdrawable(round) == 0
    for auditor in auditors:
        rounds.claimAttestationFee(round, auditor, {"from": auditor})
    for client in rewards:
        rounds.claim(*result.claim(client), {"from": client})
    assert world.held(round) == 0


def test_keeps_the_pool_until_a_rejected_round_is_decided(world, rounds, rewards, acme, mallory):
    round, _ = world.decided(Phase.REJECTED, rewards)
    assert rounds.withdrawable(round) == 0  # pool, bond and three fees can all still be owed
    mine_at(world.view(round)["challengeEnds"])
    assert rounds.withdrawable(round) == ETHER  # one fee was not earned
    rounds.withdraw(round, {"from": acme})
    rounds.reveal(*world.other(round, rewards).opening, {"from": mallory})
    assert rounds.withdrawable(round) == POOL - 12 * ETHER


def test_gives_the_rest_back_where_a_rejected_round_is_never_revealed(world, rounds, rewards):
    round, _ = world.decided(Phase.REJECTED, rewards)
    mine_at(world.view(round)["revealEnds"] - 1)
    assert rounds.withdrawable(round) == ETHER
    mine_at(world.view(round)["revealEnds"])
    assert rounds.withdrawable(round) == POOL - RATE * 40_000 + ETHER


def test_never_touches_unclaimed_pay(world, rounds, rewards, acme, alice, bob):
    round, result = world.decided(Phase.FINAL, rewards)
    mine_at(world.view(round)["challengeEnds"] + 10 * 365 * 24 * 60 * 60)
    rounds.withdraw(round, {"from": acme})
    for client in (alice, bob):
        rounds.claim(*result.claim(client), {"from": client})
    assert world.held(round) == 2 * ETHER  # the two fees, still there for their auditors


def test_is_the_same_before_and_after_the_claims(world, rounds, rewards, alice):
    round, result = world.decided(Phase.FINAL, rewards)
    before = rounds.withdrawable(round)
    rounds.claim(*result.claim(alice), {"from": alice})
    assert rounds.withdrawable(round) == before
