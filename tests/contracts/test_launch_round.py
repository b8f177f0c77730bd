import brownie
import pytest
from support import (
    DAY,
    ETHER,
    MAX_MILLIS,
    MAX_UPDATES,
    MODEL,
    NEXT_MODEL,
    RATE,
    TERMS,
    ZERO_ADDRESS,
    ZERO_HASH,
    Phase,
    Term,
    assert_events,
    at,
    mine_at,
    now,
    plain,
    refused,
    round_terms,
)

from protocol import hashing

POOL = RATE * MAX_MILLIS * MAX_UPDATES
ESCROW = POOL + 5 * ETHER + 3 * ETHER


def test_refuses_an_unknown_federation(rounds, acme):
    with refused("UnknownFederation", ZERO_HASH):
        rounds.launchRound(ZERO_HASH, MODEL, round_terms(), {"from": acme})


def test_refuses_anybody_but_the_organization(rounds, federation, acme, mallory):
    with refused("NotOrganization", federation, mallory, acme):
        rounds.launchRound(federation, MODEL, round_terms(), {"from": mallory})


def test_refuses_a_second_live_round_in_each_live_phase(world, federation, alice):
    round = world.launch(federation)
    with refused("RoundIsLive", round, Phase.TRAINING):
        world.launch(federation)
    world.submit(round, alice)
    world.close(round)
    with refused("RoundIsLive", round, Phase.SETTLEMENT):
        world.launch(federation)
    world.settle(round, {alice: ETHER})
    with refused("RoundIsLive", round, Phase.CHALLENGE):
        world.launch(federation)


def test_refuses_a_base_that_is_not_the_head(world, federation):
    with refused("StaleBase", federation, NEXT_MODEL, MODEL):
        world.launch(federation, base=NEXT_MODEL)


@pytest.mark.parametrize(
    ("changes", "term", "actual", "minimum", "maximum"),
    [
        ({"max_millis": 0, "time_cap_millis": 0}, Term.MAX_MILLIS, 0, 1, 2**40 - 1),
        ({"time_cap_millis": MAX_MILLIS + 1}, Term.TIME_CAP_MILLIS, MAX_MILLIS + 1, 0, MAX_MILLIS),
        ({"max_updates": 0}, Term.MAX_UPDATES, 0, 1, 2**24 - 1),
        ({"training_seconds": 0}, Term.TRAINING_SECONDS, 0, 1, 90 * DAY),
        ({"training_seconds": 90 * DAY + 1}, Term.TRAINING_SECONDS, 90 * DAY + 1, 1, 90 * DAY),
        ({"settlement_seconds": 0}, Term.SETTLEMENT_SECONDS, 0, 1, 30 * DAY),
        ({"settlement_seconds": 30 * DAY + 1}, Term.SETTLEMENT_SECONDS, 30 * DAY + 1, 1, 30 * DAY),
        ({"challenge_seconds": 0}, Term.CHALLENGE_SECONDS, 0, 1, 30 * DAY),
        ({"challenge_seconds": 30 * DAY + 1}, Term.CHALLENGE_SECONDS, 30 * DAY + 1, 1, 30 * DAY),
        (
            {"max_millis": 2**40 - 1, "time_cap_millis": 2**33, "max_updates": 2**23},
            Term.TIME_CAP_TOTAL,
            2**56,
            0,
            2**56 - 1,
        ),
    ],
)
def test_refuses_terms_out_of_range(world, federation, changes, term, actual, minimum, maximum):
    with refused("TermOutOfRange", term, actual, minimum, maximum):
        world.launch(federation, **changes)


def test_refuses_an_escrow_of_more_than_96_bits(world, federation):
    changes = {"reward_per_milli": 2**95, "max_millis": 2, "time_cap_millis": 2, "max_updates": 1}
    escrow = 2**96 + 8 * ETHER
    with refused("SafeCastOverflowedUintDowncast", 96, escrow):
        world.launch(federation, **changes)


