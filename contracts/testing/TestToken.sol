// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title A token for tests and the demo; worth nothing
contract TestToken is ERC20 {
    error NotMinter(address actual, address required);

    address public immutable minter;

    constructor(uint256 supply) ERC20("Rondo test token", "RTT") {
        minter = msg.sender;
        _mint(msg.sender, supply);
    }

    /// @notice Creates `amount` base units for `to`; the deployer only.
    function mint(address to, uint256 amount) external {
        if (msg.sender != minter) revert NotMinter(msg.sender, minter);
        _mint(to, amount);
    }
}
