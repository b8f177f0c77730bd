// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FederationId, FederationTerms, ITrainingRounds} from "../interfaces/ITrainingRounds.sol";
import {Bounds} from "../libraries/Bounds.sol";
import {Hashing} from "../libraries/Hashing.sol";
import {Merkle} from "../libraries/Merkle.sol";
import {Federation} from "../libraries/Records.sol";

/// @title Federations: who leads them, who may take part
/// @dev No token moves here.
abstract contract Federations is ITrainingRounds {
    mapping(FederationId federation => Federation) internal _federations;

    /// @dev Federations, and the roots of each, have numbers short enough to share a round's slot; admission 0 is open.
    /// Joins outlive a change of root and count again where the root comes back. What is shared cannot run out: 2^40
    /// federations cost 10^17 gas; 2^24 roots are the federation's own to spend.
    uint40 private _lastFederation;
    mapping(FederationId federation => mapping(bytes32 root => uint24 admission)) private _admissions;
    mapping(uint40 federation => mapping(uint24 admission => bytes32 root)) internal _admissionRoots;
    mapping(uint40 federation => mapping(uint24 admission => mapping(address client => bool))) internal _joined;

    /// @inheritdoc ITrainingRounds
    function createFederation(bytes32 salt, FederationTerms calldata terms) external returns (FederationId federation) {
        federation = Hashing.federation(msg.sender, salt);
        Federation storage record = _federations[federation];
        if (record.organization != address(0)) revert FederationExists(federation);
        Bounds.check(terms);

        record.organization = msg.sender;
        record.token = terms.token;
        record.number = ++_lastFederation;
        record.quorum = terms.quorum;
        record.auditors = uint8(terms.auditors.length);
        record.forfeitTo = terms.forfeitTo;
        record.task = terms.task;
        record.head = terms.model;
        record.candidate = terms.model; // pays for the slot here, so that every settlement costs the same
        record.admission = _numbered(federation, record, terms.admissionRoot);
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
        Federation storage record = _asOrganization(federation);
        record.admission = _numbered(federation, record, admissionRoot);
        emit AdmissionChanged(federation, admissionRoot);
    }

    /// @inheritdoc ITrainingRounds
    function join(FederationId federation, address client, bytes32[] calldata proof) external {
        Federation storage record = _existing(federation);
        (uint40 number, uint24 admission) = (record.number, record.admission);
        if (admission == 0) revert AdmissionIsOpen(federation);
        bytes32 root = _admissionRoots[number][admission];
        if (_joined[number][admission][client]) revert AlreadyJoined(federation, root, client);
        bytes32 leaf = Hashing.admissionLeaf(client);
        if (!Merkle.verify(proof, root, leaf)) revert InvalidProof(root, leaf);
        _joined[number][admission][client] = true;
        emit Joined(federation, root, client);
    }

    /// @inheritdoc ITrainingRounds
    function federationId(address organization, bytes32 salt) external view returns (FederationId) {
        return Hashing.federation(organization, salt);
    }

    /// @inheritdoc ITrainingRounds
    function isAuditor(FederationId federation, address account) external view returns (bool) {
        return _federations[federation].isAuditor[account];
    }

    /// @inheritdoc ITrainingRounds
    function isJoined(FederationId federation, bytes32 admissionRoot, address client) external view returns (bool) {
        return _joined[_federations[federation].number][_admissions[federation][admissionRoot]][client];
    }

    function _existing(FederationId federation) internal view returns (Federation storage record) {
        record = _federations[federation];
        if (record.organization == address(0)) revert UnknownFederation(federation);
    }

    function _asOrganization(FederationId federation) internal view returns (Federation storage record) {
        record = _existing(federation);
        if (msg.sender != record.organization) revert NotOrganization(federation, msg.sender, record.organization);
    }

    function _numbered(FederationId federation, Federation storage record, bytes32 root)
        private
        returns (uint24 admission)
    {
        if (root == 0) return 0;
        admission = _admissions[federation][root];
        if (admission != 0) return admission;
        admission = ++record.admissions;
        _admissions[federation][root] = admission;
        _admissionRoots[record.number][admission] = root;
    }
}
