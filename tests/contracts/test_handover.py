"""offerOrganization, acceptOrganization."""

from support import ETHER, MODEL, ZERO_ADDRESS, ZERO_HASH, assert_events, refused, round_terms


def test_offer_refuses_an_unknown_federation(rounds, acme, alice):
    with refused("UnknownFederation", ZERO_HASH):
        rounds.offerOrganization(ZERO_HASH, alice, {"from": acme})


def test_offer_refuses_anybody_but_the_organization(rounds, federation, acme, mallory):
    with refused("NotOrganization", federation, mallory, acme):
        rounds.offerOrganization(federation, mallory, {"from": mallory})


def test_accept_refuses_an_unknown_federation(rounds, mallory):
    with refused("UnknownFederation", ZERO_HASH):
        rounds.acceptOrganization(ZERO_HASH, {"from": mallory})


def test_accept_refuses_whom_nobody_offered(rounds, federation, acme, alice, mallory):
    with refused("NotOffered", federation, mallory, ZERO_ADDRESS):
        rounds.acceptOrganization(federation, {"from": mallory})
    rounds.offerOrganization(federation, alice, {"from": acme})
    with refused("NotOffered", federation, mallory, alice):
        rounds.acceptOrganization(federation, {"from": mallory})


def test_an_offer_can_be_taken_back(rounds, federation, acme, alice):
    rounds.offerOrganization(federation, alice, {"from": acme})
    transaction = rounds.offerOrganization(federation, ZERO_ADDRESS, {"from": acme})
    assert_events(
        transaction,
        ("OrganizationOffered", {"federation": federation, "organization": acme, "offeredTo": ZERO_ADDRESS}),
    )
    with refused("NotOffered", federation, alice, ZERO_ADDRESS):
        rounds.acceptOrganization(federation, {"from": alice})


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


def test_money_of_an_earlier_round_returns_to_the_new_organization(world, rounds, token, federation, acme, mallory):
    round = world.launch(federation)
    world.close(round)
    rounds.offerOrganization(federation, mallory, {"from": acme})
    rounds.acceptOrganization(federation, {"from": mallory})
    before = token.balanceOf(mallory)
    rounds.withdraw(round, {"from": acme})
    assert token.balanceOf(mallory) - before == world.view(round)["escrowed"] > ETHER
