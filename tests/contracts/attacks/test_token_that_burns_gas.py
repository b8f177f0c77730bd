# ruff: noqa: N803 - brownie's fixtures have the names of their contracts
"""Attack: a token that burns all the gas that it gets, so that nobody can afford to be paid.

Verdict: harmless to others. The sender of the one payment loses the gas that it sent along, 1/64 apart; no books change,
and a batch names the clients of one federation, so of one token, only.
"""

import brownie
import pytest
from support import ETHER, RATE, client_claims, failed

BURNS_GAS = 4
LIMIT = 1_000_000


@pytest.fixture
def burning(rounds, MisbehavingToken, acme):
    token = acme.deploy(MisbehavingToken, 10**30)
    token.approve(rounds, 2**256 - 1, {"from": acme})
    return token


def burn(token, name, sender):
    token.behave(getattr(token, name).signature, BURNS_GAS, {"from": sender})


@pytest.mark.parametrize("name", ["transferFrom", "balanceOf"])
def test_the_launch_is_refused(world, rounds, burning, mallory, name):
    federation = world.federation(token=burning)
    burn(burning, name, mallory)
    with failed():
        world.launch(federation)
    assert rounds.getFederation(federation)["rounds"] == 0


def test_every_payment_costs_its_sender_what_it_sent_along(world, rounds, burning, alice, mallory):
    federation = world.federation(token=burning)
    round = world.trained(federation, [alice])
    world.close_settlement(round)
    burn(burning, "transfer", mallory)
    before = world.view(round)
    limited = {"from": alice, "gas_limit": LIMIT}
    for attempt in (
        lambda: rounds.claimByTime(round, alice, limited),
        lambda: rounds.claimBatch(federation, [client_claims(alice, 1)], limited),
        lambda: rounds.withdraw(round, limited),
        lambda: rounds.forfeit(round, limited),
    ):
        with failed():
            attempt()
        assert LIMIT * 9 // 10 < brownie.history[-1].gas_used < LIMIT
        assert world.view(round) == before


def test_another_token_pays_on_at_its_usual_price(world, rounds, token, burning, alice, mallory):
    world.close_settlement(world.trained(world.federation(token=burning), [alice]))
    honest = world.trained(world.federation(), [alice])
    world.close_settlement(honest)
    burn(burning, "transfer", mallory)
    before = token.balanceOf(alice)
    assert rounds.claimByTime(honest, alice, {"from": mallory}).gas_used < 120_000
    assert token.balanceOf(alice) - before == RATE * 20_000
    assert world.view(honest)["escrowed"] == 188 * ETHER
