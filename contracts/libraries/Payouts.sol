// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev What quorum a settled round has, if any.
enum Verdict {
    None, // no hash has a quorum
    Agreed, // a quorum agreed on the settled result
    Other, // a quorum agreed on another result, not yet revealed
    Revealed // that other result is revealed: rewardsRoot and rewardsTotal are its own
}

/// @dev One slot, as a value: all that a claim by result reads and writes of its round but the root. From the lowest
/// bit: challengeEnds (40), rate (96), unpaid (96), quorum (8), verdict (8), byTime (8).
type Payout is uint256;

using Payouts for Payout global;

/// @title The slot of a round that its payments go by
/// @notice A value and not a struct, because a claim then reads it once, keeps it on the stack and writes it once.
library Payouts {
    uint256 private constant RATE = 40;
    uint256 private constant UNPAID = 136;
    uint256 private constant QUORUM = 232;
    uint256 private constant VERDICT = 240;
    uint256 private constant BY_TIME = 248;

    /// @dev Of a round that is launched.
    function open(uint96 rate_, uint8 quorum_) internal pure returns (Payout) {
        return Payout.wrap((uint256(rate_) << RATE) | (uint256(quorum_) << QUORUM));
    }

    /// @dev First second at which attestations are too late; 0 where the round is not settled.
    function challengeEnds(Payout payout) internal pure returns (uint40) {
        return uint40(Payout.unwrap(payout));
    }

    /// @dev Base units per millisecond.
    function rate(Payout payout) internal pure returns (uint96) {
        return uint96(Payout.unwrap(payout) >> RATE);
    }

    /// @dev Base units: of rewardsTotal, or once byTime of rate x timeMillis, what no client has been paid yet.
    function unpaid(Payout payout) internal pure returns (uint96) {
        return uint96(Payout.unwrap(payout) >> UNPAID);
    }

    /// @dev Attestations that decide; 0 where there are no auditors.
    function quorum(Payout payout) internal pure returns (uint8) {
        return uint8(Payout.unwrap(payout) >> QUORUM);
    }

    function verdict(Payout payout) internal pure returns (Verdict) {
        return Verdict(uint8(Payout.unwrap(payout) >> VERDICT));
    }

    /// @dev Whether the round is Final, as RoundMath.settledPhase tells too, but without the checks that come with enums:
    /// most claims are of such rounds.
    function isFinal(Payout payout, uint256 time) internal pure returns (bool) {
        uint256 verdict_ = uint8(Payout.unwrap(payout) >> VERDICT);
        if (verdict_ == uint8(Verdict.Agreed)) return true;
        uint256 ends = challengeEnds(payout);
        return verdict_ == uint8(Verdict.None) && quorum(payout) == 0 && ends != 0 && time >= ends;
    }

    /// @dev Whether a client was paid by time.
    function byTime(Payout payout) internal pure returns (bool) {
        return Payout.unwrap(payout) >> BY_TIME != 0;
    }

    /// @dev Settled, so with `rewardsTotal` to pay by result.
    function settled(Payout payout, uint40 challengeEnds_, uint96 rewardsTotal) internal pure returns (Payout) {
        return withUnpaid(Payout.wrap(Payout.unwrap(payout) | challengeEnds_), rewardsTotal);
    }

    function withVerdict(Payout payout, Verdict verdict_) internal pure returns (Payout) {
        uint256 rest = Payout.unwrap(payout) & ~(uint256(type(uint8).max) << VERDICT);
        return Payout.wrap(rest | (uint256(verdict_) << VERDICT));
    }

    function withUnpaid(Payout payout, uint96 unpaid_) internal pure returns (Payout) {
        uint256 rest = Payout.unwrap(payout) & ~(uint256(type(uint96).max) << UNPAID);
        return Payout.wrap(rest | (uint256(unpaid_) << UNPAID));
    }

    function withByTime(Payout payout) internal pure returns (Payout) {
        return Payout.wrap(Payout.unwrap(payout) | (1 << BY_TIME));
    }
}
