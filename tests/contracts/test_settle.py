import pytest
from support import (
    DERIVED,
    ETHER,
    MAX_MILLIS,
    MAX_UPDATES,
    MODEL,
    NEXT_MODEL,
    RATE,
    REPORT,
    ZERO_HASH,
    Phase,
    assert_events,
    at,
    plain,
    refused,
    rewards_tree,
)

POOL = RATE * MAX_MILLIS * MAX_UPDATES


@pytest.fixture
def round(world, federation, alice, bob):
    return world.trained(federation, [alice, bob])


def settlement(world, round, **changes):
    values = {
        "updates_hash": world.view(round)["updatesHash"],
        "model": NEXT_MODEL,
        "report": REPORT,
        "derived_hash": DERIVED,
        "rewards_root": ZERO_HASH,
        "rewards_total": 0,
    }
    return tuple({**values, **changes}.values())


def test_refuses_an_unknown_round(world, rounds, round, acme):
    with refused("UnknownRound", ZERO_HASH):
        rounds.settle(ZERO_HASH, settlement(world, round), {"from": acme})


def test_refuses_anybody_but_the_organization(world, rounds, federation, round, acme, mallory):
    with refused("NotOrganization", federation, mallory, acme):
        rounds.settle(round, settlement(world, round), {"from": mallory})


def test_refuses_while_training_is_open(world, rounds, federation, acme, alice):
    round = world.launch(federation)
    world.submit(round, alice)
    at(world.view(round)["trainingEnds"] - 1)
    with refused("WrongPhase", round, Phase.TRAINING, Phase.SETTLEMENT):
        rounds.settle(round, settlement(world, round), {"from": acme})


def test_refuses_a_round_without_updates(world, rounds, federation, acme):
    round = world.launch(federation)
    world.close(round)
    with refused("WrongPhase", round, Phase.VOID, Phase.SETTLEMENT):
        rounds.settle(round, settlement(world, round), {"from": acme})


def test_refuses_from_the_end_of_settlement_on(world, rounds, round, acme):
    at(world.view(round)["settlementEnds"])
    with refused("WrongPhase", round, Phase.ABANDONED, Phase.SETTLEMENT):
        rounds.settle(round, settlement(world, round), {"from": acme})


def test_refuses_a_second_time(world, rounds, round, acme):
    rounds.settle(round, settlement(world, round), {"from": acme})
    with refused("WrongPhase", round, Phase.CHALLENGE, Phase.SETTLEMENT):
        rounds.settle(round, settlement(world, round), {"from": acme})


def test_refuses_a_stale_view_of_the_updates(world, rounds, federation, acme, alice, bob):
    round = world.launch(federation)
    world.submit(round, alice)
    stale = world.view(round)["updatesHash"]
    world.submit(round, bob)
    world.close(round)
    with refused("StaleUpdates", round, stale, world.view(round)["updatesHash"]):
        rounds.settle(round, settlement(world, round, updates_hash=stale), {"from": acme})


def test_refuses_no_model(world, rounds, round, acme):
    with refused("ZeroModel"):
        rounds.settle(round, settlement(world, round, model=ZERO_HASH), {"from": acme})


@pytest.mark.parametrize(("root", "total"), [(b"\1" * 32, 0), (ZERO_HASH, 1), (b"\1" * 32, POOL + 1)])
def test_refuses_rewards_without_a_root_or_beyond_the_pool(world, rounds, round, acme, root, total):
    with refused("InvalidRewards", round, root, total, POOL):
        rounds.settle(round, settlement(world, round, rewards_root=root, rewards_total=total), {"from": acme})


@pytest.mark.parametrize("root_and_total", [(ZERO_HASH, 0), (b"\1" * 32, 1), (b"\1" * 32, POOL)])
def test_takes_rewards_at_their_bounds(world, rounds, round, acme, root_and_total):
    root, total = root_and_total
    rounds.settle(round, settlement(world, round, rewards_root=root, rewards_total=total), {"from": acme})
    view = world.view(round)
    assert (view["rewardsRoot"], view["rewardsTotal"], view["paidClients"]) == (root, total, 0)


def test_takes_it_in_the_first_second_after_training_and_in_the_last(world, rounds, acme, alice):
    for when in ("first", "last"):
        round = world.launch(world.federation())
        world.submit(round, alice)
        view = world.view(round)
        at(view["trainingEnds"] if when == "first" else view["settlementEnds"] - 1)
        rounds.settle(round, settlement(world, round), {"from": acme})
        assert world.view(round)["phase"] == Phase.CHALLENGE


def test_takes_it_before_training_ends_once_the_round_is_full(world, rounds, federation, acme, alice):
    round = world.launch(federation, max_updates=1)
    world.submit(round, alice)
    rounds.settle(round, settlement(world, round), {"from": acme})
    assert world.view(round)["phase"] == Phase.CHALLENGE


def test_states_the_result(world, rounds, round, acme, alice):
    result = world.result(round, {alice: ETHER})
    settled_at = world.view(round)["trainingEnds"] + 7
    at(settled_at)
    transaction = rounds.settle(round, result.settlement, {"from": acme})
    assert_events(
        transaction,
        (
            "RoundSettled",
            {
                "round": round,
                "settlement": result.settlement,
                "resultHash": result.result_hash,
                "settledAt": settled_at,
                "challengeEnds": settled_at + 300,
            },
        ),
    )
    view = world.view(round)
    assert (view["challengeEnds"], view["revealEnds"]) == (settled_at + 300, settled_at + 600)
    assert (view["resultHash"], view["quorumHash"]) == (result.result_hash, ZERO_HASH)
    assert (view["rewardsRoot"], view["rewardsTotal"]) == (rewards_tree(round, {alice: ETHER}).root, ETHER)


def test_does_not_move_the_head_yet(world, rounds, federation, round, alice):
    world.settle(round, {alice: ETHER})
    assert plain(rounds.getFederation(federation)["head"]) == MODEL


def test_costs_the_same_whatever_the_number_of_updates(world, rounds, acme, alice, bob, carol):
    used = set()
    for clients in ([alice], [alice, bob, carol]):
        round = world.trained(world.federation(), clients, max_updates=4)
        result = world.result(round, {alice: ETHER})
        transaction = rounds.settle(round, result.settlement, {"from": acme})
        zeros = sum(12 for byte in bytes.fromhex(transaction.input[2:]) if byte == 0)  # a zero byte costs 4, not 16
        used.add(transaction.gas_used + zeros)
    assert len(used) == 1
