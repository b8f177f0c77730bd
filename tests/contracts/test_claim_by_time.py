import pytest
from support import (
    ETHER,
    RATE,
    TIME_CAP,
    ZERO_HASH,
    PayBasis,
    Phase,
    assert_events,
    at,
    plain,
    refused,
)


@pytest.fixture
def rewards(alice, bob):
    return {alice: 20 * ETHER, bob: 4 * ETHER}


def test_refuses_an_unknown_round(rounds, alice):
    with refused("UnknownRound", ZERO_HASH):
        rounds.claimByTime(ZERO_HASH, alice, {"from": alice})


@pytest.mark.parametrize(
    ("phase", "basis"),
    [(Phase.VOID, PayBasis.NOTHING), (Phase.FINAL, PayBasis.RESULT), (Phase.REJECTED, PayBasis.UNDECIDED)],
)
def test_refuses_where_pay_is_not_by_time(world, rounds, rewards, alice, phase, basis):
    round, _ = world.decided(phase, rewards)
    with refused("NotPayable", round, basis, PayBasis.TIME):
        rounds.claimByTime(round, alice, {"from": alice})


def test_refuses_in_the_last_second_of_settlement(world, rounds, federation, alice):
    round = world.trained(federation, [alice])
    at(world.view(round)["settlementEnds"] - 1)
    with refused("NotPayable", round, PayBasis.UNDECIDED, PayBasis.TIME):
        rounds.claimByTime(round, alice, {"from": alice})
    at(world.view(round)["settlementEnds"])
    rounds.claimByTime(round, alice, {"from": alice})


def test_refuses_in_the_last_second_of_the_challenge(world, rounds, federation, alice):
    round = world.trained(federation, [alice])
    world.settle(round, {alice: ETHER})
    at(world.view(round)["challengeEnds"] - 1)
    with refused("NotPayable", round, PayBasis.UNDECIDED, PayBasis.TIME):
        rounds.claimByTime(round, alice, {"from": alice})
    at(world.view(round)["challengeEnds"])
    rounds.claimByTime(round, alice, {"from": alice})


def test_refuses_in_the_last_second_of_the_reveal(world, rounds, rewards, alice):
    round, _ = world.decided(Phase.REJECTED, rewards)
    at(world.view(round)["revealEnds"] - 1)
    with refused("NotPayable", round, PayBasis.UNDECIDED, PayBasis.TIME):
        rounds.claimByTime(round, alice, {"from": alice})
    at(world.view(round)["revealEnds"])
    rounds.claimByTime(round, alice, {"from": alice})


def test_refuses_who_has_no_update(world, rounds, rewards, mallory):
    round, _ = world.decided(Phase.ABANDONED, rewards)
    with refused("NoUpdate", round, mallory):
        rounds.claimByTime(round, mallory, {"from": mallory})


@pytest.mark.parametrize("phase", [Phase.ABANDONED, Phase.UNCONFIRMED])
def test_refuses_a_second_time(world, rounds, rewards, alice, phase):
    round, _ = world.decided(phase, rewards)
    rounds.claimByTime(round, alice, {"from": alice})
    with refused("AlreadyPaid", round, alice):
        rounds.claimByTime(round, alice, {"from": alice})


@pytest.mark.parametrize("phase", [Phase.ABANDONED, Phase.UNCONFIRMED])
def test_pays_the_recorded_time_up_to_the_cap(world, rounds, token, alice, bob, mallory, phase):
    """Whatever was settled: an unconfirmed total neither adds to this nor limits it."""
    federation = world.federation()
    round = world.launch(federation)
    world.submit(round, alice, TIME_CAP - 1)
    world.submit(round, bob, TIME_CAP + 1)
    world.close(round)
    if phase == Phase.UNCONFIRMED:
        world.settle(round, {alice: 1})
        at(world.view(round)["challengeEnds"])
    else:
        at(world.view(round)["settlementEnds"])
    before = world.balances(alice, bob, mallory)
    transaction = rounds.claimByTime(round, alice, {"from": mallory})
    owed = RATE * (TIME_CAP - 1)
    assert_events(
        transaction, ("RewardPaid", {"round": round, "client": alice, "amount": owed, "basis": int(PayBasis.TIME)})
    )
    assert world.view(round)["paidClients"] == owed
    rounds.claimByTime(round, bob, {"from": bob})
    assert world.balances(alice, bob, mallory) == [before[0] + owed, before[1] + RATE * TIME_CAP, before[2]]
    assert world.view(round)["paidClients"] == RATE * world.view(round)["timeMillis"]
    assert plain(rounds.getUpdate(round, bob)) == (TIME_CAP + 1, True, True)


def test_no_time_is_paid_nothing_once(world, rounds, token, alice, bob):
    round = world.trained(world.federation(), [alice], millis=0)
    at(world.view(round)["settlementEnds"])
    transaction = rounds.claimByTime(round, alice, {"from": bob})
    assert_events(
        transaction, ("RewardPaid", {"round": round, "client": alice, "amount": 0, "basis": int(PayBasis.TIME)})
    )
    assert "Transfer" not in transaction.events
    with refused("AlreadyPaid", round, alice):
        rounds.claimByTime(round, alice, {"from": bob})


def test_the_cap_may_be_nothing(world, rounds, alice):
    round = world.trained(world.federation(), [alice], time_cap_millis=0)
    at(world.view(round)["settlementEnds"])
    rounds.claimByTime(round, alice, {"from": alice})
    assert world.view(round)["paidClients"] == 0
