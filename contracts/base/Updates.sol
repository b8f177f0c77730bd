// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {
    FederationId,
    ITrainingRounds,
    Phase,
    RoundId,
    SignedUpdate,
    SkipReason
} from "../interfaces/ITrainingRounds.sol";
import {Hashing} from "../libraries/Hashing.sol";
import {Header} from "../libraries/Headers.sol";
import {Page, PageSlot, Pages} from "../libraries/Pages.sol";
import {Round, Training} from "../libraries/Records.sol";
import {RoundMath} from "../libraries/RoundMath.sol";
import {Signatures} from "../libraries/Signatures.sol";
import {Rounds} from "./Rounds.sol";

/// @title Updates: taken from their clients, or signed by them
abstract contract Updates is Rounds, EIP712 {
    using RoundMath for Training;

    constructor() EIP712("Rondo TrainingRounds", "1") {}

    /// @inheritdoc ITrainingRounds
    function submitUpdate(RoundId round, bytes32 digest, uint40 millis) external {
        Round storage record = _rounds[round];
        Training memory training = record.training;
        _requireTraining(round, record, training);
        Header header = record.header;
        PageSlot storage slot = _pages[Pages.key(msg.sender, header.federation(), header.index())];
        Page page = slot.page;
        _requireTakeable(round, header, training, page, msg.sender, digest, millis);
        slot.page = Pages.withUpdate(page, header.index(), millis);
        _count(training, millis);
        emit UpdateSubmitted(round, msg.sender, digest, millis);
        _store(round, record, training, Hashing.next(record.updatesHash, msg.sender, digest, millis));
    }

    /// @inheritdoc ITrainingRounds
    function submitUpdateFor(RoundId round, SignedUpdate calldata update) external {
        Round storage record = _rounds[round];
        Training memory training = record.training;
        _requireTraining(round, record, training);
        Header header = record.header;
        (address client, bytes32 digest, uint40 millis) = (update.client, update.digest, update.millis);
        PageSlot storage slot = _pages[Pages.key(client, header.federation(), header.index())];
        Page page = slot.page;
        _requireTakeable(round, header, training, page, client, digest, millis);
        bytes32 signed = _typedDataHash(record.federation, round, record.termsHash, client, digest, millis);
        if (!Signatures.isValid(client, signed, update.signature)) revert InvalidSignature(round, client);
        slot.page = Pages.withUpdate(page, header.index(), millis);
        _count(training, millis);
        emit UpdateSubmitted(round, client, digest, millis);
        _store(round, record, training, Hashing.next(record.updatesHash, client, digest, millis));
    }

    /// @inheritdoc ITrainingRounds
    function submitUpdates(RoundId round, SignedUpdate[] calldata updates) external {
        Round storage record = _rounds[round];
        Training memory training = record.training;
        _requireTraining(round, record, training);
        Header header = record.header;
        FederationId federation = record.federation;
        bytes32 termsHash = record.termsHash;
        bytes32 updatesHash = record.updatesHash;
        for (uint256 i; i < updates.length; ++i) {
            SignedUpdate calldata update = updates[i];
            (address client, bytes32 digest, uint40 millis) = (update.client, update.digest, update.millis);
            PageSlot storage slot = _pages[Pages.key(client, header.federation(), header.index())];
            Page page = slot.page;
            (bool refused, SkipReason reason) = _refusal(header, training, page, client, digest, millis);
            if (!refused) {
                bytes32 signed = _typedDataHash(federation, round, termsHash, client, digest, millis);
                (refused, reason) = (!Signatures.isByKey(client, signed, update.signature), SkipReason.InvalidSignature);
            }
            if (refused) {
                emit UpdateSkipped(round, client, digest, reason);
                continue;
            }
            slot.page = Pages.withUpdate(page, header.index(), millis);
            _count(training, millis);
            emit UpdateSubmitted(round, client, digest, millis);
            updatesHash = Hashing.next(updatesHash, client, digest, millis);
        }
        _store(round, record, training, updatesHash);
    }

    /// @inheritdoc ITrainingRounds
    function updateTypedDataHash(RoundId round, address client, bytes32 digest, uint40 millis)
        external
        view
        returns (bytes32)
    {
        Round storage record = _launched(round);
        return _typedDataHash(record.federation, round, record.termsHash, client, digest, millis);
    }

    /// @dev RoundFull where nothing but the count is in the way, WrongPhase where time is.
    function _requireTraining(RoundId round, Round storage record, Training memory training) private view {
        if (training.launchedAt == 0) revert UnknownRound(round);
        if (block.timestamp >= training.trainingEnds()) revert WrongPhase(round, _phase(record), Phase.Training);
        if (training.updates == training.maxUpdates) revert RoundFull(round, training.maxUpdates);
    }

    /// @dev Why an update cannot be taken, its signature apart; `page` is the client's.
    function _refusal(Header header, Training memory training, Page page, address client, bytes32 digest, uint40 millis)
        private
        view
        returns (bool refused, SkipReason reason)
    {
        if (training.updates == training.maxUpdates) return (true, SkipReason.RoundFull);
        (uint256 millisPlusOne,) = Pages.read(page, header.index());
        if (millisPlusOne != 0) return (true, SkipReason.AlreadySubmitted);
        if (digest == 0) return (true, SkipReason.ZeroDigest);
        if (millis > _mostMillis(training)) return (true, SkipReason.TooManyMillis);
        if (header.admission() != 0 && !_joined[header.federation()][header.admission()][client]) {
            return (true, SkipReason.NotJoined);
        }
    }

    /// @dev The same as errors. RoundFull was asked before.
    function _requireTakeable(
        RoundId round,
        Header header,
        Training memory training,
        Page page,
        address client,
        bytes32 digest,
        uint40 millis
    ) private view {
        (bool refused, SkipReason reason) = _refusal(header, training, page, client, digest, millis);
        if (!refused) return;
        if (reason == SkipReason.AlreadySubmitted) revert AlreadySubmitted(round, client);
        if (reason == SkipReason.ZeroDigest) revert ZeroDigest(round);
        if (reason == SkipReason.TooManyMillis) revert TooManyMillis(round, millis, _mostMillis(training));
        revert NotJoined(_rounds[round].federation, _admissionRoots[header.federation()][header.admission()], client);
    }

    /// @dev Time cannot have been recorded before the launch.
    function _mostMillis(Training memory training) private view returns (uint256) {
        unchecked {
            uint256 elapsed = 1000 * (block.timestamp - training.launchedAt);
            return elapsed < training.maxMillis ? elapsed : training.maxMillis;
        }
    }

    /// @dev Counts an update in `training`, for `_store`.
    function _count(Training memory training, uint40 millis) private pure {
        // At most maxUpdates updates, and maxUpdates x timeCapMillis fits (Term.TimeCapTotal).
        unchecked {
            ++training.updates;
            training.timeMillis += millis < training.timeCapMillis ? millis : training.timeCapMillis;
        }
    }

    function _store(RoundId round, Round storage record, Training memory training, bytes32 updatesHash) private {
        record.training.updates = training.updates;
        record.training.timeMillis = training.timeMillis;
        record.updatesHash = updatesHash;
        if (training.updates == training.maxUpdates) emit TrainingClosed(round, uint40(block.timestamp));
    }

    function _typedDataHash(
        FederationId federation,
        RoundId round,
        bytes32 termsHash,
        address client,
        bytes32 digest,
        uint40 millis
    ) private view returns (bytes32) {
        return _hashTypedDataV4(Hashing.update(federation, round, termsHash, client, digest, millis));
    }
}
