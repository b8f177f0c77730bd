# ruff: noqa: N803 - brownie's fixtures have the names of their contracts
"""Attack: hold up a round, or everybody's money, by doing nothing or by not being payable.

Verdict: no role can. Phases follow from time; each party is paid apart from the others.
"""

from support import ETHER, Phase, mine_at, refused


def test_a_treasury_that_cannot_be_paid_holds_up_nobody(world, rounds, FalseReturningToken, acme, alice):
    """`forfeit` alone fails, and can be sent again; clients and the organization have got theirs."""
    token = acme.deploy(FalseReturningToken, 10**30)
    token.approve(rounds, 2**256 - 1, {"from": acme})
    round = world.trained(world.federation(token=token), [alice])
    world.close_settlement(round)
    token.refuse(True, {"from": acme})
    with refused("SafeERC20FailedOperation", token):
        rounds.forfeit(round, {"from": acme})
    token.refuse(False, {"from": acme})
    rounds.claimByTime(round, alice, {"from": alice})
    rounds.withdraw(round, {"from": acme})
    assert world.held(round) == 5 * ETHER
    rounds.forfeit(round, {"from": acme})
    assert world.held(round) == token.balanceOf(rounds) == 0


def test_silence_of_everybody_ends_every_round(world, rounds, federation, alice):
    round = world.trained(federation, [alice])
    mine_at(world.view(round)["settlementEnds"])
    assert world.view(round)["phase"] == Phase.ABANDONED
    world.launch(federation)  # and the federation goes on


def test_auditors_that_say_nothing_cost_no_client_its_time(world, rounds, federation, alice):
    round = world.trained(federation, [alice])
    world.settle(round, {alice: 20 * ETHER})
    mine_at(world.view(round)["challengeEnds"])
    rounds.claimByTime(round, alice, {"from": alice})
    assert world.view(round)["paidClients"] == 20 * ETHER


def test_a_minority_of_auditors_decides_nothing(world, rounds, federation, auditors, alice):
    round = world.trained(federation, [alice])
    world.settle(round, {alice: ETHER})
    rounds.attest(round, b"\6" * 32, b"\0" * 32, {"from": auditors[0]})
    with refused("AlreadyAttested", round, auditors[0]):
        rounds.attest(round, b"\6" * 32, b"\0" * 32, {"from": auditors[0]})
    assert world.view(round)["phase"] == Phase.CHALLENGE
