// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

import {Claim, ITrainingRounds, PayBasis, Phase, RoundId} from "../interfaces/ITrainingRounds.sol";
import {Hashes} from "../libraries/Hashes.sol";
import {Attestation, Payout, Round, Training, Update} from "../libraries/Records.sol";
import {RoundMath} from "../libraries/RoundMath.sol";
import {Rounds} from "./Rounds.sol";

/// @title Payments: all money that leaves a round
/// @notice Anyone may send any of these; the money always goes to whom it is owed.
abstract contract Payments is Rounds {
    using SafeERC20 for IERC20;
    using RoundMath for Phase;

    /// @inheritdoc ITrainingRounds
    function claim(RoundId round, address client, uint96 amount, bytes32[] calldata proof) external nonReentrant {
        Round storage record = _launched(round);
        PayBasis basis = _basis(record);
        if (basis != PayBasis.Result) revert NotPayable(round, basis, PayBasis.Result);
        Update memory update = record.updates[client];
        if (update.paid) revert AlreadyPaid(round, client);
        _payByResult(round, record, update, client, amount, proof);
        _send(record.token, client, amount);
    }

    /// @inheritdoc ITrainingRounds
    function claimByTime(RoundId round, address client) external nonReentrant {
        Round storage record = _launched(round);
        PayBasis basis = _basis(record);
        if (basis != PayBasis.Time) revert NotPayable(round, basis, PayBasis.Time);
        Update memory update = record.updates[client];
        if (update.paid) revert AlreadyPaid(round, client);
        _send(record.token, client, _payByTime(round, record, update, client));
    }

    /// @inheritdoc ITrainingRounds
    function claimBatch(Claim[] calldata claims) external nonReentrant {
        IERC20 token;
        address client;
        uint256 due;
        for (uint256 i; i < claims.length; ++i) {
            Claim calldata item = claims[i];
            Round storage record = _launched(item.round);
            Update memory update = record.updates[item.client];
            if (update.paid) continue;
            if (address(record.token) != address(token) || item.client != client) {
                _send(token, client, due);
                (token, client, due) = (record.token, item.client, 0);
            }
            PayBasis basis = _basis(record);
            if (basis == PayBasis.Result) {
                _payByResult(item.round, record, update, client, item.amount, item.proof);
                due += item.amount;
            } else if (basis == PayBasis.Time) {
                due += _payByTime(item.round, record, update, client);
            } else {
                revert NotPayable(item.round, basis, PayBasis.Result);
            }
        }
        _send(token, client, due);
    }

    /// @inheritdoc ITrainingRounds
    function claimAttestationFee(RoundId round, address auditor) external nonReentrant {
        Round storage record = _launched(round);
        Attestation storage attestation = record.attestations[auditor];
        if (!attestation.attested) revert NotAttested(round, auditor);
        if (attestation.feePaid) revert FeeAlreadyPaid(round, auditor);
        uint256 fee = record.dues.attestationFee;

        attestation.feePaid = true;
        ++record.dues.feesPaid;

        emit AttestationFeePaid(round, auditor, fee);
        _send(record.token, auditor, fee);
    }

    /// @inheritdoc ITrainingRounds
    function withdraw(RoundId round) external nonReentrant returns (uint256 amount) {
        Round storage record = _launched(round);
        amount = _withdrawable(record);
        if (amount == 0) return 0;
        address organization = _federations[record.federation].organization;

        record.dues.returned += uint96(amount); // at most the escrow, which a launch keeps below 2^96

        emit EscrowReturned(round, organization, amount);
        _send(record.token, organization, amount);
    }

    /// @inheritdoc ITrainingRounds
    function forfeit(RoundId round) external nonReentrant {
        Round storage record = _launched(round);
        Phase phase = _phase(record);
        if (!phase.losesBond()) revert NothingForfeited(round, phase);
        if (record.dues.forfeited) revert AlreadyForfeited(round);
        uint256 bond = record.stakes.bond;
        address forfeitTo = _federations[record.federation].forfeitTo;

        record.dues.forfeited = true;

        emit BondForfeited(round, forfeitTo, bond);
        _send(record.token, forfeitTo, bond);
    }

    /// @inheritdoc ITrainingRounds
    function withdrawable(RoundId round) external view returns (uint256) {
        return _withdrawable(_rounds[round]);
    }

    function _withdrawable(Round storage record) private view returns (uint256) {
        return RoundMath.withdrawable(
            record.training, record.stakes, record.payout, record.dues, _phase(record), block.timestamp
        );
    }

    /// @dev For a settled round without a quorum against it, one slot answers.
    function _basis(Round storage record) internal view returns (PayBasis) {
        Payout memory payout = record.payout;
        if (payout.challengeEnds == 0) return RoundMath.basis(_phase(record), payout, 0, block.timestamp);
        Phase phase = RoundMath.settledPhase(payout, block.timestamp);
        uint24 challengeSeconds = phase == Phase.Rejected ? record.stakes.challengeSeconds : 0;
        return RoundMath.basis(phase, payout, challengeSeconds, block.timestamp);
    }

    /// @dev Checks, books and logs one payment by result; the caller sends it and has checked that it is not paid yet.
    function _payByResult(
        RoundId round,
        Round storage record,
        Update memory update,
        address client,
        uint96 amount,
        bytes32[] calldata proof
    ) private {
        if (!update.submitted) revert NoUpdate(round, client);
        Payout memory payout = record.payout;
        uint256 ceiling = uint256(payout.rate) * update.millis;
        if (amount > ceiling) revert AmountAboveRecord(round, client, amount, ceiling);
        if (amount > payout.unpaid) revert AmountAboveRemaining(round, amount, payout.unpaid);
        bytes32 root = record.rewardsRoot;
        bytes32 leaf = Hashes.rewardLeaf(round, client, amount);
        // No leaf holds 0: a client could otherwise be paid off with nothing.
        if (amount == 0 || !MerkleProof.verifyCalldata(proof, root, leaf)) revert InvalidProof(root, leaf);

        record.updates[client].paid = true;
        record.payout.unpaid = payout.unpaid - amount;

        emit RewardPaid(round, client, amount, PayBasis.Result);
    }

    /// @dev The same by time.
    function _payByTime(RoundId round, Round storage record, Update memory update, address client)
        private
        returns (uint96 amount)
    {
        if (!update.submitted) revert NoUpdate(round, client);
        Training memory training = record.training;
        Payout memory payout = record.payout;
        uint40 millis = update.millis < training.timeCapMillis ? update.millis : training.timeCapMillis;
        amount = payout.rate * millis; // checked; at most the escrow, which a launch keeps below 2^96

        record.updates[client].paid = true;
        if (!payout.byTime) {
            payout.byTime = true;
            payout.unpaid = uint96(RoundMath.owedByTime(training, payout)); // at most the escrow
        }
        payout.unpaid -= amount;
        record.payout = payout;

        emit RewardPaid(round, client, amount, PayBasis.Time);
    }

    function _send(IERC20 token, address to, uint256 amount) private {
        if (amount != 0) token.safeTransfer(to, amount);
    }
}
