// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {Header, Headers} from "../../../contracts/libraries/Headers.sol";

/// @dev A header gives back what was put into it.
contract HeadersTest {
    function testFuzz_PartsAreKept(IERC20 token, uint40 federation, uint32 index, uint24 admission) external pure {
        Header header = Headers.create(token, federation, index, admission);
        assert(header.token() == token && header.federation() == federation);
        assert(header.index() == index && header.admission() == admission);
    }
}
