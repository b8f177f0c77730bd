"""Merkle trees equal to OpenZeppelin's, so that ``MerkleProof.verify`` in the contract takes our proofs.

Source: @openzeppelin/merkle-tree, StandardMerkleTree: a leaf is keccak256(keccak256(abi.encode(...))), so no inner node
can pass for one; leaves are sorted; a node is keccak256 of its two children, the smaller first. Nodes lie in one
array, root at 0, the children of i at 2i + 1 and 2i + 2, leaves at the end in descending order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eth_abi.abi import encode
from eth_abi.exceptions import EncodingError
from eth_utils.crypto import keccak

from protocol.errors import InvalidInput
from protocol.types import ZERO_HASH, Address, Hash, RoundId

# A proof is as long as the tree is high; 2^24 updates need 24, and 64 is more than anybody can build.
MAX_PROOF = 64


def leaf(round: RoundId, client: Address, amount: int) -> Hash:
    """Return the leaf of one reward, ``amount`` in base units of the token: abi.encode(bytes32, address, uint256)."""
    return _leaf(["bytes32", "address", "uint256"], [round, client, amount])


def admission_leaf(client: Address) -> Hash:
    """Return the leaf of one admitted client: abi.encode(address)."""
    return _leaf(["address"], [client])


def verify(root: Hash, leaf: Hash, proof: Sequence[Hash]) -> bool:
    """Return whether ``proof``, from the leaf upwards, leads from ``leaf`` to ``root``."""
    if len(proof) > MAX_PROOF:
        return False
    node = leaf
    for sibling in proof:
        node = _pair(node, sibling)
    return node == root


class MerkleTree:
    """A tree over ``leaves``, given in any order; ``root`` is ``ZERO_HASH`` where there are none."""

    def __init__(self, leaves: Iterable[Hash]) -> None:
        ordered = sorted(leaves, reverse=True)
        count = len(ordered)
        nodes = [ZERO_HASH] * max(count - 1, 0) + ordered
        for position in range(count - 2, -1, -1):
            nodes[position] = _pair(nodes[2 * position + 1], nodes[2 * position + 2])
        self.leaves: tuple[Hash, ...] = tuple(reversed(ordered))
        self.root: Hash = nodes[0] if nodes else ZERO_HASH
        self._nodes = nodes
        self._positions = {node: count - 1 + offset for offset, node in enumerate(ordered)}

    def __contains__(self, leaf: object) -> bool:
        """Whether the tree has ``leaf``."""
        return leaf in self._positions

    def proof(self, leaf: Hash) -> tuple[Hash, ...]:
        """Return the siblings on the way from ``leaf`` up to the root; none in a tree of one leaf.

        Raises:
            InvalidInput: The tree has no such leaf.
        """
        position = self._positions.get(leaf)
        if position is None:
            raise InvalidInput(
                f"The tree has no leaf 0x{leaf.hex()}.", "Round, client or amount differ.", "Read the report again."
            )
        siblings = []
        while position > 0:
            siblings.append(self._nodes[position + 1 if position % 2 else position - 1])
            position = (position - 1) // 2
        return tuple(siblings)


def _leaf(types: list[str], values: list[object]) -> Hash:
    try:
        encoded = encode(types, values)
    except EncodingError as error:
        raise InvalidInput("A leaf cannot be encoded.", f"{error}.", "Check its address and amount.") from None
    return Hash(bytes(keccak(keccak(encoded))))


def _pair(left: Hash, right: Hash) -> Hash:
    return Hash(bytes(keccak(min(left, right) + max(left, right))))
