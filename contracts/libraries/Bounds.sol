// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FederationTerms, ITrainingRounds, RoundTerms, Term} from "../interfaces/ITrainingRounds.sol";

/// @title Which terms are taken
library Bounds {
    uint256 internal constant MAX_AUDITORS = 32;
    uint256 internal constant MAX_TRAINING_SECONDS = 90 days;
    uint256 internal constant MAX_SETTLEMENT_SECONDS = 30 days;
    uint256 internal constant MAX_CHALLENGE_SECONDS = 30 days;

    /// @dev Reverts unless a federation can have these terms. A majority quorum, so that two results can never both
    /// have one; auditors ascending, so that none counts twice.
    function check(FederationTerms calldata terms) internal pure {
        if (terms.forfeitTo == address(0)) revert ITrainingRounds.ZeroForfeitTo();
        if (terms.model == 0) revert ITrainingRounds.ZeroModel();
        uint256 auditors = terms.auditors.length;
        bool decides = 0 < terms.quorum && terms.quorum <= auditors && 2 * uint256(terms.quorum) > auditors;
        bool unaudited = terms.quorum == 0 && auditors == 0;
        if (auditors > MAX_AUDITORS || !(decides || unaudited)) {
            revert ITrainingRounds.InvalidQuorum(terms.quorum, auditors);
        }
        address previous;
        for (uint256 i; i < auditors; ++i) {
            if (terms.auditors[i] <= previous) revert ITrainingRounds.AuditorsNotAscending(i, terms.auditors[i]);
            previous = terms.auditors[i];
        }
    }

    /// @dev Reverts unless a round can have these terms. `audited`: its federation names auditors, who need a window.
    function check(RoundTerms calldata terms, bool audited) internal pure {
        _check(Term.MaxMillis, terms.maxMillis, 1, type(uint40).max);
        _check(Term.TimeCapMillis, terms.timeCapMillis, 0, terms.maxMillis);
        _check(Term.MaxUpdates, terms.maxUpdates, 1, type(uint24).max);
        _check(Term.TrainingSeconds, terms.trainingSeconds, 1, MAX_TRAINING_SECONDS);
        _check(Term.SettlementSeconds, terms.settlementSeconds, 1, MAX_SETTLEMENT_SECONDS);
        _check(Term.ChallengeSeconds, terms.challengeSeconds, audited ? 1 : 0, MAX_CHALLENGE_SECONDS);
        _check(Term.TimeCapTotal, uint256(terms.timeCapMillis) * terms.maxUpdates, 0, type(uint56).max);
    }

    function _check(Term term, uint256 actual, uint256 minimum, uint256 maximum) private pure {
        if (actual < minimum || actual > maximum) {
            revert ITrainingRounds.TermOutOfRange(term, actual, minimum, maximum);
        }
    }
}
