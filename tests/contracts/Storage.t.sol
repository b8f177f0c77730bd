// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PayBasis, RoundClaim, RoundPayment} from "../../contracts/interfaces/ITrainingRounds.sol";
import {Bounds} from "../../contracts/libraries/Bounds.sol";
import {Page, PageKey, Pages} from "../../contracts/libraries/Pages.sol";
import {Payout, Payouts, Verdict} from "../../contracts/libraries/Payouts.sol";
import {Words} from "../../contracts/libraries/Words.sol";
import {within} from "./Vm.sol";

/// @dev Packed words give back what was put into them, and writing one part leaves the others alone.
contract StorageTest {
    uint256 private constant MOST_MILLIS = 1000 * Bounds.MAX_TRAINING_SECONDS;

    function testFuzz_KeysDifferWherePagesDo(
        address client,
        uint32 federation,
        uint32 index,
        address client2,
        uint32 federation2,
        uint32 index2
    ) external pure {
        bool same = client == client2 && federation == federation2 && index / 7 == index2 / 7;
        bool sameKey = PageKey.unwrap(Pages.key(client, federation, index))
            == PageKey.unwrap(Pages.key(client2, federation2, index2));
        assert(same == sameKey);
    }

    function testFuzz_NeighboursShareAKey(address client, uint32 federation, uint32 index) external pure {
        uint32 first = index - index % 7;
        if (first > type(uint32).max - 7) return;
        uint256 key = PageKey.unwrap(Pages.key(client, federation, first));
        for (uint32 i; i < 7; ++i) {
            assert(PageKey.unwrap(Pages.key(client, federation, first + i)) == key);
        }
        assert(PageKey.unwrap(Pages.key(client, federation, first + 7)) != key);
    }

    /// @dev Seven rounds written and paid in any order: each reads as it was written, at every step.
    function testFuzz_RoundsOfAPageAreApart(uint256 seed, uint32 page_) external pure {
        uint32 first = uint32(within(page_, 0, type(uint32).max / 7 - 1)) * 7;
        Page page;
        uint256[7] memory millis;
        bool[7] memory submitted;
        bool[7] memory paid;
        for (uint256 step; step < 21; ++step) {
            uint256 random = uint256(keccak256(abi.encode(seed, step)));
            uint32 place = uint32(random % 7);
            if (!submitted[place]) {
                millis[place] = random % 3 == 0 ? MOST_MILLIS : within(random, 0, MOST_MILLIS);
                submitted[place] = true;
                page = Pages.withUpdate(page, first + place, uint40(millis[place]));
            } else {
                paid[place] = true;
                page = Pages.withPayment(page, first + place);
            }
            for (uint32 i; i < 7; ++i) {
                (uint256 millisPlusOne, bool isPaid) = Pages.read(page, first + i);
                assert(millisPlusOne == (submitted[i] ? millis[i] + 1 : 0));
                assert(isPaid == paid[i]);
            }
        }
    }

    function testFuzz_PayoutKeepsItsParts(
        uint96 rate,
        uint8 quorum,
        uint40 challengeEnds,
        uint96 total,
        uint96 unpaid,
        uint8 verdict_,
        bool byTime
    ) external pure {
        Verdict verdict = Verdict(verdict_ % 4);
        Payout payout = Payouts.open(rate, quorum);
        assert(payout.challengeEnds() == 0 && payout.unpaid() == 0 && payout.verdict() == Verdict.None);
        payout = payout.settled(challengeEnds, total);
        assert(payout.unpaid() == total && !payout.isAgreed() && !payout.byTime());
        payout = payout.withVerdict(Verdict.Other).withVerdict(verdict);
        if (byTime) payout = payout.withByTime();
        payout = payout.withUnpaid(unpaid);
        assert(payout.rate() == rate && payout.quorum() == quorum && payout.challengeEnds() == challengeEnds);
        assert(payout.unpaid() == unpaid && payout.verdict() == verdict && payout.byTime() == byTime);
        assert(payout.isAgreed() == (verdict == Verdict.Agreed));
    }

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
