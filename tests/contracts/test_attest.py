import pytest
from eth_utils.crypto import keccak
from support import ETHER, WITNESS, ZERO_HASH, Phase, assert_events, at, mine_at, plain, refused

OTHER = keccak(text="another result")


@pytest.fixture
def round(world, federation, alice):
    return world.trained(federation, [alice])


@pytest.fixture
def result(world, round, alice):
    return world.settle(round, {alice: ETHER})


def test_refuses_an_unknown_round(rounds, auditors):
    with refused("UnknownRound", ZERO_HASH):
        rounds.attest(ZERO_HASH, OTHER, WITNESS, {"from": auditors[0]})


def test_refuses_before_the_settlement(rounds, round, auditors):
    with refused("WrongPhase", round, Phase.SETTLEMENT, Phase.CHALLENGE):
        rounds.attest(round, OTHER, WITNESS, {"from": auditors[0]})


def test_refuses_from_the_end_of_the_challenge_on(world, rounds, round, result, auditors):
    at(world.view(round)["challengeEnds"])
    with refused("WrongPhase", round, Phase.UNCONFIRMED, Phase.CHALLENGE):
        rounds.attest(round, result.result_hash, WITNESS, {"from": auditors[0]})


def test_refuses_after_the_challenge_of_a_final_round(world, rounds, round, result, auditors):
    world.agree(round, result.result_hash)
    at(world.view(round)["challengeEnds"])
    with refused("WrongPhase", round, Phase.FINAL, Phase.CHALLENGE):
        rounds.attest(round, result.result_hash, WITNESS, {"from": auditors[2]})


def test_refuses_anybody_but_an_auditor(rounds, federation, round, result, mallory):
    with refused("NotAuditor", federation, mallory):
        rounds.attest(round, result.result_hash, WITNESS, {"from": mallory})


def test_nobody_attests_where_nobody_audits(world, rounds, alice, auditors):
    unaudited = world.federation(quorum=0)
    round = world.trained(unaudited, [alice])
    result = world.settle(round, {alice: ETHER})
    with refused("NotAuditor", unaudited, auditors[0]):
        rounds.attest(round, result.result_hash, WITNESS, {"from": auditors[0]})


def test_refuses_a_second_verdict(rounds, round, result, auditors):
    rounds.attest(round, result.result_hash, WITNESS, {"from": auditors[0]})
    with refused("AlreadyAttested", round, auditors[0]):
        rounds.attest(round, OTHER, WITNESS, {"from": auditors[0]})


def test_refuses_no_result(rounds, round, result, auditors):
    with refused("ZeroResult", round):
        rounds.attest(round, ZERO_HASH, WITNESS, {"from": auditors[0]})


def test_takes_a_verdict_in_the_last_second(world, rounds, round, result, auditors):
    at(world.view(round)["challengeEnds"] - 1)
    rounds.attest(round, result.result_hash, WITNESS, {"from": auditors[0]})
    assert world.view(round)["attestations"] == 1


def test_one_verdict_decides_nothing(world, rounds, round, result, auditors):
    transaction = rounds.attest(round, result.result_hash, WITNESS, {"from": auditors[0]})
    assert_events(
        transaction,
        (
            "Attested",
            {"round": round, "auditor": auditors[0], "resultHash": result.result_hash, "witness": WITNESS},
        ),
    )
    assert plain(rounds.hasAttested(round, auditors[0])) == (True, False)
    assert plain(rounds.hasAttested(round, auditors[1])) == (False, False)
    assert rounds.votes(round, result.result_hash) == 1
    assert (world.view(round)["phase"], world.view(round)["quorumHash"]) == (Phase.CHALLENGE, ZERO_HASH)


@pytest.mark.parametrize("agrees", [True, False])
def test_a_quorum_decides_at_once(world, rounds, round, result, auditors, agrees):
    hashed = result.result_hash if agrees else OTHER
    rounds.attest(round, hashed, WITNESS, {"from": auditors[0]})
    transaction = rounds.attest(round, hashed, WITNESS, {"from": auditors[1]})
    assert_events(
        transaction,
        ("Attested", {"round": round, "auditor": auditors[1], "resultHash": hashed, "witness": WITNESS}),
        ("QuorumReached", {"round": round, "resultHash": hashed}),
    )
    view = world.view(round)
    assert view["phase"] == (Phase.FINAL if agrees else Phase.REJECTED)
    assert (view["quorumHash"], view["resultHash"]) == (hashed, result.result_hash)


@pytest.mark.parametrize("agrees", [True, False])
def test_a_quorum_is_irrevocable(world, rounds, round, result, auditors, agrees):
    first, last = (result.result_hash, OTHER) if agrees else (OTHER, result.result_hash)
    world.agree(round, first)
    decided = world.view(round)["phase"]
    transaction = rounds.attest(round, last, WITNESS, {"from": auditors[2]})
    assert [event.name for event in transaction.events] == ["Attested"]
    mine_at(world.view(round)["challengeEnds"])
    view = world.view(round)
    assert (view["phase"], view["quorumHash"], view["attestations"]) == (decided, first, 3)


def test_a_vote_beyond_the_quorum_says_no_second_one(world, rounds, round, result, auditors):
    world.agree(round, result.result_hash)
    transaction = rounds.attest(round, result.result_hash, WITNESS, {"from": auditors[2]})
    assert [event.name for event in transaction.events] == ["Attested"]
    assert rounds.votes(round, result.result_hash) == 3


def test_three_opinions_are_no_quorum(world, rounds, round, result, auditors):
    for number, auditor in enumerate(auditors):
        rounds.attest(round, keccak(number + 1), WITNESS, {"from": auditor})
    assert world.view(round)["phase"] == Phase.CHALLENGE
    mine_at(world.view(round)["challengeEnds"])
    assert world.view(round)["phase"] == Phase.UNCONFIRMED
