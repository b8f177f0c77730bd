import pytest
from support import (
    ETHER,
    RATE,
    ZERO_HASH,
    PayBasis,
    Phase,
    assert_events,
    client_claims,
    mine_at,
    payment,
    plain,
    refused,
)

from protocol import hashing, merkle

BY_TIME = RATE * 20_000  # of 20 s


@pytest.fixture
def rewards(alice, bob):
    return {alice: 20 * ETHER, bob: 4 * ETHER}


@pytest.fixture
def unaudited(world):
    return world.federation(quorum=0)


@pytest.fixture
def final(world, rewards, unaudited):
    """The first round of ``unaudited``, paid by result."""
    round = world.trained(unaudited, list(rewards))
    result = world.settle(round, rewards)
    mine_at(world.view(round)["challengeEnds"])
    return result


def abandon(world, federation, clients, millis=20_000, **changes):
    """The next round of ``federation``, paid by time."""
    head = plain(world.rounds.getFederation(federation)["head"])
    round = world.trained(federation, clients, base=head, millis=millis, **changes)
    world.close_settlement(round)
    return round


def paid(federation, client, *payments):
    return ("RewardsPaid", {"federation": federation, "client": client, "payments": payments})


def transfers(transaction):
    return [(str(event["to"]), int(event["value"])) for event in transaction.events if event.name == "Transfer"]


# --- refused ---


def test_refuses_an_unknown_federation(rounds, alice):
    with refused("UnknownFederation", ZERO_HASH):
        rounds.claimBatch(ZERO_HASH, [], {"from": alice})
    with refused("UnknownFederation", b"\7" * 32):
        rounds.claimBatch(b"\7" * 32, [client_claims(alice, 1)], {"from": alice})


@pytest.mark.parametrize("index", [0, 2, 2**32, 2**32 + 1, 2**64 - 1])
def test_refuses_a_round_before_the_first_or_beyond_the_last(rounds, unaudited, final, alice, index):
    """Nor does an index that ends in the bits of one that there is pass for it."""
    with refused("UnknownRound", hashing.round_id(unaudited, index)):
        rounds.claimBatch(unaudited, [client_claims(alice, final.item(alice, index))], {"from": alice})


def test_refuses_the_whole_for_a_round_that_does_not_pay_yet(world, rounds, unaudited, final, alice):
    live = world.launch(unaudited, base=plain(rounds.getFederation(unaudited)["head"]))
    with refused("NotPayable", live, PayBasis.UNDECIDED, PayBasis.RESULT):
        rounds.claimBatch(unaudited, [client_claims(alice, final.item(alice), 2)], {"from": alice})
    assert plain(rounds.getUpdate(final.round, alice)) == (20_000, True, False)


def test_refuses_a_round_that_owes_nothing(world, rounds, alice):
    round, _ = world.decided(Phase.VOID, {})
    with refused("NotPayable", round, PayBasis.NOTHING, PayBasis.RESULT):
        rounds.claimBatch(world.view(round)["federation"], [client_claims(alice, 1)], {"from": alice})


def test_refuses_a_rejected_round_that_is_not_revealed(world, rounds, rewards, alice):
    round, result = world.decided(Phase.REJECTED, rewards)
    with refused("NotPayable", round, PayBasis.UNDECIDED, PayBasis.RESULT):
        rounds.claimBatch(world.view(round)["federation"], [client_claims(alice, result.item(alice))], {"from": alice})


@pytest.mark.parametrize("basis", [PayBasis.RESULT, PayBasis.TIME])
def test_refuses_the_whole_for_a_client_without_an_update(world, rounds, unaudited, final, alice, mallory, basis):
    round, index = final.round, 1
    if basis == PayBasis.TIME:
        round, index = abandon(world, unaudited, [alice]), 2
    with refused("NoUpdate", round, mallory):
        batch = [client_claims(alice, final.item(alice)), client_claims(mallory, index)]
        rounds.claimBatch(unaudited, batch, {"from": alice})
    assert not rounds.getUpdate(final.round, alice)[2]


def test_refuses_another_amount_than_the_leaf(rounds, unaudited, final, bob):
    _, amount, proof = final.item(bob)
    for wrong in (amount - 1, amount + 1, 0):
        with refused("InvalidProof", final.tree.root, merkle.leaf(final.round, bob.address, wrong)):
            rounds.claimBatch(unaudited, [client_claims(bob, (1, wrong, proof))], {"from": bob})


