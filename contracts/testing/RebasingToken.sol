// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title A token whose balances change without a transfer: accounts hold shares, and a share's worth is set at will
/// @dev Rounds towards zero, both what an account has and the shares that a transfer moves, as liquid staking tokens do.
contract RebasingToken is ERC20 {
    uint256 internal constant ONE = 1e18;

    uint256 public worth = ONE; // of a share, in units of 1e-18

    constructor(uint256 supply) ERC20("Rebasing", "REBASE") {
        _mint(msg.sender, supply);
    }

    /// @notice From now on a share is worth `worth_`, in units of 1e-18; half of 1e18 halves every balance.
    function rebase(uint256 worth_) external {
        worth = worth_;
    }

    function balanceOf(address account) public view override returns (uint256) {
        return super.balanceOf(account) * worth / ONE;
    }

    function _update(address from, address to, uint256 amount) internal override {
        uint256 balance = balanceOf(from);
        if (from != address(0) && balance < amount) revert ERC20InsufficientBalance(from, balance, amount);
        super._update(from, to, amount * ONE / worth);
    }
}
