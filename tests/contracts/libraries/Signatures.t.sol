// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Signatures} from "../../../contracts/libraries/Signatures.sol";
import {WalletDouble} from "../../../contracts/testing/WalletDouble.sol";
import {vm, within} from "../Vm.sol";

/// @dev Whose signature is taken, and that a wallet cannot take more gas than it is given.
contract SignaturesTest {
    uint256 private constant ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;

    function isByKey(address account, bytes32 hash, bytes calldata signature) external pure returns (bool) {
        return Signatures.isByKey(account, hash, signature);
    }

    function isValid(address account, bytes32 hash, bytes calldata signature) external view returns (bool) {
        return Signatures.isValid(account, hash, signature);
    }

    function testFuzz_OnlyTheKeySigns(uint256 key, uint256 other, bytes32 hash, bytes32 another) external view {
        (key, other) = (within(key, 1, ORDER - 1), within(other, 1, ORDER - 1));
        vm.assume(key != other && hash != another);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, hash);
        bytes memory signature = abi.encodePacked(r, s, v);
        assert(this.isByKey(vm.addr(key), hash, signature) && this.isValid(vm.addr(key), hash, signature));
        assert(!this.isValid(vm.addr(other), hash, signature));
        assert(!this.isValid(vm.addr(key), another, signature));
        bytes memory twin = abi.encodePacked(r, bytes32(ORDER - uint256(s)), v == 27 ? 28 : 27);
        assert(!this.isValid(vm.addr(key), hash, twin)); // EIP-2: the other s of the same signature
        assert(!this.isValid(vm.addr(key), hash, abi.encodePacked(signature, uint8(0))));
        assert(!this.isValid(vm.addr(key), hash, abi.encodePacked(r, s)));
    }

    function testFuzz_GarbageIsNobodys(address account, bytes32 hash, bytes calldata signature) external view {
        vm.assume(account.code.length == 0 && uint160(account) > 0x10000); // no precompile
        assert(!this.isByKey(address(0), hash, signature));
        assert(!this.isValid(account, hash, signature));
    }

    function testFuzz_AWalletSignsByItsOwner(uint256 key, bytes32 hash, bytes32 another) external {
        key = within(key, 1, ORDER - 1);
        vm.assume(hash != another);
        WalletDouble wallet = new WalletDouble(vm.addr(key));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, hash);
        bytes memory signature = abi.encodePacked(r, s, v);
        assert(this.isValid(address(wallet), hash, signature));
        assert(!this.isByKey(address(wallet), hash, signature));
        assert(!this.isValid(address(wallet), another, signature));
    }

    function test_AWalletThatMisbehavesSignsNothing() external {
        WalletDouble wallet = new WalletDouble(address(this));
        for (uint8 manner = 1; manner <= uint8(type(WalletDouble.Manner).max); ++manner) {
            wallet.behave(WalletDouble.Manner(manner));
            uint256 before = gasleft();
            assert(!this.isValid(address(wallet), bytes32(uint256(1)), new bytes(65)));
            assert(before - gasleft() < Signatures.WALLET_GAS + 50_000);
        }
    }
}
