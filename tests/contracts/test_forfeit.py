import pytest
from support import ETHER, WITNESS, ZERO_HASH, Phase, assert_events, refused


@pytest.fixture
def rewards(alice):
    return {alice: ETHER}


def test_refuses_an_unknown_round(rounds, mallory):
    with refused("UnknownRound", ZERO_HASH):
        rounds.forfeit(ZERO_HASH, {"from": mallory})


@pytest.mark.parametrize("phase", [Phase.VOID, Phase.FINAL, Phase.UNCONFIRMED])
def test_refuses_where_the_bond_is_not_lost(world, rounds, rewards, mallory, phase):
    round, _ = world.decided(phase, rewards)
    with refused("NothingForfeited", round, phase):
        rounds.forfeit(round, {"from": mallory})


def test_refuses_while_the_round_is_live(world, rounds, federation, alice, auditors, mallory):
    round = world.launch(federation)
    with refused("NothingForfeited", round, Phase.TRAINING):
        rounds.forfeit(round, {"from": mallory})
    world.submit(round, alice)
    world.close(round)
    with refused("NothingForfeited", round, Phase.SETTLEMENT):
        rounds.forfeit(round, {"from": mallory})
    world.settle(round, {alice: ETHER})
    rounds.attest(round, b"\7" * 32, WITNESS, {"from": auditors[0]})
    with refused("NothingForfeited", round, Phase.CHALLENGE):
        rounds.forfeit(round, {"from": mallory})


@pytest.mark.parametrize("phase", [Phase.REJECTED, Phase.ABANDONED])
def test_sends_the_bond_once_whoever_asks(world, rounds, rewards, treasury, mallory, phase):
    round, _ = world.decided(phase, rewards)
    before = world.balances(treasury, mallory)
    transaction = rounds.forfeit(round, {"from": mallory})
    assert_events(transaction, ("BondForfeited", {"round": round, "to": treasury, "amount": 5 * ETHER}))
    assert world.balances(treasury, mallory) == [before[0] + 5 * ETHER, before[1]]
    assert world.view(round)["forfeited"] == 5 * ETHER
    with refused("AlreadyForfeited", round):
        rounds.forfeit(round, {"from": mallory})


def test_no_bond_is_forfeited_as_nothing(world, rounds, rewards, treasury, mallory):
    round, _ = world.decided(Phase.ABANDONED, rewards, bond=0)
    transaction = rounds.forfeit(round, {"from": mallory})
    assert_events(transaction, ("BondForfeited", {"round": round, "to": treasury, "amount": 0}))
    assert "Transfer" not in transaction.events
