# ruff: noqa: N803 - brownie's fixtures have the names of their contracts
"""Attack, or habit: a token whose functions answer nothing, as the oldest do, or a word that is neither true nor false.

Verdict: no answer is taken as the old tokens mean it, where the token has code; any word but true is refused.
"""

import pytest
from support import ETHER, RATE, client_claims, failed, mine_at, refused

RETURNS_NOTHING, RETURNS_TWO = 6, 7


@pytest.fixture
def silent(rounds, SilentToken, acme):
    token = acme.deploy(SilentToken, 10**30)
    token.approve(rounds, 2**256 - 1, {"from": acme})
    return token


@pytest.fixture
def moody(rounds, MisbehavingToken, acme):
    token = acme.deploy(MisbehavingToken, 10**30)
    token.approve(rounds, 2**256 - 1, {"from": acme})
    return token


def test_a_token_that_returns_nothing_pays_a_whole_round(world, rounds, silent, alice, bob, auditors, mallory):
    federation = world.federation(token=silent)
    rewards = {alice: 20 * ETHER, bob: 4 * ETHER}
    round = world.trained(federation, list(rewards))
    result = world.settle(round, rewards)
    world.agree(round, result.result_hash)
    mine_at(world.view(round)["challengeEnds"])
    rounds.claim(*result.claim(alice), {"from": mallory})
    rounds.claimBatch(federation, [client_claims(bob, result.item(bob))], {"from": mallory})
    rounds.claimAttestationFee(round, auditors[0], {"from": mallory})
    rounds.claimAttestationFee(round, auditors[1], {"from": mallory})
    rounds.withdraw(round, {"from": mallory})
    assert [silent.balanceOf(who) for who in (alice, bob, auditors[0])] == [20 * ETHER, 4 * ETHER, ETHER]
    assert world.held(round) == silent.balanceOf(rounds) == 0


def test_a_token_that_returns_nothing_pays_by_time_and_forfeits(world, rounds, silent, alice, treasury, mallory):
    round = world.trained(world.federation(token=silent), [alice])
    world.close_settlement(round)
    rounds.claimByTime(round, alice, {"from": mallory})
    rounds.forfeit(round, {"from": mallory})
    assert (silent.balanceOf(alice), silent.balanceOf(treasury)) == (RATE * 20_000, 5 * ETHER)


def test_a_token_that_returns_nothing_and_refuses_is_refused(world, rounds, silent, acme):
    """It reverts, here by its own arithmetic, and so does the launch."""
    silent.approve(rounds, 188 * ETHER - 1, {"from": acme})
    federation = world.federation(token=silent)
    with failed("Integer overflow"):
        world.launch(federation)


def test_a_token_that_sometimes_returns_nothing(world, rounds, moody, alice, mallory):
    for name in ("transfer", "transferFrom"):
        moody.behave(getattr(moody, name).signature, RETURNS_NOTHING, {"from": mallory})
    round = world.trained(world.federation(token=moody), [alice])
    world.close_settlement(round)
    rounds.claimByTime(round, alice, {"from": mallory})
    assert moody.balanceOf(alice) == RATE * 20_000


def test_a_balance_of_nothing_is_refused(world, moody, mallory):
    federation = world.federation(token=moody)
    moody.behave(moody.balanceOf.signature, RETURNS_NOTHING, {"from": mallory})
    with failed():
        world.launch(federation)


def test_two_is_not_true(world, rounds, moody, alice, mallory):
    moody.behave(moody.transferFrom.signature, RETURNS_TWO, {"from": mallory})
    federation = world.federation(token=moody)
    with refused("SafeERC20FailedOperation", moody):
        world.launch(federation)
    moody.behave(moody.transferFrom.signature, 0, {"from": mallory})
    round = world.trained(federation, [alice])
    world.close_settlement(round)
    moody.behave(moody.transfer.signature, RETURNS_TWO, {"from": mallory})
    with refused("SafeERC20FailedOperation", moody):
        rounds.claimByTime(round, alice, {"from": mallory})
    assert moody.balanceOf(alice) == world.view(round)["paidClients"] == 0
