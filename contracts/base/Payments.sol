// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {Claim, ITrainingRounds, PayBasis, Phase, RoundId} from "../interfaces/ITrainingRounds.sol";
import {Hashing} from "../libraries/Hashing.sol";
import {Merkle} from "../libraries/Merkle.sol";
import {Attestation, Payout, Round, Training, Update} from "../libraries/Records.sol";
import {RoundMath} from "../libraries/RoundMath.sol";
import {Rounds} from "./Rounds.sol";

/// @title Payments: all money that leaves a round
/// @notice Anyone may send any of these; the money always goes to whom it is owed.
abstract contract Payments is Rounds {
    using SafeCast for uint256;
    using SafeERC20 for IERC20;
    using RoundMath for Phase;

    /// @inheritdoc ITrainingRounds
    function claim(RoundId round, address client, uint96 amount, bytes32[] calldata proof) external nonReentrant {
        Round storage record = _rounds[round];
        Payout memory payout = record.payout;
        _requireBasis(round, _basis(record, payout), PayBasis.Result);
        Update storage update = record.updates[client];
        Update memory found = update;
        _requireSubmitted(round, found, client);
        if (found.paid) revert AlreadyPaid(round, client);
        _payByResult(round, record, payout, update, client, found.millisPlusOne - 1, amount, proof);
        _send(found.token, client, amount);
    }

    /// @inheritdoc ITrainingRounds
    function claimByTime(RoundId round, address client) external nonReentrant {
        Round storage record = _rounds[round];
        Payout memory payout = record.payout;
        _requireBasis(round, _basis(record, payout), PayBasis.Time);
        Update storage update = record.updates[client];
        Update memory found = update;
        _requireSubmitted(round, found, client);
        if (found.paid) revert AlreadyPaid(round, client);
        _send(found.token, client, _payByTime(round, record, payout, update, client, found.millisPlusOne - 1));
    }

    /// @inheritdoc ITrainingRounds
    function claimBatch(Claim[] calldata claims) external nonReentrant {
        IERC20 token;
        address client;
        uint256 due;
        for (uint256 i; i < claims.length; ++i) {
            (IERC20 paying, address payee, uint256 amount) = _payItem(claims[i]);
            if (payee != client || address(paying) != address(token)) {
                _send(token, client, due);
                (token, client, due) = (paying, payee, 0);
            }
            due += amount;
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

        record.dues.returned += amount.toUint96();

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
        Payout memory payout = record.payout;
        return RoundMath.withdrawable(
            record.training, record.stakes, payout, record.dues, _phase(record), _basis(record, payout), block.timestamp
        );
    }

    function _requireBasis(RoundId round, PayBasis basis, PayBasis required) private view {
        if (basis == required) return;
        _launched(round); // asked late: a round that pays exists
        revert NotPayable(round, basis, required);
    }

    function _requireSubmitted(RoundId round, Update memory update, address client) private pure {
        if (update.millisPlusOne == 0) revert NoUpdate(round, client);
    }

    /// @dev Books one item of a batch; `amount` is 0 where it is already paid.
    function _payItem(Claim calldata item) private returns (IERC20 token, address client, uint256 amount) {
        RoundId round = item.round;
        client = item.client;
        Round storage record = _rounds[round];
        Payout memory payout = record.payout;
        PayBasis basis = _basis(record, payout);
        if (basis != PayBasis.Time) _requireBasis(round, basis, PayBasis.Result);
        Update storage update = record.updates[client];
        Update memory found = update;
        _requireSubmitted(round, found, client);
        token = found.token;
        if (found.paid) return (token, client, 0);
        uint256 millis = found.millisPlusOne - 1;
        if (basis == PayBasis.Time) {
            amount = _payByTime(round, record, payout, update, client, millis);
        } else {
            amount = item.amount;
            _payByResult(round, record, payout, update, client, millis, item.amount, item.proof);
        }
    }

    /// @dev Checks, books and logs one payment by result; the caller sends it and has checked that it is not paid yet.
    function _payByResult(
        RoundId round,
        Round storage record,
        Payout memory payout,
        Update storage update,
        address client,
        uint256 millis,
        uint96 amount,
        bytes32[] calldata proof
    ) private {
        uint256 ceiling = payout.rate * millis;
        if (amount > ceiling) revert AmountAboveRecord(round, client, amount, ceiling);
        if (amount > payout.unpaid) revert AmountAboveRemaining(round, amount, payout.unpaid);
        bytes32 root = record.rewardsRoot;
        bytes32 leaf = Hashing.rewardLeaf(round, client, amount);
        // No leaf holds 0: a client could otherwise be paid off with nothing.
        if (amount == 0 || !Merkle.verify(proof, root, leaf)) revert InvalidProof(root, leaf);

        update.paid = true;
        record.payout.unpaid = payout.unpaid - amount;

        emit RewardPaid(round, client, amount, PayBasis.Result);
    }

    /// @dev The same by time.
    function _payByTime(
        RoundId round,
        Round storage record,
        Payout memory payout,
        Update storage update,
        address client,
        uint256 millis
    ) private returns (uint96 amount) {
        Training memory training = record.training;
        amount = (payout.rate * (millis < training.timeCapMillis ? millis : training.timeCapMillis)).toUint96();
        uint256 unpaid = payout.byTime ? payout.unpaid : RoundMath.owedByTime(training, payout);

        update.paid = true;
        record.payout.byTime = true;
        record.payout.unpaid = (unpaid - amount).toUint96();

        emit RewardPaid(round, client, amount, PayBasis.Time);
    }

    function _send(IERC20 token, address to, uint256 amount) private {
        if (amount != 0) token.safeTransfer(to, amount);
    }
}
