# ruff: noqa: N803 - brownie's fixtures have the names of their contracts
"""Attack: a token that calls back in the middle of a transfer, to be paid twice or to return escrow that is owed.

Verdict: refused. No two functions that move tokens can be entered at once, and every record is written before its
transfer; calls that move none see the books as they will be.
"""

import pytest
from support import ETHER, MODEL, RATE, plain, round_terms

GUARD = bytes.fromhex("3ee5aeb5")  # ReentrancyGuardReentrantCall()


@pytest.fixture
def again(rounds, ReentrantToken, acme):
    token = acme.deploy(ReentrantToken, 10**30)
    token.approve(rounds, 2**256 - 1, {"from": acme})
    return token


@pytest.fixture
def abandoned(world, again, alice, bob):
    round = world.trained(world.federation(token=again), [alice, bob])
    world.close_settlement(round)
    return round


def assert_refused(again):
    assert again.entered()
    assert not again.succeeded()
    assert plain(again.answer()) == GUARD


def calls(rounds, round, alice, bob):
    """Every function that moves tokens."""
    return {
        "claim": rounds.claim.encode_input(round, bob, 1, []),
        "claimByTime, the same": rounds.claimByTime.encode_input(round, alice),
        "claimByTime, another": rounds.claimByTime.encode_input(round, bob),
        "claimBatch": rounds.claimBatch.encode_input([(round, bob, 0, [])]),
        "claimAttestationFee": rounds.claimAttestationFee.encode_input(round, alice),
        "withdraw": rounds.withdraw.encode_input(round),
        "forfeit": rounds.forfeit.encode_input(round),
        "launchRound": rounds.launchRound.encode_input(round, MODEL, round_terms()),
    }


NAMES = [
    "claim",
    "claimByTime, the same",
    "claimByTime, another",
    "claimBatch",
    "claimAttestationFee",
    "withdraw",
    "forfeit",
    "launchRound",
]


@pytest.mark.parametrize("name", NAMES)
def test_out_of_a_claim(world, rounds, again, abandoned, alice, bob, mallory, name):
    again.arm(rounds, calls(rounds, abandoned, alice, bob)[name], {"from": mallory})
    rounds.claimByTime(abandoned, alice, {"from": mallory})
    assert_refused(again)
    assert again.balanceOf(alice) == RATE * 20_000
    assert world.view(abandoned)["paidClients"] == RATE * 20_000


@pytest.mark.parametrize("name", ["withdraw", "forfeit", "claimBatch"])
def test_out_of_a_batch_a_withdrawal_and_a_forfeit(world, rounds, again, abandoned, alice, bob, mallory, name):
    call = calls(rounds, abandoned, alice, bob)[name]
    for attempt in (
        lambda: rounds.claimBatch([(abandoned, alice, 0, [])], {"from": mallory}),
        lambda: rounds.withdraw(abandoned, {"from": mallory}),
        lambda: rounds.forfeit(abandoned, {"from": mallory}),
    ):
        again.arm(rounds, call, {"from": mallory})
        attempt()
        assert_refused(again)
    rounds.claimByTime(abandoned, bob, {"from": mallory})
    assert world.held(abandoned) == again.balanceOf(rounds) == 0


def test_out_of_a_launch(world, rounds, again, abandoned, acme, mallory):
    """A withdrawal during the launch could otherwise pass the new escrow off as less than it is."""
    again.arm(rounds, rounds.withdraw.encode_input(abandoned), {"from": mallory})
    held = again.balanceOf(rounds)
    world.launch(world.view(abandoned)["federation"])
    assert_refused(again)
    assert again.balanceOf(rounds) == held + 188 * ETHER


def test_views_in_the_middle_see_the_payment_as_made(world, rounds, again, abandoned, alice, mallory):
    again.arm(rounds, rounds.getUpdate.encode_input(abandoned, alice), {"from": mallory})
    rounds.claimByTime(abandoned, alice, {"from": mallory})
    assert again.succeeded()
    assert plain(rounds.getUpdate.decode_output(again.answer())) == (20_000, True, True)
