// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FederationId, RoundId, RoundTerms} from "../interfaces/ITrainingRounds.sol";

/// @title Every hash of the protocol, in one place
/// @notice All by abi.encode: each field takes whole words, so no two values of one meaning share an encoding; where two
/// meanings are as long, one has a hash where the other has a number or an address. Whatever could be replayed on another
/// chain or contract names both; protocol/hashing.py is the same in Python.
library Hashing {
    /// @dev EIP-712 type of a signed update; `terms` is the round's termsHash, so a client signs for what it is paid.
    bytes32 internal constant UPDATE_TYPEHASH =
        keccak256("Update(bytes32 federation,bytes32 round,bytes32 terms,address client,bytes32 digest,uint40 millis)");

    function federation(address organization, bytes32 salt) internal view returns (FederationId) {
        return FederationId.wrap(keccak256(abi.encode(block.chainid, address(this), organization, salt)));
    }

    function round(FederationId federation_, uint64 index) internal pure returns (RoundId id) {
        // keccak256(abi.encode(federation_, index)), in scratch space
        assembly ("memory-safe") {
            mstore(0x00, federation_)
            mstore(0x20, and(index, 0xffffffffffffffff))
            id := keccak256(0x00, 0x40)
        }
    }

    function terms(RoundTerms calldata terms_) internal pure returns (bytes32) {
        return keccak256(abi.encode(terms_));
    }

    /// @dev H_0 of a round's rolling hash.
    function seed(RoundId round_, bytes32 base, bytes32 termsHash) internal view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), round_, base, termsHash));
    }

    /// @dev H_i of a round's rolling hash.
    function next(bytes32 previous, address client, bytes32 digest, uint40 millis)
        internal
        pure
        returns (bytes32 hash)
    {
        // keccak256(abi.encode(previous, client, digest, millis)), in memory that is free anyway
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, previous)
            mstore(add(free, 0x20), shr(96, shl(96, client)))
            mstore(add(free, 0x40), digest)
            mstore(add(free, 0x60), and(millis, 0xffffffffff))
            hash := keccak256(free, 0x80)
        }
    }

    /// @dev Everything that pays; the report is absent: it is said, not attested.
    function result(
        RoundId round_,
        bytes32 base,
        bytes32 updatesHash,
        bytes32 model,
        bytes32 derivedHash,
        bytes32 rewardsRoot,
        uint96 rewardsTotal
    ) internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                block.chainid, address(this), round_, base, updatesHash, model, derivedHash, rewardsRoot, rewardsTotal
            )
        );
    }

    /// @dev Hashed twice, as OpenZeppelin's trees are: no inner node can pass for a leaf.
    function rewardLeaf(RoundId round_, address client, uint256 amount) internal pure returns (bytes32 leaf) {
        // keccak256(abi.encode(keccak256(abi.encode(round_, client, amount)))), in memory that is free anyway
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, round_)
            mstore(add(free, 0x20), shr(96, shl(96, client)))
            mstore(add(free, 0x40), amount)
            mstore(0x00, keccak256(free, 0x60))
            leaf := keccak256(0x00, 0x20)
        }
    }

    /// @dev Hashed twice, as OpenZeppelin's trees are.
    function admissionLeaf(address client) internal pure returns (bytes32) {
        return keccak256(abi.encode(keccak256(abi.encode(client))));
    }

    /// @dev EIP-712 struct hash of a signed update.
    function update(
        FederationId federation_,
        RoundId round_,
        bytes32 termsHash,
        address client,
        bytes32 digest,
        uint40 millis
    ) internal pure returns (bytes32) {
        return keccak256(abi.encode(UPDATE_TYPEHASH, federation_, round_, termsHash, client, digest, millis));
    }
}
