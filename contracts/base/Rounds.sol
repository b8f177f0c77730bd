// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {
    FederationId,
    ITrainingRounds,
    PayBasis,
    Phase,
    RoundId,
    RoundTerms,
    Settlement
} from "../interfaces/ITrainingRounds.sol";
import {Bounds} from "../libraries/Bounds.sol";
import {Hashing} from "../libraries/Hashing.sol";
import {Header, Headers} from "../libraries/Headers.sol";
import {PageKey, PageSlot} from "../libraries/Pages.sol";
import {Payout, Payouts, Verdict} from "../libraries/Payouts.sol";
import {Attestation, Federation, Round, Stakes, Training} from "../libraries/Records.sol";
import {RoundMath} from "../libraries/RoundMath.sol";
import {Federations} from "./Federations.sol";

/// @title Rounds: their launch, their settlement and what the auditors say of it
abstract contract Rounds is Federations, ReentrancyGuardTransient {
    using SafeCast for uint256;
    using SafeERC20 for IERC20;
    using RoundMath for Payout;
    using RoundMath for Phase;
    using RoundMath for Training;

    mapping(RoundId round => Round) internal _rounds;
    mapping(PageKey key => PageSlot) internal _pages;

    /// @inheritdoc ITrainingRounds
    function launchRound(FederationId federation, bytes32 expectedBase, RoundTerms calldata terms)
        external
        nonReentrant
        returns (RoundId round)
    {
        Federation storage parent = _asOrganization(federation);
        _requireNoneLive(federation, parent);
        bytes32 base = _head(federation, parent);
        if (expectedBase != base) revert StaleBase(federation, expectedBase, base);
        Bounds.check(terms, parent.auditors != 0);
        uint256 escrow = RoundMath.pool(terms.rewardPerMilli, terms.maxMillis, terms.maxUpdates) + terms.bond
            + uint256(terms.attestationFee) * parent.auditors;
        escrow.toUint96(); // refuses more: every amount of a round then fits its field

        parent.head = base;
        uint32 index = ++parent.rounds;
        round = Hashing.round(federation, index);
        Round storage record = _rounds[round];
        _write(record, parent, terms);
        record.header = Headers.create(parent.token, parent.number, index, parent.admission);
        record.federation = federation;
        record.base = base;
        record.termsHash = Hashing.terms(terms);
        record.updatesHash = Hashing.seed(round, base, record.termsHash);

        _emitLaunched(round, record, terms, escrow);
        _take(parent.token, escrow);
    }

    /// @inheritdoc ITrainingRounds
    function settle(RoundId round, Settlement calldata settlement) external {
        Round storage record = _launched(round);
        Federation storage parent = _asOrganization(record.federation);
        Training memory training = record.training;
        Payout payout = record.payout;
        Stakes memory stakes = record.stakes;
        Phase phase = _phase(training, stakes, payout);
        if (phase != Phase.Settlement) revert WrongPhase(round, phase, Phase.Settlement);
        bytes32 updatesHash = record.updatesHash;
        if (settlement.updatesHash != updatesHash) revert StaleUpdates(round, settlement.updatesHash, updatesHash);
        if (settlement.model == 0) revert ZeroModel();
        _requireRewards(round, training, payout, settlement.rewardsRoot, settlement.rewardsTotal);

        bytes32 resultHash = Hashing.result(
            round,
            record.base,
            updatesHash,
            settlement.model,
            settlement.derivedHash,
            settlement.rewardsRoot,
            settlement.rewardsTotal
        );
        uint40 settledAt = uint40(block.timestamp);
        uint40 challengeEnds = settledAt + stakes.challengeSeconds;
        record.payout = payout.settled(challengeEnds, settlement.rewardsTotal);
        record.stakes.rewardsTotal = settlement.rewardsTotal;
        record.rewardsRoot = settlement.rewardsRoot;
        record.resultHash = resultHash;
        parent.candidate = settlement.model;

        emit RoundSettled(round, settlement, resultHash, settledAt, challengeEnds);
    }

    /// @inheritdoc ITrainingRounds
    function attest(RoundId round, bytes32 resultHash, bytes32 witness) external {
        Round storage record = _launched(round);
        Payout payout = record.payout;
        // Not the phase: a quorum ends the challenge, but the auditors that come after it have worked too.
        if (block.timestamp >= payout.challengeEnds()) {
            revert WrongPhase(round, _phase(record.training, record.stakes, payout), Phase.Challenge);
        }
        FederationId federation = record.federation;
        if (!_federations[federation].isAuditor[msg.sender]) revert NotAuditor(federation, msg.sender);
        Attestation storage attestation = record.attestations[msg.sender];
        if (attestation.attested) revert AlreadyAttested(round, msg.sender);
        if (resultHash == 0) revert ZeroResult(round);

        attestation.attested = true;
        ++record.dues.attestations;
        // A quorum is more than half of the auditors and each votes once: no second hash can reach it.
        bool decided = ++record.votes[resultHash] == payout.quorum();
        if (decided && resultHash == record.resultHash) {
            record.payout = payout.withVerdict(Verdict.Agreed);
        } else if (decided) {
            record.payout = payout.withVerdict(Verdict.Other);
            record.otherHash = resultHash;
        }

        emit Attested(round, msg.sender, resultHash, witness);
        if (decided) emit QuorumReached(round, resultHash);
    }

    /// @inheritdoc ITrainingRounds
    function reveal(RoundId round, bytes32 model, bytes32 derivedHash, bytes32 rewardsRoot, uint96 rewardsTotal)
        external
    {
        Round storage record = _launched(round);
        Training memory training = record.training;
        Payout payout = record.payout;
        Stakes memory stakes = record.stakes;
        Phase phase = _phase(training, stakes, payout);
        if (phase != Phase.Rejected) revert WrongPhase(round, phase, Phase.Rejected);
        if (payout.verdict() == Verdict.Revealed) revert AlreadyRevealed(round);
        uint256 deadline = payout.revealEnds(stakes.challengeSeconds);
        if (block.timestamp >= deadline) revert RevealTooLate(round, block.timestamp, deadline);
        bytes32 revealed =
            Hashing.result(round, record.base, record.updatesHash, model, derivedHash, rewardsRoot, rewardsTotal);
        if (revealed != record.otherHash) revert RevealMismatch(round, revealed, record.otherHash);
        _requireRewards(round, training, payout, rewardsRoot, rewardsTotal);

        record.payout = payout.withVerdict(Verdict.Revealed).withUnpaid(rewardsTotal);
        record.stakes.rewardsTotal = rewardsTotal;
        record.rewardsRoot = rewardsRoot;

        emit ResultRevealed(round, model, derivedHash, rewardsRoot, rewardsTotal);
    }

    /// @inheritdoc ITrainingRounds
    function roundId(FederationId federation, uint64 index) external pure returns (RoundId) {
        return Hashing.round(federation, index);
    }

    function _launched(RoundId round) internal view returns (Round storage record) {
        record = _rounds[round];
        if (record.header.index() == 0) revert UnknownRound(round);
    }

    function _phase(Training memory training, Stakes memory stakes, Payout payout) internal view returns (Phase) {
        return payout.challengeEnds() == 0
            ? training.openPhase(stakes.settlementSeconds, block.timestamp)
            : payout.settledPhase(block.timestamp);
    }

    function _phase(Round storage record) internal view returns (Phase) {
        return _phase(record.training, record.stakes, record.payout);
    }

    /// @dev How clients are paid. For a settled round without a quorum against it, one slot answers.
    function _basis(Round storage record, Payout payout) internal view returns (PayBasis) {
        if (payout.challengeEnds() == 0) return RoundMath.openBasis(_phase(record));
        uint24 challengeSeconds = payout.verdict() == Verdict.Other ? record.stakes.challengeSeconds : 0;
        return payout.settledBasis(challengeSeconds, block.timestamp);
    }

    /// @dev The model that a launch would start from now.
    function _head(FederationId federation, Federation storage parent) internal view returns (bytes32) {
        return _phase(_rounds[Hashing.round(federation, parent.rounds)]).movesHead() ? parent.candidate : parent.head;
    }

    function _requireNoneLive(FederationId federation, Federation storage parent) private view {
        RoundId last = Hashing.round(federation, parent.rounds);
        Phase phase = _phase(_rounds[last]);
        if (phase.isLive()) revert RoundIsLive(last, phase);
    }

    /// @dev rewardsRoot is 0 exactly where rewardsTotal is, and the pool covers the total.
    function _requireRewards(
        RoundId round,
        Training memory training,
        Payout payout,
        bytes32 rewardsRoot,
        uint96 rewardsTotal
    ) private pure {
        uint256 pool = RoundMath.pool(payout.rate(), training.maxMillis, training.maxUpdates);
        if (rewardsTotal > pool || (rewardsTotal == 0) != (rewardsRoot == 0)) {
            revert InvalidRewards(round, rewardsRoot, rewardsTotal, pool);
        }
    }

    function _write(Round storage record, Federation storage parent, RoundTerms calldata terms) private {
        record.training = Training({
            launchedAt: uint40(block.timestamp),
            trainingSeconds: terms.trainingSeconds,
            maxMillis: terms.maxMillis,
            timeCapMillis: terms.timeCapMillis,
            maxUpdates: terms.maxUpdates,
            updates: 0,
            timeMillis: 0
        });
        record.stakes = Stakes({
            bond: terms.bond,
            rewardsTotal: 0,
            settlementSeconds: terms.settlementSeconds,
            challengeSeconds: terms.challengeSeconds,
            auditors: parent.auditors
        });
        record.payout = Payouts.open(terms.rewardPerMilli, parent.quorum);
        record.dues.attestationFee = terms.attestationFee;
    }

    function _emitLaunched(RoundId round, Round storage record, RoundTerms calldata terms, uint256 escrow) private {
        Training memory training = record.training;
        emit RoundLaunched(
            round,
            record.federation,
            record.header.index(),
            record.base,
            _admissionRoots[record.header.federation()][record.header.admission()],
            terms,
            record.termsHash,
            training.launchedAt,
            training.trainingEnds(),
            training.settlementEnds(terms.settlementSeconds),
            escrow
        );
    }

    /// @dev Takes exactly `amount` from the caller: a token that keeps some of it is refused.
    function _take(IERC20 token, uint256 amount) private {
        if (amount == 0) return;
        if (address(token).code.length == 0) revert EscrowNotReceived(token, 0, amount);
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amount);
        uint256 received = token.balanceOf(address(this)) - before;
        if (received != amount) revert EscrowNotReceived(token, received, amount);
    }
}
