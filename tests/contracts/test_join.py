import pytest
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


def test_refuses_an_unknown_federation(rounds, alice):
    with refused("UnknownFederation", ZERO_HASH):
        rounds.join(ZERO_HASH, alice, [], {"from": alice})


def test_refuses_where_there_is_nothing_to_join(rounds, federation, alice):
    with refused("AdmissionIsOpen", federation):
        rounds.join(federation, alice, [], {"from": alice})


def test_refuses_the_proof_of_another(rounds, gated, tree, alice, mallory):
    with refused("InvalidProof", tree.root, merkle.admission_leaf(mallory.address)):
        rounds.join(gated, mallory, proof_of(tree, alice), {"from": mallory})
    with refused("InvalidProof", tree.root, merkle.admission_leaf(alice.address)):
        rounds.join(gated, alice, proof_of(tree, alice)[:-1], {"from": alice})


def test_refuses_a_second_time(rounds, gated, tree, alice):
    rounds.join(gated, alice, proof_of(tree, alice), {"from": alice})
    with refused("AlreadyJoined", gated, tree.root, alice):
        rounds.join(gated, alice, proof_of(tree, alice), {"from": alice})


def test_anybody_joins_a_client(rounds, gated, tree, alice, mallory):
    assert not rounds.isJoined(gated, tree.root, alice)
    transaction = rounds.join(gated, alice, proof_of(tree, alice), {"from": mallory})
    assert_events(transaction, ("Joined", {"federation": gated, "admissionRoot": tree.root, "client": alice}))
    assert rounds.isJoined(gated, tree.root, alice)
    assert not rounds.isJoined(gated, tree.root, mallory)
    assert not rounds.isJoined(gated, ZERO_HASH, alice)


def test_a_join_counts_in_its_own_federation_only(world, rounds, gated, tree, alice):
    other = world.federation(admission_root=tree.root)
    rounds.join(gated, alice, proof_of(tree, alice), {"from": alice})
    assert not rounds.isJoined(other, tree.root, alice)
    round = world.launch(other)
    with refused("NotJoined", other, tree.root, alice):
        world.submit(round, alice)


def test_joining_comes_before_the_launch_or_after_it(world, rounds, gated, tree, alice, bob):
    """What counts is that the client has joined when its update comes."""
    rounds.join(gated, alice, proof_of(tree, alice), {"from": alice})
    round = world.launch(gated)
    world.submit(round, alice)
    with refused("NotJoined", gated, tree.root, bob):
        world.submit(round, bob)
    rounds.join(gated, bob, proof_of(tree, bob), {"from": alice})
    world.submit(round, bob)
    assert world.view(round)["updates"] == 2


def test_a_tree_of_one_is_its_leaf(world, rounds, alice):
    leaf = merkle.admission_leaf(alice.address)
    federation = world.federation(admission_root=leaf)
    rounds.join(federation, alice, [], {"from": alice})
    assert plain(rounds.isJoined(federation, leaf, alice)) is True