def test_refuses_siblings_of_another_item(rounds, unaudited, final, alice, bob):
    """Each item reads its own: those that come first are the first item's, and what is left over proves nothing."""
    _, amount, proof = final.item(alice)
    leaf = merkle.leaf(final.round, alice.address, amount)
    junk = [b"\7" * 32] * len(proof)
    client, words, _ = client_claims(alice, (1, amount, proof))
    with refused("InvalidProof", final.tree.root, leaf):
        rounds.claimBatch(unaudited, [(client, words, junk + proof)], {"from": bob})
    with refused("InvalidProof", final.tree.root, leaf):  # too few are asked for
        rounds.claimBatch(unaudited, [(client, [(1 << 104) | amount], proof)], {"from": bob})


@pytest.mark.parametrize("levels", [2, 255])
def test_refuses_where_siblings_are_missing(rounds, unaudited, final, alice, levels):
    """Also of the item that reads beyond what another item left: nothing after the array is taken for a sibling."""
    _, amount, proof = final.item(alice)
    assert len(proof) == 1
    with refused("SiblingsMissing", final.round, 1, levels):
        word = (1 << 104) | (levels << 96) | amount
        rounds.claimBatch(unaudited, [(alice, [word], proof)], {"from": alice})
    with refused("SiblingsMissing", final.round, 0, 1):
        rounds.claimBatch(unaudited, [(alice, [(1 << 104) | (1 << 96) | amount], [])], {"from": alice})


def test_refuses_more_than_the_record_can_earn(world, rounds, unaudited, alice):
    round = world.trained(unaudited, [alice])
    result = world.settle(round, {alice: BY_TIME + 1})
    mine_at(world.view(round)["challengeEnds"])
    with refused("AmountAboveRecord", round, alice, BY_TIME + 1, BY_TIME):
        rounds.claimBatch(unaudited, [client_claims(alice, result.item(alice))], {"from": alice})


def test_refuses_more_than_remains(world, rounds, unaudited, rewards, alice, bob):
    """Leaves that sum to more than the total: the second of the two undoes the batch, whoever it is."""
    round = world.trained(unaudited, list(rewards))
    result = world.result(round, rewards)
    rounds.settle(round, (*result.settlement[:-1], 22 * ETHER), {"from": world.acme})
    mine_at(world.view(round)["challengeEnds"])
    items = {client: client_claims(client, result.item(client)) for client in rewards}
    with refused("AmountAboveRemaining", round, 4 * ETHER, 2 * ETHER):
        rounds.claimBatch(unaudited, [items[alice], items[bob]], {"from": alice})
    with refused("AmountAboveRemaining", round, 20 * ETHER, 18 * ETHER):
        rounds.claimBatch(unaudited, [items[bob], items[alice]], {"from": alice})
    rounds.claimBatch(unaudited, [items[alice]], {"from": alice})
    assert world.view(round)["paidClients"] == 20 * ETHER


# --- nothing to do ---


def test_empty_lists_do_nothing(rounds, unaudited, final, alice, bob):
    for claims in ([], [client_claims(alice)], [client_claims(alice), client_claims(bob)]):
        transaction = rounds.claimBatch(unaudited, claims, {"from": alice})
        assert_events(transaction)
        assert transfers(transaction) == []


def test_siblings_that_no_item_reads_do_nothing(rounds, unaudited, final, alice):
    assert_events(rounds.claimBatch(unaudited, [(alice, [], final.proof(alice))], {"from": alice}))


def test_passes_over_what_is_already_paid(rounds, unaudited, final, alice, bob, mallory):
    """So nobody can make a batch fail by claiming one of its items before it."""
    rounds.claim(*final.claim(alice), {"from": mallory})
    both = [client_claims(client, final.item(client)) for client in (alice, bob)]
    transaction = rounds.claimBatch(unaudited, both, {"from": alice})
    assert_events(transaction, paid(unaudited, bob, payment(1, PayBasis.RESULT, 4 * ETHER)))
    assert transfers(transaction) == [(bob.address, 4 * ETHER)]
    transaction = rounds.claimBatch(unaudited, both, {"from": alice})
    assert_events(transaction)
    assert transfers(transaction) == []


