import pytest
from support import ETHER, RATE, ZERO_HASH, PayBasis, Phase, assert_events, refused

from protocol import merkle


@pytest.fixture
def rewards(alice, bob):
    return {alice: 20 * ETHER, bob: 4 * ETHER}


def by_time(round, client):
    return (round, client, 0, [])


def paid(round, client, amount, basis):
    return ("RewardPaid", {"round": round, "client": client, "amount": amount, "basis": int(basis)})


def transfers(transaction):
    return [(str(event["to"]), int(event["value"])) for event in transaction.events["Transfer"]]


def test_refuses_an_unknown_round(rounds, alice):
    with refused("UnknownRound", ZERO_HASH):
        rounds.claimBatch([by_time(ZERO_HASH, alice)], {"from": alice})


def test_refuses_the_whole_for_what_is_not_payable(world, rounds, rewards, alice):
    final, result = world.decided(Phase.FINAL, rewards)
    rejected, _ = world.decided(Phase.REJECTED, rewards)
    with refused("NotPayable", rejected, PayBasis.UNDECIDED, PayBasis.RESULT):
        rounds.claimBatch([result.claim(alice), by_time(rejected, alice)], {"from": alice})
    assert not rounds.getUpdate(final, alice)[2]


def test_refuses_the_whole_for_a_bad_item(world, rounds, rewards, alice, bob, mallory):
    round, result = world.decided(Phase.FINAL, rewards)
    with refused("NoUpdate", round, mallory):
        rounds.claimBatch([result.claim(alice), by_time(round, mallory)], {"from": alice})
    _, _, amount, _ = result.claim(alice)
    with refused("InvalidProof", result.tree.root, merkle.leaf(round, alice.address, amount)):
        rounds.claimBatch([result.claim(bob), (round, alice, amount, [])], {"from": alice})


def test_an_empty_batch_does_nothing(rounds, alice):
    assert_events(rounds.claimBatch([], {"from": alice}))


def test_passes_over_what_is_already_paid(world, rounds, rewards, alice, bob, mallory):
    """So nobody can make a batch fail by claiming one of its items before it."""
    round, result = world.decided(Phase.FINAL, rewards)
    rounds.claim(*result.claim(alice), {"from": mallory})
    transaction = rounds.claimBatch([result.claim(alice), result.claim(bob)], {"from": alice})
    assert_events(transaction, paid(round, bob, 4 * ETHER, PayBasis.RESULT))
    assert_events(rounds.claimBatch([result.claim(alice), result.claim(bob)], {"from": alice}))


def test_an_item_twice_is_paid_once(world, rounds, rewards, alice):
    _, result = world.decided(Phase.FINAL, rewards)
    before = world.balances(alice)[0]
    rounds.claimBatch([result.claim(alice), result.claim(alice)], {"from": alice})
    assert world.balances(alice)[0] - before == 20 * ETHER


def test_one_transfer_for_a_client_over_rounds_of_either_basis(world, rounds, rewards, alice, mallory):
    final, result = world.decided(Phase.FINAL, rewards)
    abandoned, _ = world.decided(Phase.ABANDONED, rewards)
    unconfirmed, _ = world.decided(Phase.UNCONFIRMED, rewards)
    items = [result.claim(alice), by_time(abandoned, alice), by_time(unconfirmed, alice)]
    transaction = rounds.claimBatch(items, {"from": mallory})
    owed = RATE * 20_000
    assert_events(
        transaction,
        paid(final, alice, 20 * ETHER, PayBasis.RESULT),
        paid(abandoned, alice, owed, PayBasis.TIME),
        paid(unconfirmed, alice, owed, PayBasis.TIME),
    )
    assert transfers(transaction) == [(alice.address, 20 * ETHER + 2 * owed)]


def test_one_transfer_a_run_of_equal_clients(world, rounds, rewards, alice, bob, mallory):
    first, _ = world.decided(Phase.ABANDONED, rewards)
    second, _ = world.decided(Phase.ABANDONED, rewards)
    owed = RATE * 20_000
    items = [by_time(first, alice), by_time(second, alice), by_time(first, bob), by_time(second, bob)]
    transaction = rounds.claimBatch(items, {"from": mallory})
    assert transfers(transaction) == [(alice.address, 2 * owed), (bob.address, 2 * owed)]


def test_one_transfer_a_token(world, rounds, rewards, TestToken, acme, alice, mallory):  # noqa: N803 - a contract
    other = acme.deploy(TestToken, 10**30)
    other.approve(rounds, 2**256 - 1, {"from": acme})
    first, _ = world.decided(Phase.ABANDONED, rewards)
    second = world.trained(world.federation(token=other), [alice])
    world.close_settlement(second)
    before = other.balanceOf(alice), world.balances(alice)[0]
    rounds.claimBatch([by_time(first, alice), by_time(second, alice)], {"from": mallory})
    owed = RATE * 20_000
    assert (other.balanceOf(alice) - before[0], world.balances(alice)[0] - before[1]) == (owed, owed)