def test_refuses_without_an_allowance(world, rounds, token, federation, acme):
    token.approve(rounds, ESCROW - 1, {"from": acme})
    with refused("ERC20InsufficientAllowance", rounds, ESCROW - 1, ESCROW):
        world.launch(federation)


def test_refuses_a_token_that_is_no_contract(world):
    nothing = world.federation(token=ZERO_ADDRESS)
    with refused("EscrowNotReceived", ZERO_ADDRESS, 0, ESCROW):
        world.launch(nothing)


@pytest.mark.parametrize(
    "changes",
    [
        {"training_seconds": 90 * DAY, "settlement_seconds": 30 * DAY, "challenge_seconds": 30 * DAY},
        {"training_seconds": 1, "settlement_seconds": 1, "challenge_seconds": 1},
        {"max_millis": 2**40 - 1, "time_cap_millis": 2**32 - 1, "max_updates": 2**24 - 1, "reward_per_milli": 1},
        {"max_millis": 1, "time_cap_millis": 1, "max_updates": 1},
        {"time_cap_millis": 0},
        {"time_cap_millis": MAX_MILLIS},
    ],
)
def test_takes_terms_at_their_bounds(world, federation, changes):
    assert world.view(world.launch(federation, **changes))["phase"] == Phase.TRAINING


def test_an_unaudited_round_may_have_no_challenge(world):
    round = world.launch(world.federation(quorum=0), challenge_seconds=0)
    assert world.view(round)["phase"] == Phase.TRAINING


def test_a_round_without_money_moves_none(world, rounds):
    """Volunteers: no reward, no bond, no fee; not even a token is needed."""
    federation = world.federation(token=ZERO_ADDRESS)
    round = world.launch(federation, reward_per_milli=0, bond=0, attestation_fee=0)
    view = world.view(round)
    assert view["escrowed"] == rounds.withdrawable(round) == 0


def test_takes_exactly_the_escrow_and_says_everything(world, rounds, token, federation, acme):
    chain_id = brownie.web3.eth.chain_id
    expected = hashing.round_id(federation, 1)
    assert plain(rounds.roundId(federation, 1)) == expected
    before = world.balances(acme, rounds)
    start = now() + 10
    at(start)

    transaction = world.launched(federation)

    assert plain(transaction.return_value) == expected
    assert world.balances(acme, rounds) == [before[0] - ESCROW, before[1] + ESCROW]
    terms_hash = hashing.terms_hash(TERMS)
    assert_events(
        transaction,
        (
            "RoundLaunched",
            {
                "round": expected,
                "federation": federation,
                "index": 1,
                "base": MODEL,
                "admissionRoot": ZERO_HASH,
                "terms": round_terms(),
                "termsHash": terms_hash,
                "launchedAt": start,
                "trainingEnds": start + 1000,
                "settlementEnds": start + 1500,
                "escrow": ESCROW,
            },
        ),
    )
    view = world.view(expected)
    seed = hashing.seed_hash(chain_id, rounds.address, expected, MODEL, terms_hash)
    assert view["updatesHash"] == seed
    assert (view["federation"], view["index"], view["base"]) == (federation, 1, MODEL)
    assert (view["termsHash"], view["escrowed"], view["updates"]) == (terms_hash, ESCROW, 0)
    assert (view["challengeEnds"], view["revealEnds"], view["resultHash"]) == (0, 0, ZERO_HASH)
    assert rounds.getFederation(federation)["rounds"] == 1


def test_the_next_round_has_the_next_index_and_the_moved_head(world, rounds, alice):
    federation = world.federation(quorum=0)
    first = world.trained(federation, [alice])
    world.settle(first, {alice: ETHER})
    mine_at(world.view(first)["challengeEnds"])
    assert plain(rounds.getFederation(federation)["head"]) == NEXT_MODEL
    with refused("StaleBase", federation, MODEL, NEXT_MODEL):
        world.launch(federation)
    second = world.launch(federation, base=NEXT_MODEL)
    assert second == hashing.round_id(federation, 2)
    assert world.view(second)["base"] == NEXT_MODEL
    assert plain(rounds.getFederation(federation)["head"]) == NEXT_MODEL
