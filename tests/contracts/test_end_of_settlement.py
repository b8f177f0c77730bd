"""t = settlementEnds - 1 and t = settlementEnds: every call, in a round that nobody settled."""

import pytest
from actions import OK, Situation, assert_refused, assert_taken, table, takings
from support import ETHER, PayBasis, Phase

ROWS = {
    -1: table(Phase.SETTLEMENT, PayBasis.UNDECIDED, settle=OK),
    # Escrow of 188, less 20 for the time of each of two clients, less the lost bond of 5.
    0: table(Phase.ABANDONED, PayBasis.TIME, withdraw=143 * ETHER, forfeit=OK),
}


@pytest.fixture(scope="module")
def situation(world, alice, bob, carol):
    federation = world.federation()
    round = world.trained(federation, [alice, bob])
    return Situation(world, federation, 1, alice, carol, world.result(round, {alice: ETHER}))


@pytest.mark.parametrize("moment", ROWS)
def test_refuses(world, situation, moment):
    assert_refused(situation, ROWS[moment], world.view(situation.round)["settlementEnds"] + moment)


@pytest.mark.parametrize(("_", "moment", "call"), takings({"": ROWS}))
def test_takes(world, situation, _, moment, call):
    assert_taken(situation, call, ROWS[moment], world.view(situation.round)["settlementEnds"] + moment)
