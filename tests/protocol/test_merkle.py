"""Merkle trees against OpenZeppelin's own package (scripts/merkle_vectors.mjs)."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import InvalidInput
from protocol.merkle import MAX_PROOF, MerkleTree, admission_leaf, leaf, verify
from protocol.rewards import rewards_tree
from protocol.types import ZERO_HASH, Address, Hash, RoundId, address, bytes32

ROOT = Path(__file__).parents[2]
VECTORS_FILE = ROOT / "tests" / "vectors" / "merkle.json"
VECTORS = json.loads(VECTORS_FILE.read_text())
ROUND = RoundId(bytes32(VECTORS["round"]))
ALICE = address("0x" + "a1" * 20)

hashes = st.binary(min_size=32, max_size=32).map(Hash)
trees = st.lists(hashes, max_size=40, unique=True)


def check(tree: MerkleTree, expected: dict[str, Any], found: list[Hash]) -> None:
    """Leaves, root and every proof are the package's."""
    assert tree.root == bytes32(expected["root"])
    assert list(tree.leaves) == sorted(found)
    for ours, theirs in zip(found, expected["leaves"], strict=True):
        assert ours == bytes32(theirs["leaf"])
        proof = [Hash(bytes32(sibling)) for sibling in theirs["proof"]]
        assert list(tree.proof(ours)) == proof
        assert verify(tree.root, ours, proof)


def test_an_empty_tree_has_root_zero_and_no_proof() -> None:
    assert rewards_tree(ROUND, []).root == ZERO_HASH
    assert rewards_tree(ROUND, [(ALICE, 0)]).root == ZERO_HASH
    with pytest.raises(InvalidInput):
        MerkleTree([]).proof(leaf(ROUND, ALICE, 1))


def test_a_foreign_leaf_has_no_proof() -> None:
    tree = rewards_tree(ROUND, [(ALICE, 5)])
    with pytest.raises(InvalidInput):
        tree.proof(leaf(ROUND, ALICE, 6))


@pytest.mark.parametrize("amount", [-1, 1 << 256])
def test_a_leaf_refuses_amounts_that_are_no_uint256(amount: int) -> None:
    with pytest.raises(InvalidInput):
        leaf(ROUND, ALICE, amount)


def test_a_leaf_refuses_what_is_no_address() -> None:
    with pytest.raises(InvalidInput):
        admission_leaf(Address("alice"))


@pytest.mark.parametrize("expected", VECTORS["rewards"], ids=lambda tree: str(tree["size"]))
def test_rewards_equal_openzeppelins(expected: dict[str, Any]) -> None:
    rewards = [(address(entry["client"]), int(entry["amount"])) for entry in expected["leaves"]]
    check(rewards_tree(ROUND, rewards), expected, [leaf(ROUND, client, amount) for client, amount in rewards])
    assert rewards_tree(ROUND, [*reversed(rewards), (ALICE, 0)]).root == bytes32(expected["root"])


@pytest.mark.parametrize("expected", VECTORS["admission"], ids=lambda tree: str(tree["size"]))
def test_admission_equals_openzeppelins(expected: dict[str, Any]) -> None:
    leaves = [admission_leaf(address(entry["client"])) for entry in expected["leaves"]]
    check(MerkleTree(leaves), expected, leaves)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node and the npm packages")
def test_the_vectors_are_fresh() -> None:
    if not (ROOT / "node_modules" / "@openzeppelin" / "merkle-tree").exists():
        pytest.skip("needs the npm packages: npm ci")
    script = ["node", "scripts/merkle_vectors.mjs"]
    made = subprocess.run(script, cwd=ROOT, capture_output=True, check=True).stdout
    assert made == VECTORS_FILE.read_bytes()


@given(trees)
def test_every_leaf_is_proven_and_order_does_not_matter(leaves: list[Hash]) -> None:
    tree = MerkleTree(leaves)
    assert tree.root == MerkleTree(reversed(leaves)).root
    for item in leaves:
        assert verify(tree.root, item, tree.proof(item))


@given(trees.filter(bool), hashes, st.data())
def test_nothing_else_is_proven(leaves: list[Hash], other: Hash, data: st.DataObject) -> None:
    tree = MerkleTree(leaves)
    chosen = data.draw(st.sampled_from(leaves))
    proof = tree.proof(chosen)
    assert verify(tree.root, other, proof) == (other == chosen)
    assert not verify(tree.root, chosen, [*proof, other])
    if proof:
        assert not verify(tree.root, chosen, proof[:-1])


def test_a_proof_without_end_is_not_followed() -> None:
    assert not verify(ZERO_HASH, ZERO_HASH, [ZERO_HASH] * (MAX_PROOF + 1))
