# ruff: noqa: N803 - brownie's fixtures have the names of their contracts
"""Attack: a token that answers, or reverts, with a megabyte, so that copying the answer costs more than a block holds.

Verdict: harmless. One word of an answer is read; the memory that the token fills is paid by who sends the payment. Only a
revert's words are copied, and that call fails anyway.
"""

import brownie
import pytest
from support import ETHER, RATE, client_claims, failed, refused

REVERTS_WITH_MEGABYTES, RETURNS_MEGABYTES = 3, 5
MEGABYTE = 2_000_000  # gas, for a megabyte of memory


@pytest.fixture
def verbose(rounds, MisbehavingToken, acme):
    token = acme.deploy(MisbehavingToken, 10**30)
    token.approve(rounds, 2**256 - 1, {"from": acme})
    return token


def behave(token, name, manner, sender):
    token.behave(getattr(token, name).signature, manner, {"from": sender})


def test_a_launch_reads_one_word_of_a_transfers_answer(world, rounds, verbose, mallory):
    behave(verbose, "transferFrom", RETURNS_MEGABYTES, mallory)
    launched = world.launched(world.federation(token=verbose))
    assert launched.gas_used < 500_000 + MEGABYTE
    assert verbose.balanceOf(rounds) == 188 * ETHER


def test_a_launch_reads_one_word_of_a_balance(world, verbose, mallory):
    """The word is the same before and after: nothing arrived."""
    federation = world.federation(token=verbose)
    behave(verbose, "balanceOf", RETURNS_MEGABYTES, mallory)
    with refused("EscrowNotReceived", verbose, 0, 188 * ETHER):
        world.launch(federation)
    assert brownie.history[-1].gas_used < 500_000 + 2 * MEGABYTE  # asked twice


def test_payments_go_out(world, rounds, verbose, alice, bob, mallory):
    federation = world.federation(token=verbose)
    round = world.trained(federation, [alice, bob])
    world.close_settlement(round)
    behave(verbose, "transfer", RETURNS_MEGABYTES, mallory)
    for attempt in (
        lambda: rounds.claimByTime(round, alice, {"from": mallory}),
        lambda: rounds.claimBatch(federation, [client_claims(bob, 1)], {"from": mallory}),
        lambda: rounds.withdraw(round, {"from": mallory}),
        lambda: rounds.forfeit(round, {"from": mallory}),
    ):
        assert attempt().gas_used < 200_000 + MEGABYTE
    assert verbose.balanceOf(alice) == verbose.balanceOf(bob) == RATE * 20_000
    assert world.held(round) == verbose.balanceOf(rounds) == 0


def test_a_revert_of_a_megabyte_fails_at_a_bounded_price(world, rounds, verbose, alice, mallory):
    round = world.trained(world.federation(token=verbose), [alice])
    world.close_settlement(round)
    behave(verbose, "transfer", REVERTS_WITH_MEGABYTES, mallory)
    with failed("Unknown typed error: 0x" + "00" * 1_000_000):
        rounds.claimByTime(round, alice, {"from": mallory})
    assert brownie.history[-1].gas_used < 500_000 + 2 * MEGABYTE  # made once, copied once
    assert world.view(round)["paidClients"] == 0
