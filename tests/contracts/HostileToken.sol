// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @dev A token in every bad manner at once or in turn: which federation chooses it is on its own.
contract HostileToken is ERC20 {
    enum Manner {
        Honest,
        KeepsFee,
        SaysFalse,
        Reverts,
        CallsBack
    }

    error NotToday();

    Manner public manner;
    address public victim;
    bytes public call;
    bool public gotIn; // a call back into a function that moves tokens did not revert

    constructor(uint256 supply) ERC20("Hostile", "HOSTILE") {
        _mint(msg.sender, supply);
    }

    function behave(Manner manner_, address victim_, bytes calldata call_) external {
        (manner, victim, call) = (manner_, victim_, call_);
    }

    /// @dev What a token does that rebases downwards.
    function shrink(address holder) external {
        _burn(holder, balanceOf(holder) / 2);
    }

    function mend(address holder, uint256 balance) external {
        if (balanceOf(holder) < balance) _mint(holder, balance - balanceOf(holder));
    }

    function transfer(address to, uint256 amount) public override returns (bool) {
        return manner != Manner.SaysFalse && super.transfer(to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        return manner != Manner.SaysFalse && super.transferFrom(from, to, amount);
    }

    function _update(address from, address to, uint256 amount) internal override {
        if (msg.sender == victim && manner == Manner.Reverts) revert NotToday();
        if (msg.sender == victim && manner == Manner.CallsBack) {
            (bool done,) = victim.call(call);
            gotIn = gotIn || done;
        }
        bool keeps = manner == Manner.KeepsFee && from != address(0) && to != address(0);
        uint256 fee = keeps ? amount / 100 : 0;
        if (fee != 0) super._update(from, address(0), fee);
        super._update(from, to, amount - fee);
    }
}
