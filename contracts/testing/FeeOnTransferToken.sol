// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title A token that keeps a part of every transfer: 1 %, or what it is told
contract FeeOnTransferToken is ERC20 {
    uint256 public percent = 1;

    constructor(uint256 supply) ERC20("Fee on transfer", "FEE") {
        _mint(msg.sender, supply);
    }

    /// @notice From now on every transfer costs its recipient `percent_` of it.
    function charge(uint256 percent_) external {
        percent = percent_;
    }

    function _update(address from, address to, uint256 amount) internal override {
        uint256 fee = from == address(0) || to == address(0) ? 0 : amount * percent / 100;
        if (fee != 0) super._update(from, address(0), fee);
        super._update(from, to, amount - fee);
    }
}
