// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Payout, Payouts, Verdict} from "../../../contracts/libraries/Payouts.sol";
import {within} from "../Vm.sol";

/// @dev The fields of a packed word are islands: writing one leaves the others.
contract PayoutsTest {
    struct Fields {
        uint40 challengeEnds;
        uint96 rate;
        uint96 unpaid;
        uint8 quorum;
        Verdict verdict;
        bool byTime;
    }

    function holds(Payout payout, Fields memory f) private pure {
        assert(payout.challengeEnds() == f.challengeEnds && payout.rate() == f.rate && payout.unpaid() == f.unpaid);
        assert(payout.quorum() == f.quorum && payout.verdict() == f.verdict && payout.byTime() == f.byTime);
    }

    function testFuzz_FieldsAreIslands(uint96 rate, uint8 quorum, uint40 ends, uint96 total, uint256[] calldata moves)
        external
        pure
    {
        Fields memory f = Fields(0, rate, 0, quorum, Verdict.None, false);
        Payout payout = Payouts.open(rate, quorum);
        holds(payout, f);
        payout = payout.settled(ends, total);
        (f.challengeEnds, f.unpaid) = (ends, total);
        holds(payout, f);
        for (uint256 i; i < moves.length && i < 40; ++i) {
            if (moves[i] % 4 == 0) {
                f.byTime = true;
                payout = payout.withByTime();
            } else if (moves[i] % 4 == 1) {
                f.verdict = Verdict(within(moves[i] >> 2, 0, uint256(type(Verdict).max)));
                payout = payout.withVerdict(f.verdict);
            } else {
                f.unpaid = uint96(moves[i] >> 2);
                payout = payout.withUnpaid(f.unpaid);
            }
            holds(payout, f);
        }
    }
}
