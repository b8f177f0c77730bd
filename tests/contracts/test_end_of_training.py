"""t = trainingEnds - 1 and t = trainingEnds: every call, in a round that has an update and in one that has none."""

import pytest
from actions import OK, Situation, assert_refused, assert_taken, table, takings
from support import ETHER, PayBasis, Phase

OPEN = table(Phase.TRAINING, PayBasis.UNDECIDED, submits=OK)
CASES = {
    "an update": {-1: OPEN, 0: table(Phase.SETTLEMENT, PayBasis.UNDECIDED, settle=OK)},
    "no update": {-1: OPEN, 0: table(Phase.VOID, PayBasis.NOTHING, withdraw=188 * ETHER)},
}


@pytest.fixture(scope="module")
def case(request, world, alice, carol):
    federation = world.federation()
    round = world.launch(federation)
    if request.param == "an update":
        world.submit(round, alice)
    settled = world.result(round, {alice: ETHER})
    return Situation(world, federation, 1, alice, carol, settled), CASES[request.param]


@pytest.mark.parametrize("moment", [-1, 0])
@pytest.mark.parametrize("case", CASES, indirect=True)
def test_refuses(world, case, moment):
    situation, rows = case
    assert_refused(situation, rows[moment], world.view(situation.round)["trainingEnds"] + moment)


@pytest.mark.parametrize(("case", "moment", "call"), takings(CASES), indirect=["case"])
def test_takes(world, case, moment, call):
    situation, rows = case
    assert_taken(situation, call, rows[moment], world.view(situation.round)["trainingEnds"] + moment)
