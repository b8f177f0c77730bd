"""Every call on a round that there is not: of index 0, before its launch, far beyond it, and of no federation."""

import pytest
from actions import CALLS, OK, Of, Situation, assert_refused, assert_taken
from support import now

UNKNOWN = dict.fromkeys(CALLS, ("UnknownRound", Of.ROUND)) | {"launchRound": OK}
NO_FEDERATION = UNKNOWN | dict.fromkeys(("launchRound", "claimBatch"), ("UnknownFederation", Of.FEDERATION))


@pytest.mark.parametrize("index", [0, 1, 2, 2**32, 2**32 + 1, 2**64 - 1])
def test_in_a_federation_that_there_is(world, federation, alice, carol, index):
    assert_refused(Situation(world, federation, index, alice, carol), UNKNOWN, now() + 1)


def test_in_a_federation_that_there_is_not(world, alice, carol):
    assert_refused(Situation(world, b"\7" * 32, 1, alice, carol), NO_FEDERATION, now() + 1)


def test_launching_it_makes_it_known(world, federation, alice, carol):
    situation = Situation(world, federation, 1, alice, carol)
    assert_taken(situation, "launchRound", UNKNOWN, now() + 1)
    assert world.view(situation.round)["index"] == 1
