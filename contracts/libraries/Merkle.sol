// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Proofs that a tree holds a leaf
/// @notice The trees are OpenZeppelin's: leaves hashed twice, pairs sorted. So is the answer, on every input (fuzzed
/// against its MerkleProof); this loop costs less than half the gas, which is most of what a claim computes.
library Merkle {
    /// @dev Whether `proof`, siblings from the leaf upwards, leads from `leaf` to `root`.
    function verify(bytes32[] calldata proof, bytes32 root, bytes32 leaf) internal pure returns (bool) {
        return verify(proof, 0, proof.length, root, leaf);
    }

    /// @dev The same for the proof that is the siblings from number `first` to before number `end`, all of which there
    /// must be.
    function verify(bytes32[] calldata siblings, uint256 first, uint256 end, bytes32 root, bytes32 leaf)
        internal
        pure
        returns (bool valid)
    {
        assembly ("memory-safe") {
            let node := leaf
            let at := add(siblings.offset, shl(5, first))
            let past := add(siblings.offset, shl(5, end))
            if lt(at, past) {
                for {} 1 {} {
                    let sibling := calldataload(at)
                    let place := shl(5, gt(node, sibling)) // the smaller of the two goes first
                    mstore(place, node)
                    mstore(xor(place, 0x20), sibling)
                    node := keccak256(0x00, 0x40)
                    at := add(at, 0x20)
                    if eq(at, past) { break } // here and not above: one jump less a level
                }
            }
            valid := eq(node, root)
        }
    }
}
