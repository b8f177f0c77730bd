// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PayBasis, Phase} from "../interfaces/ITrainingRounds.sol";
import {Payout, Verdict} from "./Payouts.sol";
import {Dues, Stakes, Training} from "./Records.sol";

/// @title Phases and money of a round, as functions of its records and the time
/// @notice Pure: `time` is an argument, chain seconds. Amounts are base units of the token. A launch keeps the whole
/// escrow below 2^96 and every part is at most the whole, so nothing here can overflow. Windows are half-open.
library RoundMath {
    /// @dev rate x maxMillis x maxUpdates: most that clients can earn. In 256 bits, since a launch asks it of terms
    /// that it has not checked yet: 96 + 40 + 24 bits fit.
    function pool(uint256 rate, uint256 maxMillis, uint256 maxUpdates) internal pure returns (uint256) {
        return rate * maxMillis * maxUpdates;
    }

    /// @dev First second at which training has ended for everybody.
    function trainingEnds(Training memory training) internal pure returns (uint40) {
        unchecked {
            return training.launchedAt + training.trainingSeconds; // uint40 seconds last for 34 000 years
        }
    }

    /// @dev First second at which a round with updates and no settlement is Abandoned; an early close leaves it.
    function settlementEnds(Training memory training, uint24 settlementSeconds) internal pure returns (uint40) {
        return trainingEnds(training) + settlementSeconds;
    }

    /// @dev settledAt + 2 x challengeSeconds: first second at which a result can no longer be revealed.
    function revealEnds(Payout payout, uint24 challengeSeconds) internal pure returns (uint40) {
        return payout.challengeEnds() + challengeSeconds;
    }

    /// @dev Phase of a round before its settlement.
    function openPhase(Training memory training, uint24 settlementSeconds, uint256 time) internal pure returns (Phase) {
        if (training.launchedAt == 0) return Phase.None;
        if (time < trainingEnds(training) && training.updates < training.maxUpdates) return Phase.Training;
        if (training.updates == 0) return Phase.Void;
        return time < settlementEnds(training, settlementSeconds) ? Phase.Settlement : Phase.Abandoned;
    }

    /// @dev Phase of a round after its settlement.
    function settledPhase(Payout payout, uint256 time) internal pure returns (Phase) {
        if (payout.verdict() == Verdict.Agreed) return Phase.Final;
        if (payout.verdict() != Verdict.None) return Phase.Rejected;
        if (time < payout.challengeEnds()) return Phase.Challenge;
        return payout.quorum() == 0 ? Phase.Final : Phase.Unconfirmed;
    }

    /// @dev Whether the outcome is open.
    function isLive(Phase phase) internal pure returns (bool) {
        return phase == Phase.Training || phase == Phase.Settlement || phase == Phase.Challenge;
    }

    /// @dev Whether the settled model becomes the head of the federation.
    function movesHead(Phase phase) internal pure returns (bool) {
        return phase == Phase.Final || phase == Phase.Unconfirmed;
    }

    /// @dev Whether the organization loses its bond.
    function losesBond(Phase phase) internal pure returns (bool) {
        return phase == Phase.Rejected || phase == Phase.Abandoned;
    }

    /// @dev How clients are paid in a round that is not settled, by its phase.
    function openBasis(Phase phase) internal pure returns (PayBasis) {
        if (phase == Phase.Void) return PayBasis.Nothing;
        return phase == Phase.Abandoned ? PayBasis.Time : PayBasis.Undecided;
    }

    /// @dev How clients are paid in a settled round. A rejected one waits for its reveal until revealEnds, then pays
    /// by time.
    function settledBasis(Payout payout, uint24 challengeSeconds, uint256 time) internal pure returns (PayBasis) {
        if (payout.verdict() == Verdict.None) {
            if (time < payout.challengeEnds()) return PayBasis.Undecided;
            return payout.quorum() == 0 ? PayBasis.Result : PayBasis.Time;
        }
        if (payout.verdict() != Verdict.Other) return PayBasis.Result;
        return time < revealEnds(payout, challengeSeconds) ? PayBasis.Undecided : PayBasis.Time;
    }

    /// @dev rate x timeMillis: what all clients together are owed by time.
    function owedByTime(Training memory training, Payout payout) internal pure returns (uint256) {
        return uint256(payout.rate()) * training.timeMillis;
    }

    /// @dev All that a launch took.
    function escrow(Training memory training, Stakes memory stakes, Payout payout, Dues memory dues)
        internal
        pure
        returns (uint256)
    {
        return pool(payout.rate(), training.maxMillis, training.maxUpdates) + stakes.bond + uint256(dues.attestationFee)
            * stakes.auditors;
    }

    /// @dev What clients have been paid so far.
    function paidToClients(Training memory training, Stakes memory stakes, Payout payout)
        internal
        pure
        returns (uint256)
    {
        return (payout.byTime() ? owedByTime(training, payout) : stakes.rewardsTotal) - payout.unpaid();
    }

    /// @dev Most that clients are, or may turn out to be, owed in all, paid or not.
    function owedToClients(Training memory training, Stakes memory stakes, Payout payout, PayBasis basis)
        internal
        pure
        returns (uint256)
    {
        if (basis == PayBasis.Nothing) return 0;
        if (basis == PayBasis.Result) return stakes.rewardsTotal;
        if (basis == PayBasis.Time) return owedByTime(training, payout);
        return pool(payout.rate(), training.maxMillis, training.maxUpdates);
    }

    /// @dev Most that auditors are, or may turn out to be, owed in all, paid or not: while attestations are taken,
    /// every auditor may still earn the fee.
    function owedToAuditors(Stakes memory stakes, Payout payout, Dues memory dues, uint256 time)
        internal
        pure
        returns (uint256)
    {
        return uint256(dues.attestationFee) * (time < payout.challengeEnds() ? stakes.auditors : dues.attestations);
    }

    /// @dev What can no longer be owed to anyone and has not been returned yet; 0 while the round is live. Never
    /// shrinks but by what is returned: what may be owed only narrows.
    function withdrawable(
        Training memory training,
        Stakes memory stakes,
        Payout payout,
        Dues memory dues,
        Phase phase,
        PayBasis basis,
        uint256 time
    ) internal pure returns (uint256) {
        if (phase == Phase.None || isLive(phase)) return 0;
        return escrow(training, stakes, payout, dues) - owedToClients(training, stakes, payout, basis)
            - owedToAuditors(stakes, payout, dues, time) - (losesBond(phase) ? stakes.bond : 0) - dues.returned;
    }
}
