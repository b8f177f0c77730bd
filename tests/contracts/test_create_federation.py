import brownie
import pytest
from eth_utils.crypto import keccak
from support import MODEL, SALT, TASK, ZERO_ADDRESS, ZERO_HASH, assert_events, plain, refused

from protocol import hashing


def addresses(count):
    """Ascending addresses, from 1."""
    return [f"0x{number:040x}" for number in range(1, count + 1)]


def test_refuses_a_second_one_of_the_same_salt(world, rounds, acme):
    federation = plain(rounds.createFederation(SALT, world.terms(), {"from": acme}).return_value)
    with refused("FederationExists", federation):
        rounds.createFederation(SALT, world.terms(quorum=0), {"from": acme})


def test_refuses_to_forfeit_to_nobody(world, rounds, acme):
    with refused("ZeroForfeitTo"):
        rounds.createFederation(SALT, world.terms(forfeit_to=ZERO_ADDRESS), {"from": acme})


def test_refuses_to_start_from_no_model(world, rounds, acme):
    with refused("ZeroModel"):
        rounds.createFederation(SALT, world.terms(model=ZERO_HASH), {"from": acme})


@pytest.mark.parametrize(
    ("quorum", "count"),
    [(0, 1), (1, 0), (1, 2), (2, 4), (4, 3), (16, 32), (17, 33), (33, 33), (255, 32)],
)
def test_refuses_a_quorum_that_is_no_majority_or_more_than_all(world, rounds, acme, quorum, count):
    terms = world.terms(quorum=quorum, auditors=addresses(count))
    with refused("InvalidQuorum", quorum, count):
        rounds.createFederation(SALT, terms, {"from": acme})


@pytest.mark.parametrize(
    ("named", "position"),
    [([ZERO_ADDRESS], 0), (addresses(2)[::-1], 1), ([*addresses(2), addresses(2)[1]], 2)],
)
def test_refuses_auditors_out_of_order_or_named_twice(world, rounds, acme, named, position):
    terms = world.terms(quorum=len(named), auditors=named)
    with refused("AuditorsNotAscending", position, named[position]):
        rounds.createFederation(SALT, terms, {"from": acme})


@pytest.mark.parametrize(("quorum", "count"), [(0, 0), (1, 1), (2, 2), (2, 3), (3, 5), (17, 32), (32, 32)])
def test_takes_any_majority(world, rounds, acme, quorum, count):
    terms = world.terms(quorum=quorum, auditors=addresses(count))
    federation = rounds.createFederation(SALT, terms, {"from": acme}).return_value
    view = rounds.getFederation(federation)
    assert (view["quorum"], view["auditors"]) == (quorum, count)
    assert all(rounds.isAuditor(federation, auditor) for auditor in addresses(count))
    assert not rounds.isAuditor(federation, acme)


def test_creates_it_for_its_caller(world, rounds, token, acme, auditors, treasury):
    root = keccak(text="root")
    terms = world.terms(admission_root=root)
    expected = hashing.federation_id(brownie.web3.eth.chain_id, rounds.address, acme.address, SALT)
    assert plain(rounds.federationId(acme, SALT)) == expected

    transaction = rounds.createFederation(SALT, terms, {"from": acme})

    assert plain(transaction.return_value) == expected
    assert_events(
        transaction,
        ("FederationCreated", {"federation": expected, "organization": acme, "salt": SALT, "terms": terms}),
    )
    assert plain(rounds.getFederation(expected)) == plain(
        (acme, ZERO_ADDRESS, token, TASK, MODEL, root, treasury, 2, 3, 0)
    )


def test_the_same_salt_is_another_federation_for_another_caller(world, rounds, acme, mallory):
    first = rounds.createFederation(SALT, world.terms(), {"from": acme}).return_value
    second = rounds.createFederation(SALT, world.terms(), {"from": mallory}).return_value
    assert first != second
