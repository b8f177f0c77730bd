// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title Whether an account signed a hash
library Signatures {
    /// @dev Gas that a wallet contract may burn: enough for P-256 in Solidity, too little to hurt who pays for it.
    uint256 internal constant WALLET_GAS = 400_000;

    /// @dev By the account's own key. Canonical 65-byte signatures only (EIP-2: low s).
    function isByKey(address account, bytes32 hash, bytes calldata signature) internal pure returns (bool) {
        (address recovered, ECDSA.RecoverError failure,) = ECDSA.tryRecoverCalldata(hash, signature);
        return failure == ECDSA.RecoverError.NoError && recovered == account;
    }

    /// @dev By the account as a wallet contract (EIP-1271). Apart from OpenZeppelin's SignatureChecker because that
    /// hands all gas over; here gas is capped, the call cannot change state, and one word of the answer is read.
    function isByWallet(address account, bytes32 hash, bytes calldata signature) internal view returns (bool valid) {
        bytes memory question = abi.encodeCall(IERC1271.isValidSignature, (hash, signature));
        bytes4 yes = IERC1271.isValidSignature.selector;
        assembly ("memory-safe") {
            let success := staticcall(WALLET_GAS, account, add(question, 0x20), mload(question), 0x00, 0x20)
            valid := and(and(success, gt(returndatasize(), 0x1f)), eq(mload(0x00), yes))
        }
    }

    /// @dev By key first, so that an account that has both (EIP-7702) can use either.
    function isValid(address account, bytes32 hash, bytes calldata signature) internal view returns (bool) {
        return isByKey(account, hash, signature) || isByWallet(account, hash, signature);
    }
}
