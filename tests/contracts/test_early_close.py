"""The maxUpdates-th update closes training in its own second; neither trainingEnds nor settlementEnds moves for it.

Until trainingEnds the count is in a further update's way (RoundFull), then the time (WrongPhase). Of the escrow of 188,
20 are paid by result or 60 by time, 2 to auditors; the bond of 5 is lost where the round is Abandoned.
"""

from dataclasses import replace

import pytest
from actions import OK, Of, Situation, assert_refused, assert_taken, table, takings
from support import ETHER, MAX_UPDATES, MODEL, NEXT_MODEL, WITNESS, PayBasis, Phase, at, now

FULL = ("RoundFull", Of.ROUND, MAX_UPDATES)
WAITING = table(Phase.SETTLEMENT, PayBasis.UNDECIDED, submits=FULL, settle=OK)
WAITING_LATE = table(Phase.SETTLEMENT, PayBasis.UNDECIDED, settle=OK)
ABANDONED = table(Phase.ABANDONED, PayBasis.TIME, withdraw=123 * ETHER, forfeit=OK)
FINAL = table(Phase.FINAL, PayBasis.RESULT, submits=FULL, claimAttestationFee=OK, attest=OK, withdraw=165 * ETHER)
FINAL_LATE = table(Phase.FINAL, PayBasis.RESULT, claimAttestationFee=OK, withdraw=166 * ETHER)

SUBMITS = dict.fromkeys(("submitUpdate", "submitUpdateFor", "submitUpdates"), FULL)

# By when: what becomes of every call. A moment is a key of the round's view and seconds from there, or its own second.
UNSETTLED = {
    ("its own", 0): WAITING,
    ("trainingEnds", -1): WAITING,
    ("trainingEnds", 0): WAITING_LATE,
    ("settlementEnds", -1): WAITING_LATE,
    ("settlementEnds", 0): ABANDONED,
}
DECIDED = {
    ("its own", 0): FINAL,
    ("challengeEnds", -1): FINAL,
    ("trainingEnds", -1): FINAL_LATE | SUBMITS,
    ("trainingEnds", 0): FINAL_LATE,
}


@pytest.fixture(scope="module")
def full(world, alice, bob, carol, mallory):
    federation = world.federation()
    round = world.launch(federation)
    for client in (alice, bob, carol):
        world.submit(round, client)
    settled = world.result(round, {alice: 20 * ETHER})
    return Situation(world, federation, 1, alice, mallory, settled, proved=settled, head=NEXT_MODEL)


@pytest.fixture
def final(world, full):
    """Settled and audited in the second of the close; the next round can start while trainingEnds is to come."""
    second = now()
    at(second)
    world.settle(full.round, full.settled.rewards)
    for auditor in world.auditors[:2]:
        at(second)
        world.rounds.attest(full.round, full.settled.result_hash, WITNESS, {"from": auditor})
    view = world.view(full.round)
    assert now() == second
    assert view["challengeEnds"] < view["trainingEnds"]
    return full


def second_of(situation, moment):
    key, later = moment
    return now() if key == "its own" else situation.world.view(situation.round)[key] + later


@pytest.mark.parametrize("moment", UNSETTLED)
def test_refuses(full, moment):
    assert_refused(full, UNSETTLED[moment], second_of(full, moment))


@pytest.mark.parametrize(("_", "moment", "call"), takings({"": UNSETTLED}))
def test_takes(world, full, _, moment, call):
    situation = full if moment != ("settlementEnds", 0) else replace(full, head=MODEL)
    assert_taken(situation, call, UNSETTLED[moment], second_of(full, moment))


@pytest.mark.parametrize("moment", DECIDED)
def test_refuses_once_decided(final, moment):
    assert_refused(final, DECIDED[moment], second_of(final, moment))


@pytest.mark.parametrize(("_", "moment", "call"), takings({"": DECIDED}))
def test_takes_once_decided(final, _, moment, call):
    assert_taken(final, call, DECIDED[moment], second_of(final, moment))
