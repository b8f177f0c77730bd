// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @dev One slot, as a value: what updates and payments ask of the federation, as it is for this round. From the lowest
/// bit: token (160), federation (40), index (32), admission (24).
type Header is uint256;

using Headers for Header global;

/// @title The slot of a round that names its federation, token and admission
library Headers {
    uint256 private constant FEDERATION = 160;
    uint256 private constant INDEX = 200;
    uint256 private constant ADMISSION = 232;

    function create(IERC20 token_, uint40 federation_, uint32 index_, uint24 admission_)
        internal
        pure
        returns (Header)
    {
        return Header.wrap(
            uint256(uint160(address(token_))) | (uint256(federation_) << FEDERATION) | (uint256(index_) << INDEX)
                | (uint256(admission_) << ADMISSION)
        );
    }

    function token(Header header) internal pure returns (IERC20) {
        return IERC20(address(uint160(Header.unwrap(header))));
    }

    /// @dev Number of the federation.
    function federation(Header header) internal pure returns (uint40) {
        return uint40(Header.unwrap(header) >> FEDERATION);
    }

    /// @dev Of the round within its federation; 0: no such round.
    function index(Header header) internal pure returns (uint32) {
        return uint32(Header.unwrap(header) >> INDEX);
    }

    /// @dev Number, within the federation, of the admission root at launch; 0 is open.
    function admission(Header header) internal pure returns (uint24) {
        return uint24(Header.unwrap(header) >> ADMISSION);
    }
}
