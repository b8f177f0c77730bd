// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Payments} from "./base/Payments.sol";
import {Updates} from "./base/Updates.sol";
import {
    FederationId,
    FederationView,
    ITrainingRounds,
    PayBasis,
    Phase,
    RoundId,
    RoundView
} from "./interfaces/ITrainingRounds.sol";
import {Header} from "./libraries/Headers.sol";
import {Page, Pages} from "./libraries/Pages.sol";
import {Payout, Verdict} from "./libraries/Payouts.sol";
import {Attestation, Dues, Federation, Round, Stakes, Training} from "./libraries/Records.sol";
import {RoundMath} from "./libraries/RoundMath.sol";

/// @title TrainingRounds
/// @notice The contract of Rondo; ITrainingRounds is its specification. Federations, Rounds, Updates and Payments hold
/// its functions, RoundMath its phases and money, Records, Pages and Payouts its storage, Hashing its hashes.
/// @dev No owner, no proxy, no upgrade, no pause; no strings. Nothing loops over clients but a caller's own batch. Every
/// payment goes checks, effects, event, interactions (a proof is checked after the books, and undoes them where it
/// fails), and no two functions that move tokens can be entered at once.
contract TrainingRounds is Updates, Payments {
    /// @inheritdoc ITrainingRounds
    function getFederation(FederationId federation) external view returns (FederationView memory) {
        Federation storage record = _federations[federation];
        return FederationView({
            organization: record.organization,
            offeredTo: record.offeredTo,
            token: record.token,
            task: record.task,
            head: _head(federation, record),
            admissionRoot: _admissionRoots[record.number][record.admission],
            forfeitTo: record.forfeitTo,
            quorum: record.quorum,
            auditors: record.auditors,
            rounds: record.rounds
        });
    }

    /// @inheritdoc ITrainingRounds
    function getRound(RoundId round) external view returns (RoundView memory shown) {
        Round storage record = _rounds[round];
        Training memory training = record.training;
        Stakes memory stakes = record.stakes;
        Payout payout = record.payout;
        Dues memory dues = record.dues;
        Phase phase = _phase(training, stakes, payout);
        if (phase == Phase.None) return shown;

        shown.federation = record.federation;
        shown.index = record.header.index();
        shown.phase = phase;
        shown.basis = _basis(record, payout);
        shown.base = record.base;
        shown.termsHash = record.termsHash;
        shown.admissionRoot = _admissionRoots[record.header.federation()][record.header.admission()];
        shown.launchedAt = training.launchedAt;
        shown.trainingEnds = RoundMath.trainingEnds(training);
        shown.settlementEnds = RoundMath.settlementEnds(training, stakes.settlementSeconds);
        shown.updates = training.updates;
        shown.updatesHash = record.updatesHash;
        shown.timeMillis = training.timeMillis;
        shown.rewardsRoot = record.rewardsRoot;
        shown.rewardsTotal = stakes.rewardsTotal;
        shown.attestations = dues.attestations;
        shown.revealed = payout.verdict() == Verdict.Revealed;
        shown.escrowed = RoundMath.escrow(training, stakes, payout, dues);
        shown.paidClients = RoundMath.paidToClients(training, stakes, payout);
        shown.paidAuditors = uint256(dues.attestationFee) * dues.feesPaid;
        shown.returned = dues.returned;
        shown.forfeited = dues.forfeited ? stakes.bond : 0;
        if (payout.challengeEnds() != 0) {
            shown.challengeEnds = payout.challengeEnds();
            shown.revealEnds = RoundMath.revealEnds(payout, stakes.challengeSeconds);
            shown.resultHash = record.resultHash;
            shown.quorumHash = payout.verdict() == Verdict.Agreed ? record.resultHash : record.otherHash;
        }
    }

    /// @inheritdoc ITrainingRounds
    function getUpdate(RoundId round, address client) external view returns (uint40 millis, bool submitted, bool paid) {
        Header header = _rounds[round].header;
        Page page = _pages[Pages.key(client, header.federation(), header.index())].page;
        uint256 millisPlusOne;
        (millisPlusOne, paid) = Pages.read(page, header.index());
        submitted = millisPlusOne != 0;
        millis = submitted ? uint40(millisPlusOne - 1) : 0;
    }

    /// @inheritdoc ITrainingRounds
    function hasAttested(RoundId round, address auditor) external view returns (bool attested, bool feePaid) {
        Attestation memory attestation = _rounds[round].attestations[auditor];
        return (attestation.attested, attestation.feePaid);
    }

    /// @inheritdoc ITrainingRounds
    function votes(RoundId round, bytes32 resultHash) external view returns (uint8) {
        return _rounds[round].votes[resultHash];
    }
}
