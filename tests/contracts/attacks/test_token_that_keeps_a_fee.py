# ruff: noqa: N803 - brownie's fixtures have the names of their contracts
"""Attack: escrow a token that keeps a part of every transfer, so that the last to claim find too little.

Verdict: refused at launch: exactly the escrow must arrive. A token that begins to charge afterwards takes its fee from
each recipient of its own federations; the contract books, and has, what it sends, so nobody's pay is short for another's.
"""

import pytest
from support import ETHER, RATE, refused

ESCROW = 188 * ETHER


@pytest.fixture
def charging(rounds, FeeOnTransferToken, acme):
    token = acme.deploy(FeeOnTransferToken, 10**30)
    token.approve(rounds, 2**256 - 1, {"from": acme})
    return token


def test_the_launch_is_refused(world, rounds, charging):
    federation = world.federation(token=charging)
    with refused("EscrowNotReceived", charging, ESCROW - ESCROW // 100, ESCROW):
        world.launch(federation)
    assert charging.balanceOf(rounds) == 0


def test_a_gift_before_the_launch_does_not_make_it_up(world, rounds, charging, acme):
    """What arrives is measured, not what is there."""
    charging.transfer(rounds, 10 * ETHER, {"from": acme})
    federation = world.federation(token=charging)
    with refused("EscrowNotReceived", charging, ESCROW - ESCROW // 100, ESCROW):
        world.launch(federation)


def test_the_launch_of_a_fee_of_one_unit_is_refused(world, rounds, charging, acme):
    federation = world.federation(token=charging)
    with refused("EscrowNotReceived", charging, 99, 100):
        world.launch(federation, reward_per_milli=0, bond=100, attestation_fee=0)


def test_a_fee_that_comes_after_the_launch_is_each_recipients_own(world, rounds, charging, alice, bob, mallory):
    charging.charge(0, {"from": mallory})
    round = world.trained(world.federation(token=charging), [alice, bob])
    world.close_settlement(round)
    charging.charge(10, {"from": mallory})
    owed = RATE * 20_000
    for client in (alice, bob):
        rounds.claimByTime(round, client, {"from": mallory})
        assert charging.balanceOf(client) == owed - owed // 10
    rounds.withdraw(round, {"from": mallory})
    rounds.forfeit(round, {"from": mallory})
    view = world.view(round)
    assert (view["paidClients"], view["forfeited"]) == (2 * owed, 5 * ETHER)
    assert world.held(round) == charging.balanceOf(rounds) == 0


def test_a_fee_of_everything_pays_nobody_and_stops_nobody(world, rounds, charging, alice, mallory):
    charging.charge(0, {"from": mallory})
    round = world.trained(world.federation(token=charging), [alice])
    world.close_settlement(round)
    charging.charge(100, {"from": mallory})
    rounds.claimByTime(round, alice, {"from": mallory})
    assert charging.balanceOf(alice) == 0
    assert world.view(round)["paidClients"] == RATE * 20_000
