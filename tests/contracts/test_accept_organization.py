from support import ETHER, MODEL, ZERO_ADDRESS, ZERO_HASH, assert_events, refused, round_terms


def test_refuses_an_unknown_federation(rounds, mallory):
    with refused("UnknownFederation", ZERO_HASH):
        rounds.acceptOrganization(ZERO_HASH, {"from": mallory})


def test_refuses_whom_nobody_offered(rounds, federation, acme, alice, mallory):
    with refused("NotOffered", federation, mallory, ZERO_ADDRESS):
        rounds.acceptOrganization(federation, {"from": mallory})
    rounds.offerOrganization(federation, alice, {"from": acme})
    with refused("NotOffered", federation, mallory, alice):
        rounds.acceptOrganization(federation, {"from": mallory})


def test_the_role_passes_in_two_steps(rounds, federation, acme, mallory):
    transaction = rounds.offerOrganization(federation, mallory, {"from": acme})
    assert_events(
        transaction, ("OrganizationOffered", {"federation": federation, "organization": acme, "offeredTo": mallory})
    )
    view = rounds.getFederation(federation)
    assert (view["organization"], view["offeredTo"]) == (acme, mallory)

    transaction = rounds.acceptOrganization(federation, {"from": mallory})
    assert_events(
        transaction, ("OrganizationChanged", {"federation": federation, "previous": acme, "organization": mallory})
    )
    view = rounds.getFederation(federation)
    assert (view["organization"], view["offeredTo"]) == (mallory, ZERO_ADDRESS)
    with refused("NotOrganization", federation, acme, mallory):
        rounds.launchRound(federation, MODEL, round_terms(), {"from": acme})
    with refused("NotOffered", federation, mallory, ZERO_ADDRESS):
        rounds.acceptOrganization(federation, {"from": mallory})


def test_an_organization_may_accept_its_own_offer(rounds, federation, acme):
    rounds.offerOrganization(federation, acme, {"from": acme})
    transaction = rounds.acceptOrganization(federation, {"from": acme})
    assert_events(
        transaction, ("OrganizationChanged", {"federation": federation, "previous": acme, "organization": acme})
    )


def test_money_of_an_earlier_round_returns_to_the_new_organization(world, rounds, token, federation, acme, mallory):
    round = world.launch(federation)
    world.close(round)
    rounds.offerOrganization(federation, mallory, {"from": acme})
    rounds.acceptOrganization(federation, {"from": mallory})
    before = token.balanceOf(mallory)
    rounds.withdraw(round, {"from": acme})
    assert token.balanceOf(mallory) - before == world.view(round)["escrowed"] > ETHER
