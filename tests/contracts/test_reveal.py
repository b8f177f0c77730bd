import pytest
from support import ETHER, NEXT_MODEL, ZERO_HASH, PayBasis, Phase, assert_events, at, mine_at, refused


@pytest.fixture
def rewards(alice, bob):
    return {alice: 10 * ETHER, bob: 4 * ETHER}


@pytest.fixture
def round(world, rewards):
    round, _ = world.decided(Phase.REJECTED, rewards)
    return round


def test_refuses_an_unknown_round(rounds, mallory):
    with refused("UnknownRound", ZERO_HASH):
        rounds.reveal(ZERO_HASH, ZERO_HASH, ZERO_HASH, ZERO_HASH, 0, {"from": mallory})


@pytest.mark.parametrize("phase", [Phase.VOID, Phase.ABANDONED, Phase.FINAL, Phase.UNCONFIRMED])
def test_refuses_where_nothing_was_rejected(world, rounds, rewards, mallory, phase):
    round, _ = world.decided(phase, rewards)
    with refused("WrongPhase", round, phase, Phase.REJECTED):
        rounds.reveal(round, ZERO_HASH, ZERO_HASH, ZERO_HASH, 0, {"from": mallory})


def test_refuses_while_the_challenge_is_open(world, rounds, federation, alice, mallory):
    round = world.trained(federation, [alice])
    result = world.settle(round, {alice: ETHER})
    world.agree(round, world.other(round, {alice: ETHER}).result_hash, count=1)
    with refused("WrongPhase", round, Phase.CHALLENGE, Phase.REJECTED):
        rounds.reveal(*result.opening, {"from": mallory})


def test_refuses_another_result(world, rounds, round, rewards, acme):
    settled = world.result(round, rewards, NEXT_MODEL)
    agreed = world.other(round, rewards)
    with refused("RevealMismatch", round, settled.result_hash, agreed.result_hash):
        rounds.reveal(*settled.opening, {"from": acme})


def test_refuses_a_second_time(world, rounds, round, rewards, mallory):
    other = world.other(round, rewards)
    rounds.reveal(*other.opening, {"from": mallory})
    with refused("AlreadyRevealed", round):
        rounds.reveal(*other.opening, {"from": mallory})


def test_refuses_from_the_end_on(world, rounds, round, rewards, mallory):
    deadline = world.view(round)["revealEnds"]
    at(deadline)
    with refused("RevealTooLate", round, deadline, deadline):
        rounds.reveal(*world.other(round, rewards).opening, {"from": mallory})


def test_takes_it_in_the_last_second(world, rounds, round, rewards, mallory):
    at(world.view(round)["revealEnds"] - 1)
    rounds.reveal(*world.other(round, rewards).opening, {"from": mallory})
    mine_at(world.view(round)["revealEnds"] + 1)
    assert world.view(round)["basis"] == PayBasis.RESULT


def test_refuses_rewards_that_the_pool_does_not_hold(world, rounds, federation, alice, mallory):
    """A quorum can agree on what nobody can pay; such a round pays by time."""
    round = world.trained(federation, [alice])
    world.settle(round, {alice: ETHER})
    pool = 180 * ETHER
    beyond = world.result(round, {alice: pool + 1})
    world.agree(round, beyond.result_hash)
    with refused("InvalidRewards", round, beyond.tree.root, pool + 1, pool):
        rounds.reveal(*beyond.opening, {"from": mallory})
    mine_at(world.view(round)["revealEnds"])
    assert world.view(round)["basis"] == PayBasis.TIME


def test_anybody_opens_the_agreed_result(world, rounds, round, rewards, mallory):
    other = world.other(round, rewards)
    view = world.view(round)
    assert (view["basis"], view["revealed"]) == (PayBasis.UNDECIDED, False)
    transaction = rounds.reveal(*other.opening, {"from": mallory})
    _, model, derived, root, total = other.opening
    assert_events(
        transaction,
        (
            "ResultRevealed",
            {"round": round, "model": model, "derivedHash": derived, "rewardsRoot": root, "rewardsTotal": total},
        ),
    )
    view = world.view(round)
    assert (view["phase"], view["basis"], view["revealed"]) == (Phase.REJECTED, PayBasis.RESULT, True)
    assert (view["rewardsRoot"], view["rewardsTotal"], view["paidClients"]) == (root, total, 0)


def test_an_agreed_result_may_pay_nobody(world, rounds, federation, alice, mallory):
    round = world.trained(federation, [alice])
    world.settle(round, {alice: ETHER})
    nothing = world.result(round, {})
    world.agree(round, nothing.result_hash)
    rounds.reveal(*nothing.opening, {"from": mallory})
    view = world.view(round)
    assert (view["basis"], view["rewardsTotal"]) == (PayBasis.RESULT, 0)
