// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev What the tests use of forge's cheatcodes.
interface Vm {
    function addr(uint256 key) external pure returns (address);
    function assume(bool condition) external pure;
    function expectRevert(bytes calldata data) external;
    function getBlockTimestamp() external view returns (uint256);
    function prank(address sender) external;
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function warp(uint256 timestamp) external;
}

Vm constant vm = Vm(0x7109709ECfa91a80626fF3989D68f67F5b1DD12D);

/// @dev `value` folded into [minimum, maximum].
function within(uint256 value, uint256 minimum, uint256 maximum) pure returns (uint256) {
    return minimum + value % (maximum - minimum + 1);
}
