// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PayBasis, Phase} from "../../../contracts/interfaces/ITrainingRounds.sol";
import {Payout, Payouts, Verdict} from "../../../contracts/libraries/Payouts.sol";
import {Dues, Stakes, Training} from "../../../contracts/libraries/Records.sol";
import {RoundMath} from "../../../contracts/libraries/RoundMath.sol";
import {within} from "../Vm.sol";

/// @dev Laws of phases and money over all records that a round can have, and all times.
contract RoundMathTest {
    struct Case {
        Training training;
        Stakes stakes;
        Payout payout;
        Dues dues;
    }

    /// @dev Records that the contract could have written, drawn from `seed`.
    function drawn(uint256 seed, bool settled) private pure returns (Case memory c) {
        Training memory t = c.training;
        t.launchedAt = uint40(word(seed, 0, 1, 2 ** 35));
        t.trainingSeconds = uint24(word(seed, 1, 1, 90 days));
        t.maxMillis = uint40(word(seed, 2, 1, 2 ** 33));
        t.timeCapMillis = uint40(word(seed, 3, 0, t.maxMillis));
        t.maxUpdates = uint24(word(seed, 4, 1, 2 ** 20));
        t.updates = uint24(word(seed, 5, settled ? 1 : 0, seed % 3 == 0 ? t.maxUpdates : 1));
        t.timeMillis = uint56(word(seed, 6, 0, uint256(t.timeCapMillis) * t.updates));
        Stakes memory s = c.stakes;
        s.settlementSeconds = uint24(word(seed, 7, 1, 30 days));
        s.auditors = uint8(word(seed, 8, 0, 4));
        s.challengeSeconds = uint24(word(seed, 9, s.auditors == 0 ? 0 : 1, 30 days));
        s.bond = uint96(word(seed, 10, 0, 2 ** 90));
        c.payout =
            Payouts.open(uint96(word(seed, 11, 0, 2 ** 40)), uint8(s.auditors == 0 ? 0 : uint256(s.auditors) / 2 + 1));
        c.dues.attestationFee = uint96(word(seed, 12, 0, 2 ** 80));
        if (!settled) return c;
        s.rewardsTotal = uint96(word(seed, 13, 0, RoundMath.pool(c.payout.rate(), t.maxMillis, t.maxUpdates)));
        c.dues.attestations = uint8(word(seed, 14, 0, s.auditors));
        uint40 challengeEnds = t.launchedAt + uint40(word(seed, 15, s.challengeSeconds, 120 days));
        bool decided = s.auditors != 0 && c.dues.attestations >= c.payout.quorum();
        Verdict verdict = Verdict(word(seed, 16, 0, decided ? uint256(type(Verdict).max) : 0));
        c.payout = c.payout.settled(challengeEnds, s.rewardsTotal).withVerdict(verdict);
    }

    function word(uint256 seed, uint256 which, uint256 minimum, uint256 maximum) private pure returns (uint256) {
        return within(uint256(keccak256(abi.encode(seed, which))), minimum, maximum);
    }

    /// @dev Some second around the deadlines of a drawn round.
    function moment(Case memory c, uint256 seed) private pure returns (uint256) {
        uint256 end = RoundMath.trainingEnds(c.training);
        uint256[4] memory deadlines = [
            end,
            RoundMath.settlementEnds(c.training, c.stakes.settlementSeconds),
            c.payout.challengeEnds(),
            RoundMath.revealEnds(c.payout, c.stakes.challengeSeconds)
        ];
        uint256 time = deadlines[word(seed, 17, 0, 3)] + word(seed, 18, 0, 2);
        return time > c.training.launchedAt ? time - 1 : end;
    }

    function phaseOf(Case memory c, uint256 time) private pure returns (Phase) {
        return c.payout.challengeEnds() == 0
            ? RoundMath.openPhase(c.training, c.stakes.settlementSeconds, time)
            : RoundMath.settledPhase(c.payout, time);
    }

    function basisOf(Case memory c, uint256 time) private pure returns (PayBasis) {
        return c.payout.challengeEnds() == 0
            ? RoundMath.openBasis(phaseOf(c, time))
            : RoundMath.settledBasis(c.payout, c.stakes.challengeSeconds, time);
    }

    function withdrawable(Case memory c, uint256 time) private pure returns (uint256) {
        Phase phase = phaseOf(c, time);
        return RoundMath.withdrawable(c.training, c.stakes, c.payout, c.dues, phase, basisOf(c, time), time);
    }

    /// @dev Pay is decided only when the round is; a Rejected one alone may wait.
    function testFuzz_BasisFollowsPhase(uint256 seed, bool settled) external pure {
        Case memory c = drawn(seed, settled);
        uint256 time = moment(c, seed);
        Phase phase = phaseOf(c, time);
        PayBasis basis = basisOf(c, time);
        if (RoundMath.isLive(phase)) assert(basis == PayBasis.Undecided);
        if (phase == Phase.Void) assert(basis == PayBasis.Nothing);
        if (phase == Phase.Final) assert(basis == PayBasis.Result);
        if (phase == Phase.Unconfirmed || phase == Phase.Abandoned) assert(basis == PayBasis.Time);
        if (phase == Phase.Rejected) assert(basis != PayBasis.Nothing);
        assert(phase != Phase.None);
    }

    /// @dev The short way that claims take says what the long one says.
    function testFuzz_FinalIsFinal(uint256 seed, bool settled) external pure {
        Case memory c = drawn(seed, settled);
        uint256 time = moment(c, seed);
        assert(c.payout.isFinal(time) == (phaseOf(c, time) == Phase.Final));
    }

    /// @dev Terminal phases stay, decided pay stays, and what can be withdrawn never shrinks, however long one waits.
    function testFuzz_TimeOnlyDecides(uint256 seed, bool settled, uint256 first, uint256 second) external pure {
        Case memory c = drawn(seed, settled);
        (uint256 time, uint256 later) = (moment(c, first), moment(c, second));
        if (later < time) (time, later) = (later, time);
        Phase phase = phaseOf(c, time);
        if (!RoundMath.isLive(phase)) assert(phaseOf(c, later) == phase);
        PayBasis basis = basisOf(c, time);
        if (basis != PayBasis.Undecided) assert(basisOf(c, later) == basis);
        assert(withdrawable(c, later) >= withdrawable(c, time));
    }

    /// @dev At the end of time everything is owed to somebody or can be withdrawn, to the last base unit.
    function testFuzz_NothingIsLost(uint256 seed, bool settled) external pure {
        Case memory c = drawn(seed, settled);
        uint256 end = type(uint40).max;
        Phase phase = phaseOf(c, end);
        assert(!RoundMath.isLive(phase));
        uint256 owed = RoundMath.owedToClients(c.training, c.stakes, c.payout, basisOf(c, end))
            + RoundMath.owedToAuditors(c.stakes, c.payout, c.dues, end)
            + (RoundMath.losesBond(phase) ? c.stakes.bond : 0);
        uint256 escrow = RoundMath.escrow(c.training, c.stakes, c.payout, c.dues);
        assert(owed + withdrawable(c, end) == escrow);
    }

    /// @dev What is paid is what was owed, less what is not paid yet.
    function testFuzz_PaidIsOwedLessUnpaid(uint256 seed, uint256 part, bool byTime) external pure {
        Case memory c = drawn(seed, true);
        uint256 owed = byTime ? RoundMath.owedByTime(c.training, c.payout) : c.stakes.rewardsTotal;
        uint256 paid = within(part, 0, owed);
        c.payout = c.payout.withUnpaid(uint96(owed - paid));
        if (byTime) c.payout = c.payout.withByTime();
        assert(RoundMath.paidToClients(c.training, c.stakes, c.payout) == paid);
    }

    /// @dev What was never launched is in no phase and holds nothing.
    function test_NothingIsNothing() external pure {
        Case memory c;
        assert(phaseOf(c, 1) == Phase.None && basisOf(c, 1) == PayBasis.Undecided && withdrawable(c, 1) == 0);
    }

    /// @dev A withdrawal takes out exactly what was withdrawable.
    function testFuzz_WithdrawingTwiceIsWithdrawingOnce(uint256 seed, bool settled) external pure {
        Case memory c = drawn(seed, settled);
        uint256 time = moment(c, seed);
        uint256 amount = withdrawable(c, time);
        if (amount > type(uint96).max) return; // no launch takes so much
        c.dues.returned = uint96(amount);
        assert(withdrawable(c, time) == 0);
    }
}
