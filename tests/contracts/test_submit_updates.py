# ruff: noqa: N803 - brownie's fixtures have the names of their contracts

import pytest
from support import MODEL, ZERO_HASH, Phase, SkipReason, assert_events, at, digest_of, now, refused

from protocol import hashing, merkle


@pytest.fixture
def round(world, federation):
    round = world.launch(federation)
    at(now() + 100)
    return round


def submitted(round, client, millis=20_000):
    return ("UpdateSubmitted", {"round": round, "client": client, "digest": digest_of(client), "millis": millis})


def skipped(round, client, reason, digest=None):
    digest = digest_of(client) if digest is None else digest
    return ("UpdateSkipped", {"round": round, "client": client, "digest": digest, "reason": int(reason)})


def test_refuses_an_unknown_round(rounds, mallory):
    with refused("UnknownRound", ZERO_HASH):
        rounds.submitUpdates(ZERO_HASH, [], {"from": mallory})


def test_refuses_a_round_that_is_not_in_training(world, rounds, round, alice, mallory):
    signed = world.signed(round, alice)
    at(world.view(round)["trainingEnds"])
    with refused("WrongPhase", round, Phase.VOID, Phase.TRAINING):
        rounds.submitUpdates(round, [signed], {"from": mallory})


def test_refuses_a_round_that_is_full(world, rounds, round, alice, bob, carol, mallory):
    rounds.submitUpdates(round, [world.signed(round, client) for client in (alice, bob, carol)], {"from": mallory})
    with refused("RoundFull", round, 3):
        rounds.submitUpdates(round, [], {"from": mallory})


def test_no_updates_change_nothing(world, rounds, round, mallory):
    before = world.view(round)
    assert_events(rounds.submitUpdates(round, [], {"from": mallory}))
    assert world.view(round) == before


def test_passes_over_each_bad_one_and_says_why(world, rounds, round, alice, bob, carol, mallory):
    good = world.signed(round, alice)
    updates = [
        good,
        good,
        world.signed(round, bob, digest=ZERO_HASH),
        world.signed(round, bob, 60_001),
        world.signed(round, bob, key=mallory.private_key),
        (bob, digest_of(bob), 20_000, b"not a signature"),
        world.signed(round, carol),
    ]
    seed = world.view(round)["updatesHash"]
    transaction = rounds.submitUpdates(round, updates, {"from": mallory})
    assert_events(
        transaction,
        submitted(round, alice),
        skipped(round, alice, SkipReason.ALREADY_SUBMITTED),
        skipped(round, bob, SkipReason.ZERO_DIGEST, ZERO_HASH),
        skipped(round, bob, SkipReason.TOO_MANY_MILLIS),
        skipped(round, bob, SkipReason.INVALID_SIGNATURE),
        skipped(round, bob, SkipReason.INVALID_SIGNATURE),
        submitted(round, carol),
    )
    first = hashing.next_hash(seed, alice.address, digest_of(alice), 20_000)
    view = world.view(round)
    assert view["updatesHash"] == hashing.next_hash(first, carol.address, digest_of(carol), 20_000)
    assert (view["updates"], view["timeMillis"]) == (2, 40_000)
    assert not rounds.getUpdate(round, bob)[1]


def test_passes_over_who_has_not_joined(world, rounds, alice, bob, mallory):
    gated = world.federation(admission_root=merkle.admission_leaf(alice.address))
    rounds.join(gated, alice, [], {"from": mallory})
    round = world.launch(gated)
    at(now() + 100)
    transaction = rounds.submitUpdates(round, [world.signed(round, bob), world.signed(round, alice)], {"from": mallory})
    assert_events(transaction, skipped(round, bob, SkipReason.NOT_JOINED), submitted(round, alice))


def test_passes_over_what_no_longer_fits(world, rounds, round, alice, bob, carol, mallory):
    signed = [world.signed(round, client) for client in (alice, bob, carol, mallory)]
    transaction = rounds.submitUpdates(round, signed, {"from": mallory})
    assert_events(
        transaction,
        submitted(round, alice),
        submitted(round, bob),
        submitted(round, carol),
        skipped(round, mallory, SkipReason.ROUND_FULL),
        ("TrainingClosed", {"round": round, "closedAt": now()}),
    )
    assert world.view(round)["phase"] == Phase.SETTLEMENT


def test_does_not_ask_wallet_contracts(world, rounds, round, WalletDouble, alice, mallory):
    """One item could otherwise burn the gas of all; a wallet goes through submitUpdateFor."""
    wallet = mallory.deploy(WalletDouble, alice)
    signed = world.signed(round, wallet, key=alice.private_key)
    at(now() + 100)
    transaction = rounds.submitUpdates(round, [signed], {"from": mallory})
    assert_events(transaction, skipped(round, wallet, SkipReason.INVALID_SIGNATURE))


def test_many_at_once_are_the_same_as_one_by_one(world, rounds, round, federation, alice, bob, mallory):
    rounds.submitUpdates(round, [world.signed(round, alice), world.signed(round, bob)], {"from": mallory})
    other = world.launch(world.federation())
    for client in (alice, bob):
        world.submit(other, client)
    mine, theirs = world.view(round), world.view(other)
    assert mine["base"] == theirs["base"] == MODEL
    assert (mine["updates"], mine["timeMillis"]) == (theirs["updates"], theirs["timeMillis"])
    for client in (alice, bob):
        assert rounds.getUpdate(round, client) == rounds.getUpdate(other, client)
