// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

import {FederationId, FederationTerms, ITrainingRounds} from "../interfaces/ITrainingRounds.sol";
import {Bounds} from "../libraries/Bounds.sol";
import {Hashes} from "../libraries/Hashes.sol";
import {Federation} from "../libraries/Records.sol";

/// @title Federations: who leads them, who may take part
/// @dev No token moves here.
abstract contract Federations is ITrainingRounds {
    mapping(FederationId federation => Federation) internal _federations;

    /// @dev By Hashes.admission, which a round keeps in one word. Joins outlive a change of root and count again where
    /// the root comes back.
    mapping(bytes32 admission => bytes32 root) internal _admissionRoots;
    mapping(bytes32 admission => mapping(address client => bool)) internal _joined;

    /// @inheritdoc ITrainingRounds
    function createFederation(bytes32 salt, FederationTerms calldata terms) external returns (FederationId federation) {
        federation = Hashes.federation(msg.sender, salt);
        Federation storage record = _federations[federation];
        if (record.organization != address(0)) revert FederationExists(federation);
        Bounds.check(terms);

        record.organization = msg.sender;
        record.token = terms.token;
        record.quorum = terms.quorum;
        record.auditors = uint8(terms.auditors.length);
        record.forfeitTo = terms.forfeitTo;
        record.task = terms.task;
        record.head = terms.model;
        record.candidate = terms.model; // pays for the slot here, so that every settlement costs the same
        _admit(federation, record, terms.admissionRoot);
        for (uint256 i; i < terms.auditors.length; ++i) {
            record.isAuditor[terms.auditors[i]] = true;
        }

        emit FederationCreated(federation, msg.sender, salt, terms);
    }

    /// @inheritdoc ITrainingRounds
    function offerOrganization(FederationId federation, address offeredTo) external {
        Federation storage record = _asOrganization(federation);
        record.offeredTo = offeredTo;
        emit OrganizationOffered(federation, msg.sender, offeredTo);
    }

    /// @inheritdoc ITrainingRounds
    function acceptOrganization(FederationId federation) external {
        Federation storage record = _existing(federation);
        if (msg.sender != record.offeredTo) revert NotOffered(federation, msg.sender, record.offeredTo);
        address previous = record.organization;
        record.organization = msg.sender;
        record.offeredTo = address(0);
        emit OrganizationChanged(federation, previous, msg.sender);
    }

    /// @inheritdoc ITrainingRounds
    function setAdmission(FederationId federation, bytes32 admissionRoot) external {
        _admit(federation, _asOrganization(federation), admissionRoot);
        emit AdmissionChanged(federation, admissionRoot);
    }

    /// @inheritdoc ITrainingRounds
    function join(FederationId federation, address client, bytes32[] calldata proof) external {
        bytes32 admission = _existing(federation).admission;
        if (admission == 0) revert AdmissionIsOpen(federation);
        bytes32 root = _admissionRoots[admission];
        if (_joined[admission][client]) revert AlreadyJoined(federation, root, client);
        bytes32 leaf = Hashes.admissionLeaf(client);
        if (!MerkleProof.verifyCalldata(proof, root, leaf)) revert InvalidProof(root, leaf);
        _joined[admission][client] = true;
        emit Joined(federation, root, client);
    }

    /// @inheritdoc ITrainingRounds
    function federationId(address organization, bytes32 salt) external view returns (FederationId) {
        return Hashes.federation(organization, salt);
    }

    /// @inheritdoc ITrainingRounds
    function isAuditor(FederationId federation, address account) external view returns (bool) {
        return _federations[federation].isAuditor[account];
    }

    /// @inheritdoc ITrainingRounds
    function isJoined(FederationId federation, bytes32 admissionRoot, address client) external view returns (bool) {
        return _joined[Hashes.admission(federation, admissionRoot)][client];
    }

    function _existing(FederationId federation) internal view returns (Federation storage record) {
        record = _federations[federation];
        if (record.organization == address(0)) revert UnknownFederation(federation);
    }

    function _asOrganization(FederationId federation) internal view returns (Federation storage record) {
        record = _existing(federation);
        if (msg.sender != record.organization) revert NotOrganization(federation, msg.sender, record.organization);
    }

    function _admit(FederationId federation, Federation storage record, bytes32 root) private {
        bytes32 admission = Hashes.admission(federation, root);
        record.admission = admission;
        if (admission != 0) _admissionRoots[admission] = root;
    }
}
