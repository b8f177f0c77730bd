// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {TrainingRounds} from "../../contracts/TrainingRounds.sol";
import {FederationId, FederationTerms} from "../../contracts/interfaces/ITrainingRounds.sol";
import {Hashing} from "../../contracts/libraries/Hashing.sol";
import {TestToken} from "../../contracts/testing/TestToken.sol";
import {WalletDouble} from "../../contracts/testing/WalletDouble.sol";
import {HostileToken} from "./HostileToken.sol";
import {Tree} from "./Tree.sol";
import {vm} from "./Vm.sol";

uint256 constant CLIENTS = 5; // the last is a wallet contract
uint256 constant AUDITORS = 3;
uint256 constant SIDES = 4; // federations
uint256 constant HOSTILE = 3; // the federation whose token is hostile
bytes32 constant MODEL = keccak256("model");
address constant TREASURY = address(0xfee);
address constant MALLORY = address(0xbad);

/// @dev Who acts and what they act on: four federations, three tokens, three accounts that lead in turn.
abstract contract World {
    TrainingRounds public immutable rounds = TrainingRounds(vm.deployCode("TrainingRounds.sol:TrainingRounds"));
    HostileToken public immutable hostile = new HostileToken(1e40);
    FederationId[SIDES] public federations;
    IERC20[SIDES] public tokens;
    uint8[SIDES] public auditorsOf = [3, 0, 1, 3];
    uint8[SIDES] public quorumOf = [2, 0, 1, 2];
    address[3] public leaders = [address(0xacce), address(0xbcce), address(0xccce)];
    address[CLIENTS] public clients;
    bytes32[3] public roots; // open; clients 0 to 2; clients 1 to 4
    uint256[3] private _listed = [0, 7, 30];

    constructor() {
        IERC20 first = IERC20(address(new TestToken(1e40)));
        tokens = [first, first, IERC20(address(new TestToken(1e40))), IERC20(address(hostile))];
        for (uint256 i; i < CLIENTS - 1; ++i) {
            clients[i] = vm.addr(keyOf(i));
        }
        clients[CLIENTS - 1] = address(new WalletDouble(vm.addr(keyOf(CLIENTS - 1))));
        for (uint256 i = 1; i < roots.length; ++i) {
            roots[i] = Tree.root(_admitted(i));
        }
        for (uint256 side; side < SIDES; ++side) {
            address[] memory named = new address[](auditorsOf[side]);
            for (uint256 i; i < named.length; ++i) {
                named[i] = auditor(i);
            }
            vm.prank(leaders[0]);
            federations[side] = rounds.createFederation(
                bytes32(side), FederationTerms(tokens[side], 0, MODEL, TREASURY, quorumOf[side], 0, named)
            );
            for (uint256 i; i < leaders.length; ++i) {
                tokens[side].transfer(leaders[i], 1e39);
                vm.prank(leaders[i]);
                tokens[side].approve(address(rounds), type(uint256).max);
            }
        }
    }

    function keyOf(uint256 client) public pure returns (uint256) {
        return 0xc11e0000 + client;
    }

    function auditor(uint256 number) public pure returns (address) {
        return address(uint160(0xa0d10000 + number));
    }

    function isListed(uint256 list, uint256 client) internal view returns (bool) {
        return _listed[list] >> client & 1 == 1;
    }

    /// @dev Proof that the client is on the list; of another client where it is not.
    function admissionProof(uint256 list, uint256 client) internal view returns (bytes32[] memory) {
        uint256 position;
        for (uint256 i; isListed(list, client) && i < client; ++i) {
            if (isListed(list, i)) ++position;
        }
        return Tree.proof(_admitted(list), position);
    }

    function _admitted(uint256 list) private view returns (bytes32[] memory leaves) {
        leaves = new bytes32[](CLIENTS);
        uint256 count;
        for (uint256 i; i < CLIENTS; ++i) {
            if (isListed(list, i)) leaves[count++] = Hashing.admissionLeaf(clients[i]);
        }
        assembly ("memory-safe") {
            mstore(leaves, count)
        }
    }
}
