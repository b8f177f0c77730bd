"""t = challengeEnds - 1 and t = challengeEnds: every call, whatever the auditors said, and where nobody audits.

Of the escrow of 188 the pool is 180, the bond 5 and the fees 3. By result 24 are paid, by the other result 12, by time
40 (20 for each of two clients). An unaudited round's escrow is 185.
"""

import pytest
from actions import OK, Of, Situation, assert_refused, assert_taken, table, takings
from support import ETHER, MODEL, NEXT_MODEL, PayBasis, Phase

CHALLENGE = table(Phase.CHALLENGE, PayBasis.UNDECIDED, attest=OK)
UNCONFIRMED = table(Phase.UNCONFIRMED, PayBasis.TIME, withdraw=148 * ETHER)
UNAUDITED = CHALLENGE | {"attest": ("NotAuditor", Of.FEDERATION, Of.LATECOMER)}
FINAL = table(Phase.FINAL, PayBasis.RESULT, withdraw=161 * ETHER)
PAID = {"claimAttestationFee": OK}
REJECTED = table(Phase.REJECTED, PayBasis.UNDECIDED, reveal=OK, forfeit=OK) | PAID
REVEALED = table(Phase.REJECTED, PayBasis.RESULT, reveal=("AlreadyRevealed", Of.ROUND), forfeit=OK) | PAID

# In the last second every auditor's fee can still be earned and is kept; at the end those are kept that were.
CASES = {
    "no verdict": {-1: CHALLENGE, 0: UNCONFIRMED},
    "one verdict": {-1: CHALLENGE | PAID, 0: UNCONFIRMED | PAID | {"withdraw": 147 * ETHER}},
    "a quorum": {-1: FINAL | PAID | {"attest": OK}, 0: FINAL | PAID | {"withdraw": 162 * ETHER}},
    "another result": {-1: REJECTED | {"attest": OK}, 0: REJECTED | {"withdraw": ETHER}},
    "another, revealed": {
        -1: REVEALED | {"attest": OK, "withdraw": 168 * ETHER},
        0: REVEALED | {"withdraw": 169 * ETHER},
    },
    "nobody audits": {-1: UNAUDITED, 0: FINAL},
}


@pytest.fixture(scope="module")
def case(request, world, alice, bob, carol):
    name = request.param
    federation = world.federation(quorum=0 if name == "nobody audits" else 2)
    rewards = {alice: 20 * ETHER, bob: 4 * ETHER}
    round = world.trained(federation, [alice, bob])
    settled = world.settle(round, rewards)
    other = world.other(round, rewards)
    if name in ("one verdict", "a quorum"):
        world.agree(round, settled.result_hash, count=1 if name == "one verdict" else 2)
    if name in ("another result", "another, revealed"):
        world.agree(round, other.result_hash)
    if name == "another, revealed":
        world.rounds.reveal(*other.opening, {"from": carol})
    proved = {"a quorum": settled, "another, revealed": other, "nobody audits": settled}.get(name)
    head = MODEL if name in ("another result", "another, revealed") else NEXT_MODEL
    return Situation(world, federation, 1, alice, carol, settled, other, proved, head), CASES[name]


@pytest.mark.parametrize("moment", [-1, 0])
@pytest.mark.parametrize("case", CASES, indirect=True)
def test_refuses(world, case, moment):
    situation, rows = case
    assert_refused(situation, rows[moment], world.view(situation.round)["challengeEnds"] + moment)


@pytest.mark.parametrize(("case", "moment", "call"), takings(CASES), indirect=["case"])
def test_takes(world, case, moment, call):
    situation, rows = case
    assert_taken(situation, call, rows[moment], world.view(situation.round)["challengeEnds"] + moment)
