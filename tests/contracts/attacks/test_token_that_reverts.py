# ruff: noqa: N803 - brownie's fixtures have the names of their contracts
"""Attack: a token whose functions revert, with a reason, without one, or with megabytes; before the launch or after it.

Verdict: refused at launch, harmless after it. A payment that fails leaves the books as they were and can be sent again;
each kind of payment fails alone, and rounds of other tokens pay on.
"""

import brownie
import pytest
from support import ETHER, RATE, client_claims, failed, plain, refused

OWED = RATE * 20_000
REVERTS, WITH_REASON, WITH_MEGABYTES, ROBS_RECIPIENT = 1, 2, 3, 8
MEGABYTE = "Unknown typed error: 0x" + "00" * 1_000_000


@pytest.fixture
def moody(rounds, MisbehavingToken, acme):
    token = acme.deploy(MisbehavingToken, 10**30)
    token.approve(rounds, 2**256 - 1, {"from": acme})
    return token


@pytest.fixture
def abandoned(world, moody, alice, bob):
    round = world.trained(world.federation(token=moody), [alice, bob])
    world.close_settlement(round)
    return round


def selector(token, name):
    return getattr(token, name).signature


def refusal(manner, selector):
    """What a revert of this manner looks like: the token's own words pass through."""
    if manner == WITH_REASON:
        return refused("Moody", bytes.fromhex(selector[2:]))
    return failed({REVERTS: None, WITH_MEGABYTES: MEGABYTE}[manner])


@pytest.mark.parametrize("manner", [REVERTS, WITH_REASON])
@pytest.mark.parametrize("name", ["transferFrom", "balanceOf"])
def test_the_launch_is_refused(world, rounds, moody, mallory, name, manner):
    federation = world.federation(token=moody)
    moody.behave(selector(moody, name), manner, {"from": mallory})
    with refusal(manner, selector(moody, name)):
        world.launch(federation)
    assert rounds.getFederation(federation)["rounds"] == 0


def test_the_launch_without_money_does_not_ask_the_token(world, moody, mallory):
    for name in ("transferFrom", "balanceOf"):
        moody.behave(selector(moody, name), REVERTS, {"from": mallory})
    world.launch(world.federation(token=moody), reward_per_milli=0, bond=0, attestation_fee=0)


def test_a_transfer_that_takes_from_the_contract_is_refused(world, rounds, moody, mallory):
    """The balance after it is less than before: a difference below zero, which is no escrow either."""
    first = world.launch(world.federation(token=moody))
    second = world.federation(token=moody)
    moody.behave(selector(moody, "transferFrom"), ROBS_RECIPIENT, {"from": mallory})
    with failed("Integer overflow"):
        world.launch(second)
    assert moody.balanceOf(rounds) == world.held(first) == 188 * ETHER


@pytest.mark.parametrize("manner", [REVERTS, WITH_REASON, WITH_MEGABYTES])
def test_a_failed_payment_can_be_sent_again(world, rounds, moody, abandoned, alice, bob, mallory, manner):
    transfer, federation = selector(moody, "transfer"), world.view(abandoned)["federation"]
    moody.behave(transfer, manner, {"from": mallory})
    before = world.view(abandoned)
    for attempt in (
        lambda: rounds.claimByTime(abandoned, alice, {"from": alice}),
        lambda: rounds.claimBatch(federation, [client_claims(alice, 1), client_claims(bob, 1)], {"from": alice}),
        lambda: rounds.withdraw(abandoned, {"from": alice}),
        lambda: rounds.forfeit(abandoned, {"from": alice}),
    ):
        with refusal(manner, transfer):
            attempt()
        assert brownie.history[-1].gas_used < 5_000_000  # paid by who sent it
        assert world.view(abandoned) == before
    assert plain(rounds.getUpdate(abandoned, alice)) == (20_000, True, False)
    moody.behave(transfer, 0, {"from": mallory})
    for client in (alice, bob):
        rounds.claimByTime(abandoned, client, {"from": alice})
        assert moody.balanceOf(client) == OWED
    rounds.withdraw(abandoned, {"from": alice})
    rounds.forfeit(abandoned, {"from": alice})
    assert world.held(abandoned) == moody.balanceOf(rounds) == 0


def test_a_claim_by_result_and_a_fee_can_be_sent_again(world, rounds, moody, alice, auditors, mallory):
    round = world.trained(world.federation(token=moody), [alice])
    result = world.settle(round, {alice: 20 * ETHER})
    world.agree(round, result.result_hash)
    moody.behave(selector(moody, "transfer"), REVERTS, {"from": mallory})
    attempts = (
        lambda: rounds.claim(*result.claim(alice), {"from": mallory}),
        lambda: rounds.claimAttestationFee(round, auditors[0], {"from": mallory}),
    )
    before = world.view(round)
    for attempt in attempts:
        with failed():
            attempt()
        assert world.view(round) == before
    moody.behave(selector(moody, "transfer"), 0, {"from": mallory})
    for attempt in attempts:
        attempt()
    assert (moody.balanceOf(alice), moody.balanceOf(auditors[0])) == (20 * ETHER, ETHER)


@pytest.mark.parametrize("name", ["transferFrom", "balanceOf"])
def test_after_the_launch_nothing_else_is_asked_of_the_token(world, rounds, moody, abandoned, alice, mallory, name):
    moody.behave(selector(moody, name), REVERTS, {"from": mallory})
    rounds.claimByTime(abandoned, alice, {"from": alice})
    assert world.view(abandoned)["paidClients"] == OWED


def test_the_federation_goes_on_without_it(world, rounds, moody, abandoned, alice, mallory):
    """Rounds, verdicts and heads do not wait for money; only a launch with an escrow asks for the token."""
    moody.behave(selector(moody, "transfer"), REVERTS, {"from": mallory})
    federation = world.view(abandoned)["federation"]
    round = world.trained(federation, [alice])
    result = world.settle(round, {alice: 20 * ETHER})
    world.agree(round, result.result_hash)
    assert plain(rounds.getFederation(federation)["head"]) == result.model


def test_another_token_pays_on(world, rounds, token, moody, abandoned, alice, mallory):
    honest = world.trained(world.federation(), [alice])
    world.close_settlement(honest)
    moody.behave(selector(moody, "transfer"), REVERTS, {"from": mallory})
    before = token.balanceOf(alice)
    rounds.claimByTime(honest, alice, {"from": mallory})
    assert token.balanceOf(alice) - before == OWED
