"""A challenge of zero seconds, which an unaudited federation may have: the round is final in its settlement's own second.

Of the escrow of 185 (no auditors, no fees) 24 are paid.
"""

import pytest
from actions import OK, Situation, assert_refused, assert_taken, table, taken
from support import DAY, ETHER, NEXT_MODEL, PayBasis, Phase, Term, at, now, refused

FINAL = table(Phase.FINAL, PayBasis.RESULT, withdraw=161 * ETHER)
OPEN = table(Phase.SETTLEMENT, PayBasis.UNDECIDED, settle=OK)


@pytest.fixture(scope="module")
def closed(world, alice, bob, carol):
    federation = world.federation(quorum=0)
    round = world.trained(federation, [alice, bob], challenge_seconds=0)
    settled = world.result(round, {alice: 20 * ETHER, bob: 4 * ETHER})
    return Situation(world, federation, 1, alice, carol, settled, proved=settled, head=NEXT_MODEL)


@pytest.fixture
def final(world, closed):
    second = now() + 7
    at(second)
    world.settle(closed.round, closed.settled.rewards)
    view = world.view(closed.round)
    assert view["challengeEnds"] == view["revealEnds"] == now() == second
    return closed


def test_refuses_before_the_settlement(closed):
    assert_refused(closed, OPEN, now())


@pytest.mark.parametrize("call", taken(OPEN))
def test_takes_before_the_settlement(closed, call):
    assert_taken(closed, call, OPEN, now())


@pytest.mark.parametrize("later", [0, 1, 3650 * DAY])
def test_refuses_from_the_second_of_the_settlement_on(final, later):
    assert_refused(final, FINAL, now() + later)


@pytest.mark.parametrize("call", taken(FINAL))
@pytest.mark.parametrize("later", [0, 1, 3650 * DAY])
def test_takes_from_the_second_of_the_settlement_on(final, call, later):
    assert_taken(final, call, FINAL, now() + later)


def test_launch_to_the_last_payment_and_the_next_launch_in_one_second(world, rounds, alice):
    """Time apart from training itself, nothing takes any: full at once, settled, paid, returned, launched again."""
    federation = world.federation(quorum=0)
    start = now() + 10
    at(start)
    round = world.launch(federation, challenge_seconds=0, max_updates=1)
    at(start)
    rounds.submitUpdate(round, b"\1" * 32, 0, {"from": alice})
    at(start)
    world.settle(round, {})
    at(start)
    rounds.withdraw(round, {"from": alice})
    at(start)
    world.launch(federation, base=NEXT_MODEL)
    assert now() == start
    assert world.view(round)["phase"] == Phase.FINAL
    assert world.held(round) == 0


def test_an_audited_federation_cannot_have_one(world, federation):
    with refused("TermOutOfRange", Term.CHALLENGE_SECONDS, 0, 1, 30 * DAY):
        world.launch(federation, challenge_seconds=0)
