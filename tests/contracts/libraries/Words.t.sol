// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PayBasis, RoundClaim, RoundPayment} from "../../../contracts/interfaces/ITrainingRounds.sol";
import {Words} from "../../../contracts/libraries/Words.sol";

/// @dev Packed words give back what was put into them.
contract WordsTest {
    function testFuzz_WordsKeepTheirParts(uint64 index, uint8 levels, uint96 amount, bool byTime, uint88 above)
        external
        pure
    {
        uint256 word = (uint256(index) << 104) | (uint256(levels) << 96) | amount;
        RoundClaim claim = RoundClaim.wrap(word | (uint256(above) << 168)); // what lies above is not read
        assert(Words.amount(claim) == amount && Words.levels(claim) == levels && Words.index(claim) == index);
        uint256 basis = uint256(byTime ? PayBasis.Time : PayBasis.Result);
        uint256 expected = (uint256(index) << 104) | (basis << 96) | amount;
        assert(RoundPayment.unwrap(Words.payment(index, byTime, amount)) == expected);
    }
}
