"""Every row of the outcome table with its money, to the last base unit, whatever the order in which it leaves."""

from itertools import permutations

import pytest
from support import (
    ETHER,
    MODEL,
    NEXT_MODEL,
    RATE,
    PayBasis,
    Phase,
    mine_at,
    plain,
)

POOL = 180 * ETHER
ESCROW = POOL + 5 * ETHER + 3 * ETHER
BY_TIME = RATE * 20_000


@pytest.fixture
def rewards(alice, bob):
    return {alice: 20 * ETHER, bob: 4 * ETHER}


def head_of(world, round):
    return plain(world.rounds.getFederation(world.view(round)["federation"])["head"])


def leave(world, round, result, clients, order=("clients", "auditors", "organization", "treasury")):
    """Let all money leave, in this order; `withdraw` once more at the end, as anybody would."""
    rounds, basis, phase = world.rounds, world.view(round)["basis"], world.view(round)["phase"]
    for party in (*order, "organization"):
        if party == "organization":
            rounds.withdraw(round, {"from": world.acme})
        elif party == "treasury" and phase in (Phase.REJECTED, Phase.ABANDONED):
            if not world.view(round)["forfeited"]:
                rounds.forfeit(round, {"from": world.acme})
        elif party == "auditors":
            for auditor in world.auditors:
                if plain(rounds.hasAttested(round, auditor)) == (True, False):
                    rounds.claimAttestationFee(round, auditor, {"from": world.acme})
        elif party == "clients":
            for client in clients:
                if basis == PayBasis.RESULT and client in result.rewards:
                    rounds.claim(*result.claim(client), {"from": world.acme})
                elif basis == PayBasis.TIME:
                    rounds.claimByTime(round, client, {"from": world.acme})


def assert_money(world, round, before, *, clients, auditors, returned, forfeited):
    """Assert what everybody got, by balances and by the round's own books, and that nothing is left."""
    view = world.view(round)
    books = {name: view[name] for name in ("paidClients", "paidAuditors", "returned", "forfeited")}
    assert books == {
        "paidClients": clients,
        "paidAuditors": auditors,
        "returned": returned,
        "forfeited": forfeited,
    }
    assert clients + auditors + returned + forfeited == view["escrowed"] == ESCROW
    assert world.rounds.withdrawable(round) == 0
    assert before - world.token.balanceOf(world.rounds) == ESCROW


def test_void(world, token, rounds, alice):
    """No update: nothing is owed, everything returns, the head stays."""
    round, _ = world.decided(Phase.VOID, {})
    view = world.view(round)
    assert (view["phase"], view["basis"], head_of(world, round)) == (Phase.VOID, PayBasis.NOTHING, MODEL)
    before = token.balanceOf(rounds)
    leave(world, round, None, [alice])
    assert_money(world, round, before, clients=0, auditors=0, returned=ESCROW, forfeited=0)


def test_final_by_quorum(world, token, rounds, rewards):
    """A quorum agrees: pay is by result, the head moves, the bond returns."""
    round, result = world.decided(Phase.FINAL, rewards)
    view = world.view(round)
    assert (view["phase"], view["basis"], head_of(world, round)) == (Phase.FINAL, PayBasis.RESULT, NEXT_MODEL)
    mine_at(view["challengeEnds"])
    before = token.balanceOf(rounds)
    leave(world, round, result, rewards)
    assert_money(
        world, round, before, clients=24 * ETHER, auditors=2 * ETHER, returned=ESCROW - 26 * ETHER, forfeited=0
    )


def test_final_by_silence_where_nobody_audits(world, token, rounds, rewards):
    """Unaudited: the organization's word is final once the challenge is over."""
    round = world.trained(world.federation(quorum=0), list(rewards))
    result = world.settle(round, rewards)
    mine_at(world.view(round)["challengeEnds"] - 1)
    assert (world.view(round)["phase"], head_of(world, round)) == (Phase.CHALLENGE, MODEL)
    mine_at(world.view(round)["challengeEnds"])
    view = world.view(round)
    assert (view["phase"], view["basis"], head_of(world, round)) == (Phase.FINAL, PayBasis.RESULT, NEXT_MODEL)
    assert view["escrowed"] == ESCROW - 3 * ETHER  # no auditors, no fees
    leave(world, round, result, rewards)
    assert world.view(round)["returned"] == POOL - 24 * ETHER + 5 * ETHER
    assert world.held(round) == 0


def test_final_at_once_without_a_challenge(world, rounds, rewards):
    round = world.trained(world.federation(quorum=0), list(rewards), challenge_seconds=0)
    result = world.settle(round, rewards)
    assert (world.view(round)["phase"], head_of(world, round)) == (Phase.FINAL, NEXT_MODEL)
    leave(world, round, result, rewards)
    assert world.held(round) == 0


