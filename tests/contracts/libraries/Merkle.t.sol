// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

import {Merkle} from "../../../contracts/libraries/Merkle.sol";
import {Tree} from "../Tree.sol";
import {within} from "../Vm.sol";

/// @dev Our loop answers as OpenZeppelin's MerkleProof does, on every input.
contract MerkleTest {
    function verify(bytes32[] calldata proof, bytes32 root, bytes32 leaf) external pure returns (bool) {
        return Merkle.verify(proof, root, leaf);
    }

    function verify(bytes32[] calldata siblings, uint256 first, uint256 end, bytes32 root, bytes32 leaf)
        external
        pure
        returns (bool)
    {
        return Merkle.verify(siblings, first, end, root, leaf);
    }

    function theirs(bytes32[] calldata proof, bytes32 root, bytes32 leaf) external pure returns (bool) {
        return MerkleProof.verifyCalldata(proof, root, leaf);
    }

    function processed(bytes32[] calldata proof, bytes32 leaf) external pure returns (bytes32) {
        return MerkleProof.processProofCalldata(proof, leaf);
    }

    function testFuzz_AnswersAsOpenZeppelin(bytes32[] calldata proof, bytes32 root, bytes32 leaf) external view {
        assert(this.verify(proof, root, leaf) == this.theirs(proof, root, leaf));
        assert(this.verify(proof, this.processed(proof, leaf), leaf));
    }

    /// @dev A proof among the siblings of other proofs is that proof.
    function testFuzz_ASliceIsAProof(
        bytes32[] calldata siblings,
        uint256 first,
        uint256 end,
        bytes32 root,
        bytes32 leaf
    ) external view {
        first = within(first, 0, siblings.length);
        end = within(end, first, siblings.length);
        bytes32[] calldata proof = siblings[first:end];
        assert(this.verify(siblings, first, end, root, leaf) == this.theirs(proof, root, leaf));
        assert(this.verify(siblings, first, end, this.processed(proof, leaf), leaf));
    }

    function testFuzz_EveryLeafHasAProofAndNothingElse(bytes32 seed, uint256 size, uint256 chosen, bytes32 stranger)
        external
        view
    {
        bytes32[] memory leaves = new bytes32[](within(size, 1, 40));
        for (uint256 i; i < leaves.length; ++i) {
            leaves[i] = keccak256(abi.encode(seed, i));
        }
        uint256 position = within(chosen, 0, leaves.length - 1);
        bytes32 root = Tree.root(leaves);
        bytes32[] memory proof = Tree.proof(leaves, position);
        assert(this.verify(proof, root, leaves[position]));
        assert(stranger == leaves[position] || !this.verify(proof, root, stranger));
    }
}
