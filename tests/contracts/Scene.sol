// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {TrainingRounds} from "../../contracts/TrainingRounds.sol";
import {
    ClientClaims,
    FederationId,
    FederationTerms,
    ITrainingRounds,
    PayBasis,
    Phase,
    RoundClaim,
    RoundId,
    RoundTerms,
    RoundView,
    Settlement,
    SignedUpdate
} from "../../contracts/interfaces/ITrainingRounds.sol";
import {TestToken} from "../../contracts/testing/TestToken.sol";
import {Tree} from "./Tree.sol";
import {vm} from "./Vm.sol";

/// @dev One contract, one token, and short ways to bring a round into any phase; the test itself leads. Alice and Bob
/// earn by result 300 and 500 of the 1,000 each that 1,000 milliseconds are worth at most.
abstract contract Scene {
    bytes32 internal constant BASE = keccak256("base");
    bytes32 internal constant NEXT = keccak256("next");
    bytes32 internal constant OTHER = keccak256("other");
    bytes32 internal constant DERIVED = keccak256("derived");
    bytes32 internal constant WITNESS = keccak256("witness");
    bytes32 internal constant DIGEST = keccak256("digest");
    uint256 internal constant KEY = 0xa11ce;
    address internal constant BOB = address(0xb0b);
    address internal constant CAROL = address(0xca401);
    address internal constant MALLORY = address(0xbad);
    address internal constant TREASURY = address(0xfee);

    TrainingRounds internal immutable rounds = TrainingRounds(vm.deployCode("TrainingRounds.sol:TrainingRounds"));
    TestToken internal immutable token = new TestToken(1e30);
    address internal immutable alice = vm.addr(KEY);
    uint256 private _salts;

    constructor() {
        token.approve(address(rounds), type(uint256).max);
        vm.warp(1_800_000_000);
    }

    function auditor(uint256 number) internal pure returns (address) {
        return address(uint160(0xa0d10000 + number));
    }

    // --- beginnings ---

    function federationTerms(uint8 quorum, uint256 auditors, bytes32 root)
        internal
        view
        returns (FederationTerms memory)
    {
        address[] memory named = new address[](auditors);
        for (uint256 i; i < auditors; ++i) {
            named[i] = auditor(i);
        }
        return FederationTerms(IERC20(address(token)), 0, BASE, TREASURY, quorum, root, named);
    }

    function created(uint8 quorum, uint256 auditors, bytes32 root) internal returns (FederationId) {
        return rounds.createFederation(bytes32(++_salts), federationTerms(quorum, auditors, root));
    }

    function roundTerms() internal pure returns (RoundTerms memory) {
        return RoundTerms(1, 1000, 400, 3, 100, 50, 30, 70, 5, false);
    }

    function launched(FederationId federation) internal returns (RoundId) {
        return rounds.launchRound(federation, BASE, roundTerms());
    }

    function submit(RoundId round, address client, uint40 millis) internal {
        vm.prank(client);
        rounds.submitUpdate(round, DIGEST, millis);
    }

    /// @dev Alice and Bob have each recorded a second; training is over.
    function trained(FederationId federation) internal returns (RoundId round) {
        round = launched(federation);
        vm.warp(rounds.getRound(round).launchedAt + 1);
        submit(round, alice, 1000);
        submit(round, BOB, 1000);
        vm.warp(rounds.getRound(round).trainingEnds);
    }

    // --- results ---

    function leaf(RoundId round, address client, uint256 amount) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(round, client, amount))));
    }

    function leaves(RoundId round) internal view returns (bytes32[] memory both) {
        both = new bytes32[](2);
        (both[0], both[1]) = (leaf(round, alice, 300), leaf(round, BOB, 500));
    }

    function proof(RoundId round, uint256 position) internal view returns (bytes32[] memory) {
        return Tree.proof(leaves(round), position);
    }

    function settlement(RoundId round) internal view returns (Settlement memory) {
        bytes32 root = Tree.root(leaves(round));
        return Settlement(rounds.getRound(round).updatesHash, NEXT, keccak256("report"), DERIVED, root, 800);
    }

    function resultHash(RoundId round, bytes32 model, bytes32 root, uint96 total) internal view returns (bytes32) {
        bytes32 updates = rounds.getRound(round).updatesHash;
        return keccak256(abi.encode(block.chainid, address(rounds), round, BASE, updates, model, DERIVED, root, total));
    }

    function settled(FederationId federation) internal returns (RoundId round) {
        round = trained(federation);
        rounds.settle(round, settlement(round));
    }

    function attest(RoundId round, uint256 number, bytes32 hash) internal {
        vm.prank(auditor(number));
        rounds.attest(round, hash, WITNESS);
    }

    /// @dev Two of three auditors agree on the settled result.
    function confirmed(FederationId federation) internal returns (RoundId round) {
        round = settled(federation);
        bytes32 hash = rounds.getRound(round).resultHash;
        attest(round, 0, hash);
        attest(round, 1, hash);
    }

    /// @dev Two of three auditors agree on another one.
    function rejected(FederationId federation, bytes32 root, uint96 total) internal returns (RoundId round) {
        round = settled(federation);
        bytes32 hash = resultHash(round, OTHER, root, total);
        attest(round, 0, hash);
        attest(round, 1, hash);
    }

    function signed(RoundId round, uint256 key, address client, uint40 millis)
        internal
        view
        returns (SignedUpdate memory)
    {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, rounds.updateTypedDataHash(round, client, DIGEST, millis));
        return SignedUpdate(client, DIGEST, millis, abi.encodePacked(r, s, v));
    }

    // --- expectations ---

    /// @dev The next call must revert with exactly this.
    function refuse(bytes memory data) internal {
        vm.expectRevert(data);
    }
}
