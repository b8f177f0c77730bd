// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PayBasis, RoundClaim, RoundPayment} from "../interfaces/ITrainingRounds.sol";

/// @title The words that batches of claims and their events are made of
library Words {
    uint256 private constant MIDDLE = 96; // levels of a claim, basis of a payment
    uint256 private constant INDEX = 104;

    function amount(RoundClaim claim) internal pure returns (uint96) {
        return uint96(RoundClaim.unwrap(claim));
    }

    function levels(RoundClaim claim) internal pure returns (uint256) {
        return uint8(RoundClaim.unwrap(claim) >> MIDDLE);
    }

    function index(RoundClaim claim) internal pure returns (uint64) {
        return uint64(RoundClaim.unwrap(claim) >> INDEX);
    }

    function payment(uint64 index_, bool byTime, uint96 amount_) internal pure returns (RoundPayment) {
        uint256 basis = byTime ? uint256(PayBasis.Time) : uint256(PayBasis.Result);
        return RoundPayment.wrap((uint256(index_) << INDEX) | (basis << MIDDLE) | amount_);
    }
}
