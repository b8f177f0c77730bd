import pytest
from eth_utils.crypto import keccak
from support import ZERO_HASH, assert_events, plain, refused

from protocol import merkle


@pytest.fixture(scope="module")
def tree(alice, bob, carol):
    """Alice, bob and carol are admitted, mallory is not."""
    return merkle.MerkleTree([merkle.admission_leaf(client.address) for client in (alice, bob, carol)])


@pytest.fixture(scope="module")
def gated(world, tree):
    return world.federation(admission_root=tree.root)


def proof_of(tree, client):
    return list(tree.proof(merkle.admission_leaf(client.address)))


def test_refuses_an_unknown_federation(rounds, acme):
    with refused("UnknownFederation", ZERO_HASH):
        rounds.setAdmission(ZERO_HASH, keccak(text="root"), {"from": acme})


def test_refuses_anybody_but_the_organization(rounds, gated, acme, mallory):
    with refused("NotOrganization", gated, mallory, acme):
        rounds.setAdmission(gated, ZERO_HASH, {"from": mallory})


def test_a_new_root_counts_from_the_next_launch(world, rounds, gated, tree, acme, alice, bob):
    rounds.join(gated, alice, proof_of(tree, alice), {"from": alice})
    round = world.launch(gated)
    only_bob = merkle.admission_leaf(bob.address)
    transaction = rounds.setAdmission(gated, only_bob, {"from": acme})
    assert_events(transaction, ("AdmissionChanged", {"federation": gated, "admissionRoot": only_bob}))
    assert world.view(round)["admissionRoot"] == tree.root
    world.submit(round, alice)
    with refused("NotJoined", gated, tree.root, bob):
        world.submit(round, bob)


def test_an_old_root_comes_back_with_those_who_joined_it(world, rounds, gated, tree, acme, alice):
    rounds.join(gated, alice, proof_of(tree, alice), {"from": alice})
    rounds.setAdmission(gated, keccak(text="another root"), {"from": acme})
    rounds.setAdmission(gated, tree.root, {"from": acme})
    round = world.launch(gated)
    world.submit(round, alice)
    assert world.view(round)["updates"] == 1


def test_admission_can_be_opened(world, rounds, gated, acme, mallory):
    rounds.setAdmission(gated, ZERO_HASH, {"from": acme})
    round = world.launch(gated)
    world.submit(round, mallory)
    assert world.view(round)["admissionRoot"] == ZERO_HASH


def test_the_same_root_again_changes_nothing(world, rounds, gated, tree, acme, alice):
    rounds.join(gated, alice, proof_of(tree, alice), {"from": alice})
    transaction = rounds.setAdmission(gated, tree.root, {"from": acme})
    assert_events(transaction, ("AdmissionChanged", {"federation": gated, "admissionRoot": tree.root}))
    assert rounds.isJoined(gated, tree.root, alice)
    assert plain(rounds.getFederation(gated)["admissionRoot"]) == tree.root
