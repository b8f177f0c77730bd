import pytest
from support import ETHER, WITNESS, ZERO_HASH, Phase, assert_events, mine_at, plain, refused


@pytest.fixture
def rewards(alice):
    return {alice: ETHER}


def test_refuses_an_unknown_round(rounds, auditors):
    with refused("UnknownRound", ZERO_HASH):
        rounds.claimAttestationFee(ZERO_HASH, auditors[0], {"from": auditors[0]})


def test_refuses_who_has_not_attested(world, rounds, rewards, auditors, mallory):
    round, _ = world.decided(Phase.FINAL, rewards)
    for idle in (auditors[2], mallory):
        with refused("NotAttested", round, idle):
            rounds.claimAttestationFee(round, idle, {"from": idle})


def test_refuses_a_second_time(world, rounds, rewards, auditors):
    round, _ = world.decided(Phase.FINAL, rewards)
    rounds.claimAttestationFee(round, auditors[0], {"from": auditors[0]})
    with refused("FeeAlreadyPaid", round, auditors[0]):
        rounds.claimAttestationFee(round, auditors[0], {"from": auditors[0]})


def test_pays_the_auditor_whoever_sends(world, rounds, rewards, auditors, mallory):
    round, _ = world.decided(Phase.FINAL, rewards)
    before = world.balances(auditors[0], mallory)
    transaction = rounds.claimAttestationFee(round, auditors[0], {"from": mallory})
    assert_events(transaction, ("AttestationFeePaid", {"round": round, "auditor": auditors[0], "amount": ETHER}))
    assert world.balances(auditors[0], mallory) == [before[0] + ETHER, before[1]]
    assert plain(rounds.hasAttested(round, auditors[0])) == (True, True)
    assert world.view(round)["paidAuditors"] == ETHER


def test_pays_while_the_challenge_is_still_open(world, rounds, federation, alice, auditors):
    round = world.trained(federation, [alice])
    result = world.settle(round, {alice: ETHER})
    rounds.attest(round, result.result_hash, WITNESS, {"from": auditors[0]})
    rounds.claimAttestationFee(round, auditors[0], {"from": auditors[0]})
    assert world.view(round)["paidAuditors"] == ETHER


@pytest.mark.parametrize("phase", [Phase.FINAL, Phase.REJECTED])
def test_pays_every_verdict_in_time_whatever_it_was(world, rounds, rewards, auditors, phase):
    """The fee does not race: who comes after the quorum, and who disagrees with it, has worked too."""
    round, _ = world.decided(phase, rewards)
    rounds.attest(round, b"\7" * 32, WITNESS, {"from": auditors[2]})
    mine_at(world.view(round)["revealEnds"])
    for auditor in auditors:
        rounds.claimAttestationFee(round, auditor, {"from": auditor})
    assert world.view(round)["paidAuditors"] == 3 * ETHER


def test_no_fee_is_paid_as_nothing(world, rounds, rewards, auditors):
    round, _ = world.decided(Phase.FINAL, rewards, attestation_fee=0)
    transaction = rounds.claimAttestationFee(round, auditors[0], {"from": auditors[0]})
    assert_events(transaction, ("AttestationFeePaid", {"round": round, "auditor": auditors[0], "amount": 0}))
    assert "Transfer" not in transaction.events
