// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title A wallet contract that signs by the key of its owner (EIP-1271), or misbehaves as it is told to
contract WalletDouble is IERC1271 {
    enum Manner {
        Honest,
        BurnsGas,
        ReturnsMegabytes,
        SaysTrue, // the word 1, which is not the magic value
        SaysNothing
    }

    address public immutable owner;
    Manner public manner;

    constructor(address owner_) {
        owner = owner_;
    }

    function behave(Manner manner_) external {
        manner = manner_;
    }

    /// @inheritdoc IERC1271
    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4) {
        if (manner == Manner.Honest) {
            (address signer,,) = ECDSA.tryRecoverCalldata(hash, signature);
            return signer == owner ? IERC1271.isValidSignature.selector : bytes4(0);
        }
        if (manner == Manner.BurnsGas) {
            for (uint256 i;; ++i) {
                hash = keccak256(abi.encode(hash, i));
            }
        }
        assembly {
            mstore(0, 1)
            switch sload(0)
            case 2 { return(0, 1000000) }
            case 3 { return(0, 32) }
            default { return(0, 0) }
        }
    }
}
