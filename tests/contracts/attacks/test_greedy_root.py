"""Attack: an organization whose word decides (nobody audits) settles a root that pays itself, or pays twice.

Verdict: bounded. Only who has an update is paid, once, at most its recorded time, and all of them together at most
the stated total; other rounds' money stays where it is. What it keeps from its clients that way is the reason why
clients refuse unaudited federations.
"""

import pytest
from support import ETHER, RATE, mine_at, refused


@pytest.fixture
def federation(world):
    return world.federation(quorum=0)


def settled(world, round, rewards, total=None):
    result = world.result(round, rewards)
    settlement = (*result.settlement[:-1], result.total if total is None else total)
    world.rounds.settle(round, settlement, {"from": world.acme})
    mine_at(world.view(round)["challengeEnds"])
    return result


def test_it_cannot_pay_an_account_without_an_update(world, rounds, federation, acme, alice):
    round = world.trained(federation, [alice])
    result = settled(world, round, {acme: 10 * ETHER})
    with refused("NoUpdate", round, acme):
        rounds.claim(*result.claim(acme), {"from": acme})


def test_it_cannot_pay_its_own_client_beyond_its_recorded_time(world, rounds, federation, acme, alice):
    round = world.trained(federation, [alice, acme])
    result = settled(world, round, {acme: 20 * ETHER + 1})
    with refused("AmountAboveRecord", round, acme, 20 * ETHER + 1, RATE * 20_000):
        rounds.claim(*result.claim(acme), {"from": acme})


def test_it_cannot_reach_the_money_of_another_round(world, rounds, token, federation, alice, bob, carol):
    """Leaves for the whole pool, a stated total of next to nothing, the rest withdrawn: the claims find nothing."""
    other = world.trained(world.federation(), [alice, bob])
    held = world.held(other)
    round = world.trained(federation, [alice, bob, carol])
    result = settled(world, round, dict.fromkeys((alice, bob, carol), 20 * ETHER), total=1)
    rounds.withdraw(round, {"from": world.acme})
    for client in (alice, bob, carol):
        with refused("AmountAboveRemaining", round, 20 * ETHER, 1):
            rounds.claim(*result.claim(client), {"from": client})
    assert world.held(other) == held
    assert token.balanceOf(rounds) == held + 1


def test_two_leaves_of_one_client_pay_once(world, rounds, federation, alice):
    from protocol import merkle

    round = world.trained(federation, [alice])
    leaves = [merkle.leaf(round, alice.address, amount) for amount in (ETHER, 2 * ETHER)]
    tree = merkle.MerkleTree(leaves)
    view = world.view(round)
    settlement = (view["updatesHash"], b"\1" * 32, b"\0" * 32, b"\0" * 32, tree.root, 3 * ETHER)
    rounds.settle(round, settlement, {"from": world.acme})
    mine_at(world.view(round)["challengeEnds"])
    rounds.claim(round, alice, ETHER, list(tree.proof(leaves[0])), {"from": alice})
    with refused("AlreadyPaid", round, alice):
        rounds.claim(round, alice, 2 * ETHER, list(tree.proof(leaves[1])), {"from": alice})
