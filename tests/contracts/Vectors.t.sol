// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {TrainingRounds} from "../../contracts/TrainingRounds.sol";
import {
    FederationId,
    FederationTerms,
    Phase,
    RoundId,
    RoundTerms,
    RoundView,
    Settlement,
    SignedUpdate
} from "../../contracts/interfaces/ITrainingRounds.sol";
import {Hashing} from "../../contracts/libraries/Hashing.sol";
import {Merkle} from "../../contracts/libraries/Merkle.sol";
import {TestToken} from "../../contracts/testing/TestToken.sol";
import {vm} from "./Vm.sol";

/// @dev The contract against tests/vectors, which others made: eth_account the signatures, OpenZeppelin's package the
/// trees. tests/protocol/test_shared_vectors.py and test_merkle.py hold Python against the same files.
contract VectorsTest {
    TestToken private immutable token = new TestToken(1e30);

    function verify(bytes32[] calldata proof, bytes32 root, bytes32 leaf) external pure returns (bool) {
        return Merkle.verify(proof, root, leaf);
    }

    // --- trees ---

    function test_RewardTreesAreOpenZeppelins() external view {
        string memory file = vm.readFile("tests/vectors/merkle.json");
        RoundId round = RoundId.wrap(vm.parseJsonBytes32(file, ".round"));
        for (uint256 i; vm.keyExistsJson(file, item(".rewards", i)); ++i) {
            string memory tree = item(".rewards", i);
            bytes32 root = vm.parseJsonBytes32(file, field(tree, ".root"));
            uint256 size = vm.parseJsonUint(file, field(tree, ".size"));
            for (uint256 j; j < size; ++j) {
                string memory entry = item(field(tree, ".leaves"), j);
                uint256 amount = vm.parseJsonUint(file, field(entry, ".amount"));
                bytes32 leaf = Hashing.rewardLeaf(round, vm.parseJsonAddress(file, field(entry, ".client")), amount);
                assert(leaf == vm.parseJsonBytes32(file, field(entry, ".leaf")));
                assert(this.verify(vm.parseJsonBytes32Array(file, field(entry, ".proof")), root, leaf));
            }
        }
    }

    function test_AdmissionTreesAreOpenZeppelins() external {
        string memory file = vm.readFile("tests/vectors/merkle.json");
        TrainingRounds rounds = TrainingRounds(vm.deployCode("TrainingRounds.sol:TrainingRounds"));
        for (uint256 i; vm.keyExistsJson(file, item(".admission", i)); ++i) {
            string memory tree = item(".admission", i);
            bytes32 root = vm.parseJsonBytes32(file, field(tree, ".root"));
            FederationId federation = rounds.createFederation(bytes32(i), unaudited(bytes32(uint256(1)), root));
            uint256 size = vm.parseJsonUint(file, field(tree, ".size"));
            for (uint256 j; j < size; ++j) {
                string memory entry = item(field(tree, ".leaves"), j);
                address client = vm.parseJsonAddress(file, field(entry, ".client"));
                assert(Hashing.admissionLeaf(client) == vm.parseJsonBytes32(file, field(entry, ".leaf")));
                rounds.join(federation, client, vm.parseJsonBytes32Array(file, field(entry, ".proof")));
                assert(rounds.isJoined(federation, root, client));
            }
        }
    }

    // --- signed updates ---

    /// @dev On every vector's chain and at its address: each id and hash is the vector's, and each signature is taken.
    function test_SignedUpdatesAreEthAccounts() external {
        string memory file = vm.readFile("tests/vectors/eip712.json");
        uint256 count;
        for (; vm.keyExistsJson(file, item(".worlds", count)); ++count) {
            string memory where = item(".worlds", count);
            vm.chainId(vm.parseJsonUint(file, field(where, ".chainId")));
            address place = vm.parseJsonAddress(file, field(where, ".contract"));
            _signedUpdates(file, where, deployedAt(place));
        }
        assert(count == 4);
    }

    /// @dev A contract that finds itself on another chain than it was made on, as after a fork, signs for the new one.
    function test_TheDomainFollowsTheChain() external {
        string memory file = vm.readFile("tests/vectors/eip712.json");
        vm.chainId(424_242);
        string memory where = item(".worlds", 0);
        TrainingRounds rounds = deployedAt(vm.parseJsonAddress(file, field(where, ".contract")));
        vm.chainId(vm.parseJsonUint(file, field(where, ".chainId")));
        _signedUpdates(file, where, rounds);
    }

    function _signedUpdates(string memory file, string memory where, TrainingRounds rounds) private {
        RoundTerms memory terms = termsOf(file, field(where, ".terms"));
        bytes32 base = vm.parseJsonBytes32(file, field(where, ".base"));
        address organization = vm.parseJsonAddress(file, field(where, ".organization"));
        bytes32 salt = vm.parseJsonBytes32(file, field(where, ".salt"));
        (FederationId federation, RoundId round) = launched(rounds, organization, salt, base, terms);
        assert(FederationId.unwrap(federation) == vm.parseJsonBytes32(file, field(where, ".federation")));
        assert(RoundId.unwrap(round) == vm.parseJsonBytes32(file, field(where, ".round")));
        RoundView memory shown = rounds.getRound(round);
        assert(shown.termsHash == vm.parseJsonBytes32(file, field(where, ".termsHash")));
        assert(shown.updatesHash == vm.parseJsonBytes32(file, field(where, ".seedHash")));
        vm.warp(shown.trainingEnds - 1);
        for (uint256 i; vm.keyExistsJson(file, item(field(where, ".updates"), i)); ++i) {
            _signedUpdate(file, item(field(where, ".updates"), i), rounds, round);
        }
    }

    function _signedUpdate(string memory file, string memory entry, TrainingRounds rounds, RoundId round) private {
        SignedUpdate memory update = SignedUpdate({
            client: vm.parseJsonAddress(file, field(entry, ".client")),
            digest: vm.parseJsonBytes32(file, field(entry, ".digest")),
            millis: uint40(vm.parseJsonUint(file, field(entry, ".millis"))),
            signature: vm.parseJsonBytes(file, field(entry, ".signature"))
        });
        bytes32 hash = rounds.updateTypedDataHash(round, update.client, update.digest, update.millis);
        assert(hash == vm.parseJsonBytes32(file, field(entry, ".typedDataHash")));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(uint256(vm.parseJsonBytes32(file, field(entry, ".key"))), hash);
        assert(keccak256(abi.encodePacked(r, s, v)) == keccak256(update.signature));
        rounds.submitUpdateFor(round, update);
        bytes32 rolled = vm.parseJsonBytes32(file, field(entry, ".updatesHash"));
        assert(rounds.getRound(round).updatesHash == rolled);
    }

    // --- rewards ---

    /// @dev Every client gets exactly the reward of its vector, nobody else gets any, and nothing of the total stays.
    function test_RewardsArePaidAsTheVectorsSay() external {
        string memory file = vm.readFile("tests/vectors/rewards.json");
        vm.chainId(vm.parseJsonUint(file, ".chainId"));
        TrainingRounds rounds = deployedAt(vm.parseJsonAddress(file, ".contract"));
        uint256 count;
        for (; vm.keyExistsJson(file, item(".rounds", count)); ++count) {
            _rewards(file, item(".rounds", count), rounds);
        }
        assert(count == 5);
    }

    function _rewards(string memory file, string memory where, TrainingRounds rounds) private {
        RoundId round = _trained(file, where, rounds);
        assert(RoundId.unwrap(round) == vm.parseJsonBytes32(file, field(where, ".round")));
        uint96 total = uint96(vm.parseJsonUint(file, field(where, ".total")));
        bytes32 root = vm.parseJsonBytes32(file, field(where, ".root"));
        vm.warp(rounds.getRound(round).trainingEnds);
        bytes32 updatesHash = rounds.getRound(round).updatesHash;
        vm.prank(vm.parseJsonAddress(file, ".organization"));
        rounds.settle(round, Settlement(updatesHash, bytes32(uint256(2)), 0, 0, root, total));
        assert(rounds.getRound(round).phase == Phase.Final);
        for (uint256 i; vm.keyExistsJson(file, item(field(where, ".clients"), i)); ++i) {
            string memory entry = item(field(where, ".clients"), i);
            uint96 amount = uint96(vm.parseJsonUint(file, field(entry, ".amount")));
            if (amount == 0) continue;
            address client = vm.parseJsonAddress(file, field(entry, ".client"));
            rounds.claim(round, client, amount, vm.parseJsonBytes32Array(file, field(entry, ".proof")));
            assert(token.balanceOf(client) == amount);
        }
        rounds.withdraw(round);
        assert(rounds.getRound(round).paidClients == total && token.balanceOf(address(rounds)) == 0);
    }

    function _trained(string memory file, string memory where, TrainingRounds rounds) private returns (RoundId round) {
        RoundTerms memory terms;
        terms.rewardPerMilli = uint96(vm.parseJsonUint(file, field(where, ".rewardPerMilli")));
        terms.maxMillis = uint40(vm.parseJsonUint(file, field(where, ".maxMillis")));
        (terms.maxUpdates, terms.trainingSeconds, terms.settlementSeconds) = (64, 90 days, 1);
        bytes32 salt = vm.parseJsonBytes32(file, field(where, ".salt"));
        address organization = vm.parseJsonAddress(file, ".organization");
        FederationId federation;
        (federation, round) = launched(rounds, organization, salt, bytes32(uint256(1)), terms);
        assert(FederationId.unwrap(federation) == vm.parseJsonBytes32(file, field(where, ".federation")));
        vm.warp(rounds.getRound(round).trainingEnds - 1);
        for (uint256 i; vm.keyExistsJson(file, item(field(where, ".clients"), i)); ++i) {
            string memory entry = item(field(where, ".clients"), i);
            vm.prank(vm.parseJsonAddress(file, field(entry, ".client")));
            rounds.submitUpdate(round, keccak256("digest"), uint40(vm.parseJsonUint(file, field(entry, ".recorded"))));
        }
    }

    // --- beginnings ---

    /// @dev A contract at `place`, its constructor run there: what it keeps of its own address is right.
    function deployedAt(address place) private returns (TrainingRounds) {
        vm.etch(place, vm.getCode("TrainingRounds.sol:TrainingRounds"));
        (bool made, bytes memory code) = place.call("");
        assert(made);
        vm.etch(place, code);
        return TrainingRounds(place);
    }

    function unaudited(bytes32 model, bytes32 admissionRoot) private view returns (FederationTerms memory) {
        return FederationTerms(IERC20(address(token)), 0, model, address(this), 0, admissionRoot, new address[](0));
    }

    function launched(TrainingRounds rounds, address organization, bytes32 salt, bytes32 base, RoundTerms memory terms)
        private
        returns (FederationId federation, RoundId round)
    {
        vm.prank(organization);
        federation = rounds.createFederation(salt, unaudited(base, 0));
        token.transfer(organization, 2 ** 96 - 1);
        vm.prank(organization);
        token.approve(address(rounds), type(uint256).max);
        vm.prank(organization);
        round = rounds.launchRound(federation, base, terms);
    }

    function termsOf(string memory file, string memory where) private pure returns (RoundTerms memory terms) {
        terms.rewardPerMilli = uint96(vm.parseJsonUint(file, field(where, ".rewardPerMilli")));
        terms.maxMillis = uint40(vm.parseJsonUint(file, field(where, ".maxMillis")));
        terms.timeCapMillis = uint40(vm.parseJsonUint(file, field(where, ".timeCapMillis")));
        terms.maxUpdates = uint24(vm.parseJsonUint(file, field(where, ".maxUpdates")));
        terms.trainingSeconds = uint24(vm.parseJsonUint(file, field(where, ".trainingSeconds")));
        terms.settlementSeconds = uint24(vm.parseJsonUint(file, field(where, ".settlementSeconds")));
        terms.challengeSeconds = uint24(vm.parseJsonUint(file, field(where, ".challengeSeconds")));
        terms.bond = uint96(vm.parseJsonUint(file, field(where, ".bond")));
        terms.attestationFee = uint96(vm.parseJsonUint(file, field(where, ".attestationFee")));
        terms.consolidate = vm.parseJsonBool(file, field(where, ".consolidate"));
    }

    function item(string memory list, uint256 position) private pure returns (string memory) {
        return string.concat(list, "[", vm.toString(position), "]");
    }

    function field(string memory where, string memory name) private pure returns (string memory) {
        return string.concat(where, name);
    }
}
