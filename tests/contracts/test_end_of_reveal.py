"""t = revealEnds - 1 and t = revealEnds: every call, in a rejected round that is revealed and in one that is not.

Of the escrow of 188, 12 are paid by the revealed result, 40 by time, 2 to auditors; the bond of 5 is lost.
"""

import pytest
from actions import OK, Of, Situation, assert_refused, assert_taken, table, takings
from support import ETHER, PayBasis, Phase

DONE = {"claimAttestationFee": OK, "forfeit": OK}
WAITING = table(Phase.REJECTED, PayBasis.UNDECIDED, reveal=OK, withdraw=ETHER) | DONE
REVEALED = table(Phase.REJECTED, PayBasis.RESULT, reveal=("AlreadyRevealed", Of.ROUND), withdraw=169 * ETHER) | DONE
TOO_LATE = ("RevealTooLate", Of.ROUND, Of.SECOND, Of.SECOND)  # whose deadline is this very second
MISSED = table(Phase.REJECTED, PayBasis.TIME, reveal=TOO_LATE, withdraw=141 * ETHER) | DONE
CASES = {"not revealed": {-1: WAITING, 0: MISSED}, "revealed": {-1: REVEALED, 0: REVEALED}}


@pytest.fixture(scope="module")
def case(request, world, alice, bob, carol):
    federation = world.federation()
    rewards = {alice: 20 * ETHER, bob: 4 * ETHER}
    round = world.trained(federation, [alice, bob])
    settled = world.settle(round, rewards)
    other = world.other(round, rewards)
    world.agree(round, other.result_hash)
    if request.param == "revealed":
        world.rounds.reveal(*other.opening, {"from": carol})
    return Situation(world, federation, 1, alice, carol, settled, other, proved=other), CASES[request.param]


@pytest.mark.parametrize("moment", [-1, 0])
@pytest.mark.parametrize("case", CASES, indirect=True)
def test_refuses(world, case, moment):
    situation, rows = case
    assert_refused(situation, rows[moment], world.view(situation.round)["revealEnds"] + moment)


@pytest.mark.parametrize(("case", "moment", "call"), takings(CASES), indirect=["case"])
def test_takes(world, case, moment, call):
    situation, rows = case
    assert_taken(situation, call, rows[moment], world.view(situation.round)["revealEnds"] + moment)
