import pytest
from support import (
    MAX_MILLIS,
    TIME_CAP,
    ZERO_HASH,
    Phase,
    assert_events,
    at,
    digest_of,
    mine_at,
    plain,
    refused,
)

from protocol import hashing, merkle


@pytest.fixture
def round(world, federation):
    return world.launch(federation)


def test_refuses_an_unknown_round(rounds, alice):
    with refused("UnknownRound", ZERO_HASH):
        rounds.submitUpdate(ZERO_HASH, digest_of(alice), 1, {"from": alice})


def test_takes_an_update_in_the_last_second(world, rounds, round, alice):
    at(world.view(round)["trainingEnds"] - 1)
    rounds.submitUpdate(round, digest_of(alice), 1, {"from": alice})
    assert world.view(round)["updates"] == 1


@pytest.mark.parametrize("late", [0, 1, 499])
def test_refuses_an_update_from_the_deadline_on(world, rounds, round, alice, late):
    at(world.view(round)["trainingEnds"] + late)
    with refused("WrongPhase", round, Phase.VOID, Phase.TRAINING):
        rounds.submitUpdate(round, digest_of(alice), 1, {"from": alice})


def test_refuses_an_update_in_settlement(world, rounds, round, alice, bob):
    world.submit(round, alice)
    at(world.view(round)["trainingEnds"])
    with refused("WrongPhase", round, Phase.SETTLEMENT, Phase.TRAINING):
        rounds.submitUpdate(round, digest_of(bob), 1, {"from": bob})


def test_refuses_one_more_than_the_round_takes(world, round, alice, bob, carol, mallory):
    for client in (alice, bob, carol):
        world.submit(round, client)
    with refused("RoundFull", round, 3):
        world.submit(round, mallory)


def test_refuses_a_second_update_of_a_client(world, round, alice):
    world.submit(round, alice)
    with refused("AlreadySubmitted", round, alice):
        world.submit(round, alice)


def test_refuses_no_digest(world, rounds, round, alice):
    with refused("ZeroDigest", round):
        rounds.submitUpdate(round, ZERO_HASH, 0, {"from": alice})


def test_refuses_more_time_than_a_client_can_record(world, round, alice):
    with refused("TooManyMillis", round, MAX_MILLIS + 1, MAX_MILLIS):
        world.submit(round, alice, MAX_MILLIS + 1, after=999)


@pytest.mark.parametrize("elapsed", [0, 1, 59])
def test_refuses_more_time_than_has_passed_since_the_launch(world, rounds, federation, alice, bob, elapsed):
    round = world.launch(federation)
    if elapsed:
        at(world.view(round)["launchedAt"] + elapsed)
        with refused("TooManyMillis", round, 1000 * elapsed + 1, 1000 * elapsed):
            rounds.submitUpdate(round, digest_of(alice), 1000 * elapsed + 1, {"from": alice})
    world.submit(round, bob, 1000 * (elapsed + 1), after=elapsed + 1)
    assert rounds.getUpdate(round, bob)[0] == 1000 * (elapsed + 1)


def test_refuses_who_has_not_joined(world, rounds, alice, mallory):
    root = merkle.admission_leaf(alice.address)  # a tree of one
    gated = world.federation(admission_root=root)
    round = world.launch(gated)
    with refused("NotJoined", gated, root, mallory):
        world.submit(round, mallory)
    with refused("NotJoined", gated, root, alice):
        world.submit(round, alice)
    rounds.join(gated, alice, [], {"from": alice})
    world.submit(round, alice)
    assert world.view(round)["updates"] == 1


def test_records_it(world, rounds, round, alice):
    before = world.view(round)
    transaction = world.submit(round, alice, TIME_CAP + 5)
    assert_events(
        transaction,
        ("UpdateSubmitted", {"round": round, "client": alice, "digest": digest_of(alice), "millis": TIME_CAP + 5}),
    )
    assert plain(rounds.getUpdate(round, alice)) == (TIME_CAP + 5, True, False)
    view = world.view(round)
    assert (view["updates"], view["timeMillis"]) == (1, TIME_CAP)
    assert view["updatesHash"] == hashing.next_hash(
        before["updatesHash"], alice.address, digest_of(alice), TIME_CAP + 5
    )


def test_an_update_of_no_time_is_an_update(world, rounds, round, alice):
    world.submit(round, alice, 0)
    assert plain(rounds.getUpdate(round, alice)) == (0, True, False)


def test_the_hash_rolls_over_all_updates_in_order(world, round, alice, bob):
    rolled = world.view(round)["updatesHash"]
    for client, millis in ((bob, 7), (alice, 50_000)):
        world.submit(round, client, millis)
        rolled = hashing.next_hash(rolled, client.address, digest_of(client), millis)
    view = world.view(round)
    assert view["updatesHash"] == rolled
    assert view["timeMillis"] == 7 + TIME_CAP


def test_the_last_update_closes_training(world, round, alice, bob, carol):
    world.submit(round, alice)
    world.submit(round, bob)
    assert world.view(round)["phase"] == Phase.TRAINING
    closes = world.view(round)["launchedAt"] + 500
    transaction = world.submit(round, carol, after=500)
    assert_events(
        transaction,
        ("UpdateSubmitted", {"round": round, "client": carol, "digest": digest_of(carol), "millis": 20_000}),
        ("TrainingClosed", {"round": round, "closedAt": closes}),
    )
    view = world.view(round)
    assert view["phase"] == Phase.SETTLEMENT
    mine_at(view["settlementEnds"] - 1)  # which an early close does not bring nearer
    assert world.view(round)["phase"] == Phase.SETTLEMENT