def test_passes_over_what_is_already_paid_by_time(world, rounds, unaudited, alice, bob, mallory):
    round = abandon(world, unaudited, [alice, bob])
    rounds.claimByTime(round, alice, {"from": mallory})
    transaction = rounds.claimBatch(unaudited, [client_claims(alice, 1), client_claims(bob, 1)], {"from": alice})
    assert_events(transaction, paid(unaudited, bob, payment(1, PayBasis.TIME, BY_TIME)))


def test_what_is_passed_over_still_takes_its_siblings(world, rounds, unaudited, final, alice, bob, mallory):
    """The items after it find theirs where they were sent for it."""
    rewards = {alice: ETHER, bob: ETHER}
    second = world.trained(unaudited, list(rewards), base=plain(rounds.getFederation(unaudited)["head"]))
    result = world.settle(second, rewards)
    mine_at(world.view(second)["challengeEnds"])
    rounds.claim(*final.claim(alice), {"from": mallory})
    claims = client_claims(alice, final.item(alice), result.item(alice, 2))
    transaction = rounds.claimBatch(unaudited, [claims], {"from": alice})
    assert_events(transaction, paid(unaudited, alice, payment(2, PayBasis.RESULT, ETHER)))


def test_a_round_twice_in_one_call_is_paid_once(rounds, unaudited, final, alice):
    item = final.item(alice)
    transaction = rounds.claimBatch(unaudited, [client_claims(alice, item, item)], {"from": alice})
    assert_events(transaction, paid(unaudited, alice, payment(1, PayBasis.RESULT, 20 * ETHER)))
    assert transfers(transaction) == [(alice.address, 20 * ETHER)]


def test_a_round_twice_by_time_is_paid_once(world, rounds, unaudited, alice, bob):
    abandon(world, unaudited, [alice, bob])
    transaction = rounds.claimBatch(unaudited, [client_claims(alice, 1, 1, 1)], {"from": alice})
    assert_events(transaction, paid(unaudited, alice, payment(1, PayBasis.TIME, BY_TIME)))
    assert transfers(transaction) == [(alice.address, BY_TIME)]


# --- paid ---


