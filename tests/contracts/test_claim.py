import pytest
from support import (
    ETHER,
    MODEL,
    RATE,
    WITNESS,
    ZERO_HASH,
    PayBasis,
    Phase,
    assert_events,
    mine_at,
    plain,
    refused,
)

from protocol import merkle


@pytest.fixture
def rewards(alice, bob):
    return {alice: 20 * ETHER, bob: 4 * ETHER}  # alice's is all that 20 s can earn


@pytest.fixture
def final(world, rewards):
    return world.decided(Phase.FINAL, rewards)


def test_refuses_an_unknown_round(rounds, alice):
    with refused("UnknownRound", ZERO_HASH):
        rounds.claim(ZERO_HASH, alice, 1, [], {"from": alice})


@pytest.mark.parametrize(
    ("phase", "basis"),
    [(Phase.VOID, PayBasis.NOTHING), (Phase.UNCONFIRMED, PayBasis.TIME), (Phase.ABANDONED, PayBasis.TIME)],
)
def test_refuses_where_pay_is_not_by_result(world, rounds, rewards, alice, phase, basis):
    round, _ = world.decided(phase, rewards)
    with refused("NotPayable", round, basis, PayBasis.RESULT):
        rounds.claim(round, alice, 1, [], {"from": alice})


def test_refuses_while_the_round_is_live(world, rounds, federation, alice):
    round = world.launch(federation)
    undecided = ("NotPayable", round, PayBasis.UNDECIDED, PayBasis.RESULT)
    with refused(*undecided):
        rounds.claim(round, alice, 1, [], {"from": alice})
    world.submit(round, alice)
    world.close(round)
    with refused(*undecided):
        rounds.claim(round, alice, 1, [], {"from": alice})
    result = world.settle(round, {alice: ETHER})
    with refused(*undecided):
        rounds.claim(*result.claim(alice), {"from": alice})
    rounds.attest(round, result.result_hash, WITNESS, {"from": world.auditors[0]})
    with refused(*undecided):
        rounds.claim(*result.claim(alice), {"from": alice})


def test_refuses_while_a_rejected_round_is_not_revealed(world, rounds, rewards, alice):
    round, result = world.decided(Phase.REJECTED, rewards)
    with refused("NotPayable", round, PayBasis.UNDECIDED, PayBasis.RESULT):
        rounds.claim(*result.claim(alice), {"from": alice})


def test_refuses_who_has_no_update(world, rounds, final, mallory):
    round, _ = final
    with refused("NoUpdate", round, mallory):
        rounds.claim(round, mallory, 1, [], {"from": mallory})


def test_refuses_a_second_time(rounds, final, alice):
    round, result = final
    rounds.claim(*result.claim(alice), {"from": alice})
    with refused("AlreadyPaid", round, alice):
        rounds.claim(*result.claim(alice), {"from": alice})


def test_refuses_more_than_the_record_can_earn(world, rounds, alice):
    """An organization that pays by a root of its own cannot pay anybody for more time than the chain recorded."""
    round, result = world.decided(Phase.FINAL, {alice: 20 * ETHER + 1})
    with refused("AmountAboveRecord", round, alice, 20 * ETHER + 1, RATE * 20_000):
        rounds.claim(*result.claim(alice), {"from": alice})


def test_refuses_more_than_remains(world, rounds, federation, alice, bob):
    """Leaves that sum to more than rewardsTotal: the first is paid, the second finds too little."""
    round = world.trained(federation, [alice, bob])
    result = world.result(round, {alice: 10 * ETHER, bob: 10 * ETHER})
    settlement = (*result.settlement[:-1], 15 * ETHER)
    resulting = rounds.settle(round, settlement, {"from": world.acme}).events["RoundSettled"]["resultHash"]
    world.agree(round, plain(resulting))
    rounds.claim(*result.claim(alice), {"from": alice})
    with refused("AmountAboveRemaining", round, 10 * ETHER, 5 * ETHER):
        rounds.claim(*result.claim(bob), {"from": bob})


def test_refuses_another_amount_client_or_round(world, rounds, final, alice, bob):
    round, result = final
    _, _, amount, proof = result.claim(alice)
    with refused("InvalidProof", result.tree.root, merkle.leaf(round, alice.address, amount - 1)):
        rounds.claim(round, alice, amount - 1, proof, {"from": alice})
    with refused("InvalidProof", result.tree.root, merkle.leaf(round, bob.address, 4 * ETHER)):
        rounds.claim(round, bob, 4 * ETHER, proof, {"from": bob})
    other, others = world.decided(Phase.FINAL, {alice: 20 * ETHER})
    with refused("InvalidProof", others.tree.root, merkle.leaf(other, alice.address, amount)):
        rounds.claim(other, alice, amount, proof, {"from": alice})


def test_refuses_an_inner_node_as_a_leaf(rounds, final, alice):
    round, result = final
    with refused("InvalidProof", result.tree.root, merkle.leaf(round, alice.address, 1)):
        rounds.claim(round, alice, 1, [], {"from": alice})


def test_refuses_to_pay_off_a_client_with_nothing(world, rounds, federation, alice, bob):
    round = world.trained(federation, [alice, bob])
    result = world.settle(round, {alice: 0, bob: ETHER})
    world.agree(round, result.result_hash)
    with refused("InvalidProof", result.tree.root, merkle.leaf(round, alice.address, 0)):
        rounds.claim(*result.claim(alice), {"from": bob})


def test_pays_the_client_whoever_sends(world, rounds, token, final, alice, mallory):
    round, result = final
    before = world.balances(alice, mallory, rounds)
    transaction = rounds.claim(*result.claim(alice), {"from": mallory})
    assert_events(
        transaction,
        ("RewardPaid", {"round": round, "client": alice, "amount": 20 * ETHER, "basis": int(PayBasis.RESULT)}),
    )
    assert world.balances(alice, mallory, rounds) == [before[0] + 20 * ETHER, before[1], before[2] - 20 * ETHER]
    assert plain(rounds.getUpdate(round, alice)) == (20_000, True, True)
    assert world.view(round)["paidClients"] == 20 * ETHER


def test_pays_everybody_up_to_the_total(world, rounds, final, alice, bob):
    round, result = final
    for client in (bob, alice):
        rounds.claim(*result.claim(client), {"from": client})
    view = world.view(round)
    assert view["paidClients"] == view["rewardsTotal"] == 24 * ETHER


def test_pays_long_after_and_after_later_rounds(world, rounds, alice, bob):
    federation = world.federation(quorum=0)
    round = world.trained(federation, [alice])
    result = world.settle(round, {alice: ETHER}, model=MODEL)
    mine_at(world.view(round)["challengeEnds"])
    later = world.trained(federation, [bob])
    mine_at(world.view(later)["settlementEnds"] + 365 * 24 * 60 * 60)
    rounds.claim(*result.claim(alice), {"from": alice})
    assert world.view(round)["paidClients"] == ETHER


def test_pays_by_the_auditors_result_once_revealed(world, rounds, rewards, alice, bob, mallory):
    round, settled = world.decided(Phase.REJECTED, rewards)
    other = world.other(round, rewards)
    rounds.reveal(*other.opening, {"from": mallory})
    with refused("InvalidProof", other.tree.root, merkle.leaf(round, bob.address, rewards[bob])):
        rounds.claim(*settled.claim(bob), {"from": bob})
    before = world.balances(bob)[0]
    rounds.claim(*other.claim(bob), {"from": bob})
    assert world.balances(bob)[0] - before == rewards[bob] // 2
