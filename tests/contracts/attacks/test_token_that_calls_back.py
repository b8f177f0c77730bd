# ruff: noqa: N803 - brownie's fixtures have the names of their contracts
"""Attack: a token that calls back in the middle of a transfer, to be paid twice or to return escrow that is owed.

Verdict: refused. No two functions that move tokens can be entered at once, and every record is written before its
transfer; calls that move none see the books as they will be.
"""

import pytest
from support import (
    DERIVED,
    ETHER,
    MODEL,
    NEXT_MODEL,
    RATE,
    WITNESS,
    PayBasis,
    Phase,
    assert_answered,
    client_claims,
    digest_of,
    mine_at,
    plain,
    refused,
    round_terms,
)


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
    assert_answered(again.answer(), "ReentrancyGuardReentrantCall")


def calls(world, round, alice, bob):
    """Every function that moves tokens."""
    rounds, federation = world.rounds, world.view(round)["federation"]
    return {
        "claim": rounds.claim.encode_input(round, bob, 1, []),
        "claimByTime, the same": rounds.claimByTime.encode_input(round, alice),
        "claimByTime, another": rounds.claimByTime.encode_input(round, bob),
        "claimBatch": rounds.claimBatch.encode_input(federation, [client_claims(bob, 1)]),
        "claimAttestationFee": rounds.claimAttestationFee.encode_input(round, alice),
        "withdraw": rounds.withdraw.encode_input(round),
        "forfeit": rounds.forfeit.encode_input(round),
        "launchRound": rounds.launchRound.encode_input(federation, MODEL, round_terms()),
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
def test_out_of_a_claim_by_time(world, rounds, again, abandoned, alice, bob, mallory, name):
    again.arm(rounds, calls(world, abandoned, alice, bob)[name], {"from": mallory})
    rounds.claimByTime(abandoned, alice, {"from": mallory})
    assert_refused(again)
    assert again.balanceOf(alice) == RATE * 20_000
    assert world.view(abandoned)["paidClients"] == RATE * 20_000


@pytest.mark.parametrize("name", NAMES)
def test_out_of_a_claim_by_result_and_out_of_a_fee(world, rounds, again, alice, bob, mallory, auditors, name):
    rewards = {alice: 20 * ETHER, bob: 4 * ETHER}
    round = world.trained(world.federation(token=again), list(rewards))
    result = world.settle(round, rewards)
    world.agree(round, result.result_hash)
    call = calls(world, round, alice, bob)[name]
    for attempt in (
        lambda: rounds.claim(*result.claim(alice), {"from": mallory}),
        lambda: rounds.claimAttestationFee(round, auditors[0], {"from": mallory}),
    ):
        again.arm(rounds, call, {"from": mallory})
        attempt()
        assert_refused(again)
    assert (again.balanceOf(alice), again.balanceOf(auditors[0])) == (20 * ETHER, ETHER)
    assert world.held(round) == again.balanceOf(rounds)


@pytest.mark.parametrize("name", NAMES)
def test_out_of_a_batch_a_withdrawal_and_a_forfeit(world, rounds, again, abandoned, alice, bob, mallory, name):
    call, federation = calls(world, abandoned, alice, bob)[name], world.view(abandoned)["federation"]
    for attempt in (
        lambda: rounds.claimBatch(federation, [client_claims(alice, 1)], {"from": mallory}),
        lambda: rounds.withdraw(abandoned, {"from": mallory}),
        lambda: rounds.forfeit(abandoned, {"from": mallory}),
    ):
        again.arm(rounds, call, {"from": mallory})
        attempt()
        assert_refused(again)
    rounds.claimByTime(abandoned, bob, {"from": mallory})
    assert world.held(abandoned) == again.balanceOf(rounds) == 0


def test_between_two_clients_of_a_batch(world, rounds, again, abandoned, alice, bob, mallory):
    """The second is not booked yet while the first is paid: an own claim for it would pay it twice."""
    again.arm(rounds, rounds.claimByTime.encode_input(abandoned, bob), {"from": mallory})
    claims = [client_claims(alice, 1), client_claims(bob, 1)]
    rounds.claimBatch(world.view(abandoned)["federation"], claims, {"from": mallory})
    assert_refused(again)
    assert again.balanceOf(alice) == again.balanceOf(bob) == RATE * 20_000


def test_into_a_round_of_an_honest_token(world, rounds, token, again, abandoned, alice, mallory):
    """The guard is one for all: not even another federation's claim comes through, and it can be sent again."""
    other = world.trained(world.federation(), [alice])
    world.close_settlement(other)
    again.arm(rounds, rounds.claimByTime.encode_input(other, alice), {"from": mallory})
    rounds.withdraw(abandoned, {"from": mallory})
    assert_refused(again)
    before = token.balanceOf(alice)
    rounds.claimByTime(other, alice, {"from": mallory})
    assert token.balanceOf(alice) - before == RATE * 20_000


def test_out_of_a_launch(world, rounds, again, abandoned, acme, mallory):
    """A withdrawal during the launch could otherwise pass the new escrow off as less than it is."""
    again.arm(rounds, rounds.withdraw.encode_input(abandoned), {"from": mallory})
    held = again.balanceOf(rounds)
    world.launch(world.view(abandoned)["federation"])
    assert_refused(again)
    assert again.balanceOf(rounds) == held + 188 * ETHER


def test_an_update_out_of_a_launch_is_an_update_of_no_time(world, rounds, again, mallory):
    """Calls that move no token are not guarded: here the token itself takes part, and earns nothing by it."""
    federation = world.federation(token=again)
    round = plain(rounds.roundId(federation, 1))
    again.arm(rounds, rounds.submitUpdate.encode_input(round, digest_of(again), 0), {"from": mallory})
    world.launch(federation)
    assert again.succeeded()
    assert plain(rounds.getUpdate(round, again)) == (0, True, False)
    assert again.balanceOf(rounds) == world.held(round) == 188 * ETHER


def test_an_update_of_more_time_out_of_a_launch_is_refused(world, rounds, again, mallory):
    federation = world.federation(token=again)
    round = plain(rounds.roundId(federation, 1))
    again.arm(rounds, rounds.submitUpdate.encode_input(round, digest_of(again), 1), {"from": mallory})
    world.launch(federation)
    assert not again.succeeded()
    assert world.view(round)["updates"] == 0


def test_a_verdict_out_of_a_withdrawal_earns_its_fee_and_no_more(world, rounds, again, auditors, alice, mallory):
    """The token as an auditor that attests while the organization is paid: its fee was kept for it."""
    named = sorted([*auditors[:2], again], key=lambda auditor: int(plain(auditor), 16))
    federation = world.federation(token=again, auditors=named)
    round = world.trained(federation, [alice])
    result = world.settle(round, {alice: 20 * ETHER})
    world.agree(round, result.result_hash)
    again.arm(rounds, rounds.attest.encode_input(round, b"\7" * 32, WITNESS), {"from": mallory})
    rounds.withdraw(round, {"from": mallory})
    assert again.succeeded()
    assert world.view(round)["returned"] == (188 - 20 - 3) * ETHER
    mine_at(world.view(round)["challengeEnds"])
    assert rounds.withdrawable(round) == 0
    for auditor in named:
        rounds.claimAttestationFee(round, auditor, {"from": mallory})
    rounds.claim(*result.claim(alice), {"from": mallory})
    assert world.held(round) == again.balanceOf(rounds) == 0


def test_a_reveal_out_of_a_forfeit_pays_by_the_result_that_it_opens(world, rounds, again, alice, bob, mallory):
    rewards = {alice: 20 * ETHER, bob: 4 * ETHER}
    round = world.trained(world.federation(token=again), list(rewards))
    world.settle(round, rewards)
    other = world.other(round, rewards)
    world.agree(round, other.result_hash)
    again.arm(rounds, rounds.reveal.encode_input(*other.opening), {"from": mallory})
    rounds.forfeit(round, {"from": mallory})
    assert again.succeeded()
    assert (world.view(round)["basis"], world.view(round)["rewardsTotal"]) == (PayBasis.RESULT, 12 * ETHER)
    mine_at(world.view(round)["challengeEnds"])
    for client in rewards:
        rounds.claim(*other.claim(client), {"from": mallory})
    for auditor in world.auditors[:2]:
        rounds.claimAttestationFee(round, auditor, {"from": mallory})
    rounds.withdraw(round, {"from": mallory})
    assert world.held(round) == again.balanceOf(rounds) == 0


def test_a_handover_out_of_a_withdrawal_pays_who_was_the_organization(world, rounds, again, abandoned, acme, mallory):
    """The amount is booked and its recipient read before the transfer; nothing goes out twice."""
    federation = world.view(abandoned)["federation"]
    rounds.offerOrganization(federation, again, {"from": acme})
    before = again.balanceOf(acme)
    again.arm(rounds, rounds.acceptOrganization.encode_input(federation), {"from": mallory})
    returned = rounds.withdraw(abandoned, {"from": mallory}).return_value
    assert rounds.getFederation(federation)["organization"] == again
    assert (again.balanceOf(acme) - before, again.balanceOf(again)) == (returned, 0)
    assert rounds.withdraw(abandoned, {"from": mallory}).return_value == 0


def test_a_settlement_by_the_token_itself_out_of_a_claim(world, rounds, again, alice, mallory):
    """An organization that is the token settles its next round while its last one pays: islands."""
    federation = world.federation(token=again, quorum=0)
    first = world.trained(federation, [alice])
    world.close_settlement(first)
    second = world.launch(federation, max_updates=1)
    world.submit(second, alice)
    rounds.offerOrganization(federation, again, {"from": world.acme})
    again.arm(rounds, rounds.acceptOrganization.encode_input(federation), {"from": mallory})
    rounds.withdraw(first, {"from": mallory})
    held = world.held(second)
    settlement = (world.view(second)["updatesHash"], NEXT_MODEL, bytes(32), DERIVED, bytes(32), 0)
    again.arm(rounds, rounds.settle.encode_input(second, settlement), {"from": mallory})
    rounds.claimByTime(first, alice, {"from": mallory})
    assert again.succeeded()
    assert world.view(second)["phase"] == Phase.CHALLENGE
    assert (world.view(first)["paidClients"], world.held(second)) == (RATE * 20_000, held)
    with refused("AlreadyPaid", first, alice):
        rounds.claimByTime(first, alice, {"from": mallory})


def test_views_in_the_middle_see_the_payment_as_made(world, rounds, again, abandoned, alice, mallory):
    again.arm(rounds, rounds.getUpdate.encode_input(abandoned, alice), {"from": mallory})
    rounds.claimByTime(abandoned, alice, {"from": mallory})
    assert again.succeeded()
    assert plain(rounds.getUpdate.decode_output(again.answer())) == (20_000, True, True)