def test_final_where_nothing_was_merged(world, rewards):
    """The settled model is the base: the head moves to where it is, credit stays."""
    round = world.trained(world.federation(), list(rewards))
    result = world.settle(round, rewards, model=MODEL)
    world.agree(round, result.result_hash)
    assert (world.view(round)["phase"], head_of(world, round)) == (Phase.FINAL, MODEL)


def test_unconfirmed(world, token, rounds, rewards):
    """Audited but no quorum in time: the head moves, pay is by time, the bond returns."""
    round, result = world.decided(Phase.UNCONFIRMED, rewards)
    view = world.view(round)
    assert (view["basis"], head_of(world, round)) == (PayBasis.TIME, NEXT_MODEL)
    before = token.balanceOf(rounds)
    leave(world, round, result, rewards)
    paid = 2 * BY_TIME
    assert_money(world, round, before, clients=paid, auditors=0, returned=ESCROW - paid, forfeited=0)


def test_unconfirmed_with_one_verdict(world, token, rounds, rewards):
    """The verdict did not decide; its fee is earned all the same."""
    round = world.trained(world.federation(), list(rewards))
    result = world.settle(round, rewards)
    world.agree(round, result.result_hash, count=1)
    mine_at(world.view(round)["challengeEnds"])
    assert world.view(round)["phase"] == Phase.UNCONFIRMED
    before = token.balanceOf(rounds)
    leave(world, round, result, rewards)
    paid = 2 * BY_TIME
    assert_money(world, round, before, clients=paid, auditors=ETHER, returned=ESCROW - paid - ETHER, forfeited=0)


def test_rejected_and_revealed(world, token, rounds, rewards, mallory):
    """A quorum on another result: pay is by that result, the head stays, the bond is lost."""
    round, _ = world.decided(Phase.REJECTED, rewards)
    other = world.other(round, rewards)
    rounds.reveal(*other.opening, {"from": mallory})
    mine_at(world.view(round)["revealEnds"])
    view = world.view(round)
    assert (view["phase"], view["basis"], head_of(world, round)) == (Phase.REJECTED, PayBasis.RESULT, MODEL)
    before = token.balanceOf(rounds)
    leave(world, round, other, rewards)
    returned = POOL - 12 * ETHER + ETHER
    assert_money(world, round, before, clients=12 * ETHER, auditors=2 * ETHER, returned=returned, forfeited=5 * ETHER)


def test_rejected_and_never_revealed(world, token, rounds, rewards):
    """Nobody opens the agreed result: pay is by time, the head stays, the bond is lost."""
    round, _ = world.decided(Phase.REJECTED, rewards)
    mine_at(world.view(round)["revealEnds"])
    view = world.view(round)
    assert (view["phase"], view["basis"], head_of(world, round)) == (Phase.REJECTED, PayBasis.TIME, MODEL)
    before = token.balanceOf(rounds)
    leave(world, round, None, rewards)
    paid = 2 * BY_TIME
    returned = POOL - paid + ETHER
    assert_money(world, round, before, clients=paid, auditors=2 * ETHER, returned=returned, forfeited=5 * ETHER)


def test_abandoned(world, token, rounds, rewards):
    """Updates but no settlement in time: pay is by time, the head stays, the bond is lost."""
    round, _ = world.decided(Phase.ABANDONED, rewards)
    view = world.view(round)
    assert (view["basis"], head_of(world, round)) == (PayBasis.TIME, MODEL)
    before = token.balanceOf(rounds)
    leave(world, round, None, rewards)
    paid = 2 * BY_TIME
    assert_money(world, round, before, clients=paid, auditors=0, returned=POOL - paid + 3 * ETHER, forfeited=5 * ETHER)


@pytest.mark.parametrize("order", list(permutations(("clients", "auditors", "organization", "treasury"))))
def test_all_money_leaves_in_any_order(world, rounds, rewards, mallory, order):
    round, _ = world.decided(Phase.REJECTED, rewards)
    other = world.other(round, rewards)
    rounds.reveal(*other.opening, {"from": mallory})
    mine_at(world.view(round)["challengeEnds"])
    leave(world, round, other, rewards, order)
    assert world.held(round) == world.rounds.withdrawable(round) == 0


@pytest.mark.parametrize(
    ("phase", "head"),
    [
        (Phase.VOID, MODEL),
        (Phase.FINAL, NEXT_MODEL),
        (Phase.UNCONFIRMED, NEXT_MODEL),
        (Phase.REJECTED, MODEL),
        (Phase.ABANDONED, MODEL),
    ],
)
def test_the_next_round_starts_from_the_head_and_leaves_the_money_alone(world, rounds, rewards, phase, head):
    """Also twice in a row: what one outcome left behind must not reach the head through the next."""
    round, _ = world.decided(phase, rewards)
    federation, held = world.view(round)["federation"], world.held(round)
    second = world.launch(federation, base=head)
    world.close(second)  # void: the head stays
    third = world.launch(federation, base=head)
    assert [world.view(each)["base"] for each in (round, second, third)] == [MODEL, head, head]
    assert world.held(round) == held
    assert world.view(round)["phase"] == phase
