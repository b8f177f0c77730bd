// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title A token that misbehaves as it is told to, function by function
contract MisbehavingToken is ERC20 {
    enum Manner {
        Honest,
        Reverts, // without a reason
        RevertsWithReason,
        RevertsWithMegabytes,
        BurnsGas, // all that it gets
        ReturnsMegabytes, // after the word 1, having moved the amount
        ReturnsNothing, // having moved the amount
        ReturnsTwo, // which is neither true nor false; likewise
        RobsRecipient // moves the amount and burns all that its recipient then has
    }

    error Moody(bytes4 selector);

    mapping(bytes4 selector => Manner) public manners;

    constructor(uint256 supply) ERC20("Misbehaving", "MOODY") {
        _mint(msg.sender, supply);
    }

    /// @notice From now on the function of `selector` behaves in this `manner`.
    function behave(bytes4 selector, Manner manner) external {
        manners[selector] = manner;
    }

    function transfer(address to, uint256 amount) public override returns (bool) {
        super.transfer(to, amount);
        return _answer(to);
    }

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        super.transferFrom(from, to, amount);
        return _answer(to);
    }

    function balanceOf(address account) public view override returns (uint256) {
        _misbehave(manners[msg.sig]);
        return super.balanceOf(account);
    }

    function _answer(address to) private returns (bool) {
        Manner manner = manners[msg.sig];
        if (manner == Manner.RobsRecipient) _burn(to, super.balanceOf(to));
        _misbehave(manner);
        return true;
    }

    function _misbehave(Manner manner) private view {
        if (manner == Manner.RevertsWithReason) revert Moody(msg.sig);
        assembly ("memory-safe") {
            switch manner
            case 1 { revert(0, 0) }
            case 3 { revert(0x1000, 1000000) }
            case 4 { invalid() }
            case 5 {
                mstore(0, 1)
                return(0, 1000000)
            }
            case 6 { return(0, 0) }
            case 7 {
                mstore(0, 2)
                return(0, 32)
            }
        }
    }
}
