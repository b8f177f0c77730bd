# ruff: noqa: N803 - brownie's fixtures have the names of their contracts
"""Attack: a token that answers false where others revert, so that an unpaid escrow or reward passes for paid.

Verdict: refused. A false answer reverts the whole call, and the client can claim again later.
"""

import pytest
from support import ETHER, RATE, client_claims, refused


@pytest.fixture
def false_token(rounds, FalseReturningToken, acme):
    token = acme.deploy(FalseReturningToken, 10**30)
    token.approve(rounds, 2**256 - 1, {"from": acme})
    return token


def test_a_launch_without_escrow_is_refused(world, false_token, mallory):
    federation = world.federation(token=false_token)
    false_token.refuse(True, {"from": mallory})
    with refused("SafeERC20FailedOperation", false_token):
        world.launch(federation)


def test_a_client_is_not_marked_as_paid(world, rounds, false_token, alice, mallory):
    federation = world.federation(token=false_token)
    round = world.trained(federation, [alice])
    world.close_settlement(round)
    false_token.refuse(True, {"from": mallory})
    for attempt in (
        lambda: rounds.claimByTime(round, alice, {"from": alice}),
        lambda: rounds.claimBatch(federation, [client_claims(alice, 1)], {"from": alice}),
        lambda: rounds.withdraw(round, {"from": alice}),
        lambda: rounds.forfeit(round, {"from": alice}),
    ):
        with refused("SafeERC20FailedOperation", false_token):
            attempt()
    assert world.held(round) == 188 * ETHER
    false_token.refuse(False, {"from": mallory})
    rounds.claimByTime(round, alice, {"from": alice})
    assert false_token.balanceOf(alice) == RATE * 20_000
