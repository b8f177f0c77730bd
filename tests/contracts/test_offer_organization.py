from support import MODEL, ZERO_ADDRESS, ZERO_HASH, assert_events, refused, round_terms


def test_refuses_an_unknown_federation(rounds, acme, alice):
    with refused("UnknownFederation", ZERO_HASH):
        rounds.offerOrganization(ZERO_HASH, alice, {"from": acme})


def test_refuses_anybody_but_the_organization(rounds, federation, acme, mallory):
    with refused("NotOrganization", federation, mallory, acme):
        rounds.offerOrganization(federation, mallory, {"from": mallory})


def test_refuses_whom_it_is_offered_to_until_that_account_accepts(rounds, federation, acme, alice, mallory):
    rounds.offerOrganization(federation, alice, {"from": acme})
    with refused("NotOrganization", federation, alice, acme):
        rounds.offerOrganization(federation, mallory, {"from": alice})


def test_offers_the_role_and_keeps_it_until_it_is_accepted(rounds, federation, acme, alice):
    transaction = rounds.offerOrganization(federation, alice, {"from": acme})
    assert_events(
        transaction, ("OrganizationOffered", {"federation": federation, "organization": acme, "offeredTo": alice})
    )
    view = rounds.getFederation(federation)
    assert (view["organization"], view["offeredTo"]) == (acme, alice)
    rounds.launchRound(federation, MODEL, round_terms(), {"from": acme})


def test_a_second_offer_replaces_the_first(rounds, federation, acme, alice, bob):
    rounds.offerOrganization(federation, alice, {"from": acme})
    rounds.offerOrganization(federation, bob, {"from": acme})
    with refused("NotOffered", federation, alice, bob):
        rounds.acceptOrganization(federation, {"from": alice})


def test_an_offer_can_be_taken_back(rounds, federation, acme, alice):
    rounds.offerOrganization(federation, alice, {"from": acme})
    transaction = rounds.offerOrganization(federation, ZERO_ADDRESS, {"from": acme})
    assert_events(
        transaction,
        ("OrganizationOffered", {"federation": federation, "organization": acme, "offeredTo": ZERO_ADDRESS}),
    )
    with refused("NotOffered", federation, alice, ZERO_ADDRESS):
        rounds.acceptOrganization(federation, {"from": alice})
