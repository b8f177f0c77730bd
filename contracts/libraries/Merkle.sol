// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Proofs that a tree holds a leaf
/// @notice The trees are OpenZeppelin's: leaves hashed twice, pairs sorted. So is the answer, on every input (fuzzed
/// against its MerkleProof); this loop costs less than half the gas, which is most of what a claim computes.
library Merkle {
    /// @dev Whether `proof`, siblings from the leaf upwards, leads from `leaf` to `root`.
    function verify(bytes32[] calldata proof, bytes32 root, bytes32 leaf) internal pure returns (bool valid) {
        assembly ("memory-safe") {
            let node := leaf
            let end := add(proof.offset, shl(5, proof.length))
            for { let at := proof.offset } lt(at, end) { at := add(at, 0x20) } {
                let sibling := calldataload(at)
                let place := shl(5, gt(node, sibling)) // the smaller of the two goes first
                mstore(place, node)
                mstore(xor(place, 0x20), sibling)
                node := keccak256(0x00, 0x40)
            }
            valid := eq(node, root)
        }
    }
}
