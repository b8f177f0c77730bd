"""What the views say of what does not exist, and of each phase by its seconds."""

from support import DAY, ETHER, ZERO_ADDRESS, ZERO_HASH, PayBasis, Phase, mine_at, plain


def test_unknown_things_are_nothing(rounds, alice):
    assert rounds.getRound(ZERO_HASH)["phase"] == Phase.NONE
    assert set(plain(rounds.getRound(ZERO_HASH))) == {ZERO_HASH, 0}
    assert rounds.getFederation(ZERO_HASH)["organization"] == ZERO_ADDRESS
    assert plain(rounds.getUpdate(ZERO_HASH, alice)) == (0, False, False)
    assert plain(rounds.hasAttested(ZERO_HASH, alice)) == (False, False)
    assert rounds.votes(ZERO_HASH, ZERO_HASH) == 0
    assert not rounds.isAuditor(ZERO_HASH, alice)
    assert not rounds.isJoined(ZERO_HASH, ZERO_HASH, alice)


def test_time_alone_moves_phases(world, federation, alice):
    """Each phase to its last second; half-open windows."""
    round = world.launch(federation)
    start = world.view(round)["launchedAt"]
    world.submit(round, alice)
    for second, phase in ((999, Phase.TRAINING), (1000, Phase.SETTLEMENT), (1499, Phase.SETTLEMENT)):
        mine_at(start + second)
        assert world.view(round)["phase"] == phase
    mine_at(start + 1500)
    assert (world.view(round)["phase"], world.view(round)["basis"]) == (Phase.ABANDONED, PayBasis.TIME)
    mine_at(start + 1000 * DAY)
    assert world.view(round)["phase"] == Phase.ABANDONED


def test_a_round_without_updates_is_void_from_the_end_of_training(world, federation):
    round = world.launch(federation)
    end = world.view(round)["trainingEnds"]
    mine_at(end - 1)
    assert (world.view(round)["phase"], world.view(round)["basis"]) == (Phase.TRAINING, PayBasis.UNDECIDED)
    mine_at(end)
    assert (world.view(round)["phase"], world.view(round)["basis"]) == (Phase.VOID, PayBasis.NOTHING)


def test_the_challenge_ends_by_its_second(world, federation, alice):
    round = world.trained(federation, [alice])
    world.settle(round, {alice: ETHER})
    end = world.view(round)["challengeEnds"]
    mine_at(end - 1)
    assert (world.view(round)["phase"], world.view(round)["basis"]) == (Phase.CHALLENGE, PayBasis.UNDECIDED)
    mine_at(end)
    assert (world.view(round)["phase"], world.view(round)["basis"]) == (Phase.UNCONFIRMED, PayBasis.TIME)


def test_the_domain_is_readable(rounds):
    """EIP-5267: wallets and explorers ask for it."""
    _, name, version, _, contract, _, _ = rounds.eip712Domain()
    assert (name, version, contract) == ("Rondo TrainingRounds", "1", rounds.address)
