// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {
    ClientClaims,
    FederationId,
    ITrainingRounds,
    PayBasis,
    Phase,
    RoundClaim,
    RoundId,
    RoundPayment
} from "../interfaces/ITrainingRounds.sol";
import {Hashing} from "../libraries/Hashing.sol";
import {Header} from "../libraries/Headers.sol";
import {Merkle} from "../libraries/Merkle.sol";
import {Page, PageSlot, Pages} from "../libraries/Pages.sol";
import {Payout} from "../libraries/Payouts.sol";
import {Attestation, Federation, Round, Training} from "../libraries/Records.sol";
import {RoundMath} from "../libraries/RoundMath.sol";
import {Words} from "../libraries/Words.sol";
import {Rounds} from "./Rounds.sol";

/// @title Payments: all money that leaves a round
/// @notice Anyone may send any of these; the money always goes to whom it is owed.
abstract contract Payments is Rounds {
    using SafeCast for uint256;
    using SafeERC20 for IERC20;
    using RoundMath for Phase;
    using Words for RoundClaim;

    /// @inheritdoc ITrainingRounds
    function claim(RoundId round, address client, uint96 amount, bytes32[] calldata proof) external nonReentrant {
        Round storage record = _rounds[round];
        Payout payout = record.payout;
        if (!payout.isFinal(block.timestamp)) _requireBasis(round, _basis(record, payout), PayBasis.Result);
        Header header = record.header;
        (uint256 millis, bool paid) = _markPaid(round, client, header.federation(), header.index());
        if (paid) revert AlreadyPaid(round, client);
        _payByResult(round, record, payout, client, millis, amount);
        _requireProof(round, record, client, amount, proof, 0, proof.length);
        emit RewardPaid(round, client, amount, PayBasis.Result);
        _send(header.token(), client, amount);
    }

    /// @inheritdoc ITrainingRounds
    function claimByTime(RoundId round, address client) external nonReentrant {
        Round storage record = _rounds[round];
        Payout payout = record.payout;
        _requireBasis(round, _basis(record, payout), PayBasis.Time);
        Header header = record.header;
        (uint256 millis, bool paid) = _markPaid(round, client, header.federation(), header.index());
        if (paid) revert AlreadyPaid(round, client);
        uint256 amount = _payByTime(record, payout, millis);
        emit RewardPaid(round, client, amount, PayBasis.Time);
        _send(header.token(), client, amount);
    }

    /// @inheritdoc ITrainingRounds
    function claimBatch(FederationId federation, ClientClaims[] calldata claims) external nonReentrant {
        Federation storage parent = _federations[federation];
        (IERC20 token, uint40 number) = (parent.token, parent.number);
        if (number == 0) revert UnknownFederation(federation);
        for (uint256 i; i < claims.length; ++i) {
            _payClient(federation, token, number, claims[i]);
        }
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
        _send(record.header.token(), auditor, fee);
    }

    /// @inheritdoc ITrainingRounds
    function withdraw(RoundId round) external nonReentrant returns (uint256 amount) {
        Round storage record = _launched(round);
        amount = _withdrawable(record);
        if (amount == 0) return 0;
        address organization = _federations[record.federation].organization;

        record.dues.returned += amount.toUint96();

        emit EscrowReturned(round, organization, amount);
        _send(record.header.token(), organization, amount);
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
        _send(record.header.token(), forfeitTo, bond);
    }

    /// @inheritdoc ITrainingRounds
    function withdrawable(RoundId round) external view returns (uint256) {
        return _withdrawable(_rounds[round]);
    }

    function _withdrawable(Round storage record) private view returns (uint256) {
        Payout payout = record.payout;
        return RoundMath.withdrawable(
            record.training, record.stakes, payout, record.dues, _phase(record), _basis(record, payout), block.timestamp
        );
    }

    function _requireBasis(RoundId round, PayBasis basis, PayBasis required) private view {
        if (basis == required) return;
        _launched(round); // asked late: a round that pays exists
        revert NotPayable(round, basis, required);
    }

    /// @dev Books that the client's update is paid; tells its milliseconds, and whether it was paid before.
    function _markPaid(RoundId round, address client, uint40 federation, uint32 index)
        private
        returns (uint256 millis, bool paid)
    {
        PageSlot storage slot = _pages[Pages.key(client, federation, index)];
        Page page = slot.page;
        (millis, paid) = Pages.read(page, index);
        if (millis == 0) revert NoUpdate(round, client);
        unchecked {
            --millis; // recorded plus one
        }
        if (!paid) slot.page = Pages.withPayment(page, index);
    }

    /// @dev Books, logs and sends all that a batch claims for one client.
    function _payClient(FederationId federation, IERC20 token, uint40 number, ClientClaims calldata claims) private {
        address client = claims.client;
        RoundClaim[] calldata items = claims.rounds;
        bytes32[] calldata siblings = claims.siblings;
        // The data of RewardsPaid as it will be logged: offset and length of the array, then one word a payment.
        uint256[] memory data = new uint256[](2 + items.length);
        uint256 count;
        uint256 due;
        uint256 first;
        // Less than 2^64 claims pay less than 2^96 and pass over at most 255 siblings each.
        unchecked {
            for (uint256 i; i < items.length; ++i) {
                RoundClaim item = items[i];
                (RoundPayment payment, uint96 amount) = _payItem(federation, number, client, item, siblings, first);
                first += item.levels();
                if (RoundPayment.unwrap(payment) == 0) continue;
                assembly ("memory-safe") {
                    mstore(add(add(data, 0x60), shl(5, count)), payment) // data[2 + count], and count <= i
                }
                ++count;
                due += amount;
            }
        }
        if (count == 0) return;
        (data[0], data[1]) = (0x20, count);
        bytes32 topic = RewardsPaid.selector;
        assembly ("memory-safe") {
            // emit RewardsPaid(federation, client, payments), which would copy them first
            log3(add(data, 0x20), shl(5, add(count, 2)), topic, federation, shr(96, shl(96, client)))
        }
        _send(token, client, due);
    }

    /// @dev Books one item of a batch, whose proof starts at sibling number `first`; 0 where it is already paid.
    function _payItem(
        FederationId federation,
        uint40 number,
        address client,
        RoundClaim item,
        bytes32[] calldata siblings,
        uint256 first
    ) private returns (RoundPayment payment, uint96 amount) {
        uint64 index = item.index();
        RoundId round = Hashing.round(federation, index);
        Round storage record = _rounds[round];
        Payout payout = record.payout;
        bool byTime;
        if (!payout.isFinal(block.timestamp)) {
            PayBasis basis = _basis(record, payout);
            byTime = basis == PayBasis.Time;
            if (!byTime) _requireBasis(round, basis, PayBasis.Result);
        }
        // A round that pays exists, so its index fits.
        (uint256 millis, bool paid) = _markPaid(round, client, number, uint32(index));
        if (paid) return (payment, 0);
        if (byTime) {
            amount = _payByTime(record, payout, millis);
        } else {
            amount = item.amount();
            _payByResult(round, record, payout, client, millis, amount);
            uint256 end = first + item.levels();
            if (end > siblings.length) revert SiblingsMissing(round, siblings.length, end);
            _requireProof(round, record, client, amount, siblings, first, end);
        }
        payment = Words.payment(index, byTime, amount);
    }

    /// @dev Books one payment by result; the caller proves, logs and sends it and has checked that it is not paid yet.
    function _payByResult(
        RoundId round,
        Round storage record,
        Payout payout,
        address client,
        uint256 millis,
        uint96 amount
    ) private {
        uint96 unpaid = payout.unpaid();
        unchecked {
            uint256 ceiling = payout.rate() * millis; // 96 + 40 bits
            if (amount > ceiling) revert AmountAboveRecord(round, client, amount, ceiling);
            if (amount > unpaid) revert AmountAboveRemaining(round, amount, unpaid);
            record.payout = payout.withUnpaid(unpaid - amount);
        }
    }

    function _requireProof(
        RoundId round,
        Round storage record,
        address client,
        uint256 amount,
        bytes32[] calldata siblings,
        uint256 first,
        uint256 end
    ) private view {
        bytes32 root = record.rewardsRoot;
        bytes32 leaf = Hashing.rewardLeaf(round, client, amount);
        // No leaf holds 0: a client could otherwise be paid off with nothing.
        if (amount == 0 || !Merkle.verify(siblings, first, end, root, leaf)) revert InvalidProof(root, leaf);
    }

    /// @dev Books one payment by time.
    function _payByTime(Round storage record, Payout payout, uint256 millis) private returns (uint96 amount) {
        Training memory training = record.training;
        // All that is owed by time is rate x timeMillis <= pool < 2^96, and this client's part is in it once.
        unchecked {
            uint256 payable_ = millis < training.timeCapMillis ? millis : training.timeCapMillis;
            amount = uint96(payout.rate() * payable_);
            uint256 unpaid = payout.byTime() ? payout.unpaid() : RoundMath.owedByTime(training, payout);
            record.payout = payout.withByTime().withUnpaid(uint96(unpaid - amount));
        }
    }

    function _send(IERC20 token, address to, uint256 amount) private {
        if (amount != 0) token.safeTransfer(to, amount);
    }
}
