// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title A token that calls back into whom it is told to, in the middle of a transfer
contract ReentrantToken is ERC20 {
    address public target;
    bytes public call;
    bool public entered; // the call was made
    bool public succeeded; // and did not revert
    bytes public answer;

    constructor(uint256 supply) ERC20("Reentrant", "AGAIN") {
        _mint(msg.sender, supply);
    }

    /// @notice From now on the next transfer calls `target_` with `call_`.
    function arm(address target_, bytes calldata call_) external {
        (target, call, entered, succeeded) = (target_, call_, false, false);
    }

    function _update(address from, address to, uint256 amount) internal override {
        if (target != address(0) && !entered) {
            entered = true;
            (succeeded, answer) = target.call(call);
        }
        super._update(from, to, amount);
    }
}