def test_one_transfer_for_a_client_over_rounds_of_either_basis(world, rounds, unaudited, final, alice, mallory):
    """In any order of the rounds; whoever sends it, the client is paid."""
    second = abandon(world, unaudited, [alice], millis=10_000)
    third = abandon(world, unaudited, [alice])
    before = world.balances(alice, mallory)
    claims = client_claims(alice, 3, final.item(alice), 2)
    transaction = rounds.claimBatch(unaudited, [claims], {"from": mallory})
    assert_events(
        transaction,
        paid(
            unaudited,
            alice,
            payment(3, PayBasis.TIME, BY_TIME),
            payment(1, PayBasis.RESULT, 20 * ETHER),
            payment(2, PayBasis.TIME, BY_TIME // 2),
        ),
    )
    owed = 20 * ETHER + BY_TIME + BY_TIME // 2
    assert transfers(transaction) == [(alice.address, owed)]
    assert world.balances(alice, mallory) == [before[0] + owed, before[1]]
    assert [world.view(round)["paidClients"] for round in (final.round, second, third)] == [
        20 * ETHER,
        BY_TIME // 2,
        BY_TIME,
    ]


def test_one_transfer_for_each_client(world, rounds, unaudited, final, alice, bob, mallory):
    abandon(world, unaudited, [alice, bob])
    claims = [client_claims(client, final.item(client), 2) for client in (alice, bob)]
    transaction = rounds.claimBatch(unaudited, claims, {"from": mallory})
    assert transfers(transaction) == [(alice.address, 20 * ETHER + BY_TIME), (bob.address, 4 * ETHER + BY_TIME)]
    by_time = payment(2, PayBasis.TIME, BY_TIME)
    assert_events(
        transaction,
        paid(unaudited, alice, payment(1, PayBasis.RESULT, 20 * ETHER), by_time),
        paid(unaudited, bob, payment(1, PayBasis.RESULT, 4 * ETHER), by_time),
    )


def test_a_client_named_twice_is_paid_for_each_round_once(world, rounds, unaudited, final, alice, bob):
    """Two elements, two transfers; what the second repeats is passed over."""
    abandon(world, unaudited, [alice])
    first, both = client_claims(alice, final.item(alice)), client_claims(alice, final.item(alice), 2)
    transaction = rounds.claimBatch(unaudited, [first, both], {"from": bob})
    assert_events(
        transaction,
        paid(unaudited, alice, payment(1, PayBasis.RESULT, 20 * ETHER)),
        paid(unaudited, alice, payment(2, PayBasis.TIME, BY_TIME)),
    )
    assert transfers(transaction) == [(alice.address, 20 * ETHER), (alice.address, BY_TIME)]


def test_by_time_neither_amount_nor_siblings_are_read(world, rounds, unaudited, final, alice, bob):
    """And the items after it find their siblings all the same."""
    abandon(world, unaudited, [alice, bob])
    by_time = (2, 2**96 - 1, [b"\7" * 32] * 3)
    claims = client_claims(alice, by_time, final.item(alice))
    transaction = rounds.claimBatch(unaudited, [claims], {"from": alice})
    assert_events(
        transaction,
        paid(unaudited, alice, payment(2, PayBasis.TIME, BY_TIME), payment(1, PayBasis.RESULT, 20 * ETHER)),
    )
    beyond = (bob, [(2 << 104) | (255 << 96)], [])  # not even whether they are there
    assert_events(
        rounds.claimBatch(unaudited, [beyond], {"from": bob}),
        paid(unaudited, bob, payment(2, PayBasis.TIME, BY_TIME)),
    )


def test_bits_above_the_index_are_not_read(rounds, unaudited, final, alice):
    client, (word,), siblings = client_claims(alice, final.item(alice))
    transaction = rounds.claimBatch(unaudited, [(client, [word | (2**88 - 1) << 168], siblings)], {"from": alice})
    assert_events(transaction, paid(unaudited, alice, payment(1, PayBasis.RESULT, 20 * ETHER)))


def test_no_time_is_paid_nothing_once(world, rounds, unaudited, alice):
    abandon(world, unaudited, [alice], millis=0)
    transaction = rounds.claimBatch(unaudited, [client_claims(alice, 1)], {"from": alice})
    assert_events(transaction, paid(unaudited, alice, payment(1, PayBasis.TIME, 0)))
    assert transfers(transaction) == []
    assert_events(rounds.claimBatch(unaudited, [client_claims(alice, 1)], {"from": alice}))


def test_pays_by_the_auditors_result_once_revealed(world, rounds, rewards, alice, bob):
    round, _ = world.decided(Phase.REJECTED, rewards)
    federation, other = world.view(round)["federation"], world.other(round, rewards)
    rounds.reveal(*other.opening, {"from": alice})
    claims = [client_claims(client, other.item(client)) for client in rewards]
    transaction = rounds.claimBatch(federation, claims, {"from": alice})
    assert_events(
        transaction,
        *(paid(federation, client, payment(1, PayBasis.RESULT, rewards[client] // 2)) for client in (alice, bob)),
    )


def test_an_audited_round_pays_by_result_from_its_quorum_on(world, rounds, rewards, alice):
    round, result = world.decided(Phase.FINAL, rewards)  # the challenge is still open
    federation = world.view(round)["federation"]
    transaction = rounds.claimBatch(federation, [client_claims(alice, result.item(alice))], {"from": alice})
    assert_events(transaction, paid(federation, alice, payment(1, PayBasis.RESULT, 20 * ETHER)))


def test_rounds_of_another_federation_are_not_touched(world, rounds, unaudited, final, rewards, alice):
    """The same client, index and amount in two federations: each call pays its own."""
    other = world.federation(quorum=0)
    round = world.trained(other, list(rewards))
    theirs = world.settle(round, rewards)
    mine_at(world.view(round)["challengeEnds"])
    with refused("InvalidProof", final.tree.root, merkle.leaf(final.round, alice.address, 20 * ETHER)):
        rounds.claimBatch(unaudited, [client_claims(alice, theirs.item(alice))], {"from": alice})
    rounds.claimBatch(other, [client_claims(alice, theirs.item(alice))], {"from": alice})
    assert not rounds.getUpdate(final.round, alice)[2]
    assert rounds.getUpdate(round, alice)[2]
    assert world.view(final.round)["paidClients"] == 0
