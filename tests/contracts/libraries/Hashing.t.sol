// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {
    FederationId,
    PayBasis,
    RoundClaim,
    RoundId,
    RoundPayment
} from "../../../contracts/interfaces/ITrainingRounds.sol";
import {Hashing} from "../../../contracts/libraries/Hashing.sol";
import {Words} from "../../../contracts/libraries/Words.sol";

/// @dev The hashes that are made in scratch space are those of abi.encode, and packed words give back what they hold.
contract HashingTest {
    using Words for RoundClaim;

    function testFuzz_RoundIsByAbiEncode(FederationId federation, uint64 index) external pure {
        assert(RoundId.unwrap(Hashing.round(federation, index)) == keccak256(abi.encode(federation, index)));
    }

    function testFuzz_LeavesAreByAbiEncode(RoundId round, address client, uint256 amount) external pure {
        bytes32 reward = keccak256(bytes.concat(keccak256(abi.encode(round, client, amount))));
        assert(Hashing.rewardLeaf(round, client, amount) == reward);
        assert(Hashing.admissionLeaf(client) == keccak256(bytes.concat(keccak256(abi.encode(client)))));
    }

    /// @dev Bits above a narrow value, as a careless caller leaves them, do not reach the hash; nor is memory harmed.
    function testFuzz_DirtyBitsAreCleaned(FederationId federation, uint256 index, RoundId round, uint256 client)
        external
        pure
    {
        bytes memory before = abi.encode(federation, index, round, client);
        bytes32 kept = keccak256(before);
        uint64 dirtyIndex;
        address dirtyClient;
        assembly ("memory-safe") {
            dirtyIndex := index
            dirtyClient := client
        }
        bytes32 id = keccak256(abi.encode(federation, uint64(index)));
        assert(RoundId.unwrap(Hashing.round(federation, dirtyIndex)) == id);
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(round, address(uint160(client)), index))));
        assert(Hashing.rewardLeaf(round, dirtyClient, index) == leaf);
        assert(keccak256(before) == kept);
    }

    function testFuzz_ChainAndContractAreHashed(bytes32 a, bytes32 b, bytes32 c, address who) external view {
        bytes32 id = keccak256(abi.encode(block.chainid, address(this), who, a));
        assert(FederationId.unwrap(Hashing.federation(who, a)) == id);
        bytes32 seed = keccak256(abi.encode(block.chainid, address(this), a, b, c));
        assert(Hashing.seed(RoundId.wrap(a), b, c) == seed);
    }

    function testFuzz_ResultIsByAbiEncode(bytes32[7] calldata w, uint96 total) external view {
        bytes32 hashed = keccak256(abi.encode(block.chainid, address(this), w[0], w[1], w[2], w[3], w[4], w[5], total));
        assert(Hashing.result(RoundId.wrap(w[0]), w[1], w[2], w[3], w[4], w[5], total) == hashed);
    }

    function testFuzz_UpdatesAreByAbiEncode(bytes32 a, bytes32 b, bytes32 c, bytes32 d, address who, uint40 millis)
        external
        pure
    {
        assert(Hashing.next(a, who, b, millis) == keccak256(abi.encode(a, who, b, millis)));
        string memory kind =
            "Update(bytes32 federation,bytes32 round,bytes32 terms,address client,bytes32 digest,uint40 millis)";
        bytes32 hashed = keccak256(abi.encode(keccak256(bytes(kind)), a, b, c, who, d, millis));
        assert(Hashing.update(FederationId.wrap(a), RoundId.wrap(b), c, who, d, millis) == hashed);
    }

    function testFuzz_WordsGiveBackWhatTheyHold(uint64 index, uint8 levels, uint96 amount, bool byTime) external pure {
        RoundClaim claim = RoundClaim.wrap((uint256(index) << 104) | (uint256(levels) << 96) | amount);
        assert(claim.index() == index && claim.levels() == levels && claim.amount() == amount);
        uint256 payment = RoundPayment.unwrap(Words.payment(index, byTime, amount));
        assert(uint96(payment) == amount && payment >> 104 == index);
        assert(uint8(payment >> 96) == uint8(byTime ? PayBasis.Time : PayBasis.Result));
    }
}
