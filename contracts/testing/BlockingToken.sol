// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title A token whose issuer blocks accounts, as issuers of dollars do: they can neither send nor receive
contract BlockingToken is ERC20 {
    error Blocked(address account);

    mapping(address account => bool) public blocked;

    constructor(uint256 supply) ERC20("Blocking", "BLOCK") {
        _mint(msg.sender, supply);
    }

    function blockAccount(address account, bool blocked_) external {
        blocked[account] = blocked_;
    }

    function _update(address from, address to, uint256 amount) internal override {
        if (blocked[from]) revert Blocked(from);
        if (blocked[to]) revert Blocked(to);
        super._update(from, to, amount);
    }
}
