// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {FederationId} from "../interfaces/ITrainingRounds.sol";
import {Header} from "./Headers.sol";
import {Payout} from "./Payouts.sol";

/// @dev The base model of the next round is `candidate` where the last round moved the head, else `head`. A settlement
/// overwrites `candidate`, so its slot is never fresh; the next launch folds it into `head`.
struct Federation {
    address organization; // zero: no such federation
    address offeredTo;
    IERC20 token;
    uint40 number; // this federation's, short enough to share a slot; the first is 1
    uint32 rounds; // launched so far: the index of the last
    uint8 quorum;
    uint8 auditors;
    address forfeitTo;
    uint24 admission; // number of the current root; 0 is open
    uint24 admissions; // roots numbered so far
    bytes32 task;
    bytes32 head;
    bytes32 candidate;
    mapping(address account => bool) isAuditor;
}

/// @dev One slot: all that an update reads and writes of its round but the rolling hash.
struct Training {
    uint40 launchedAt; // 0: no such round
    uint24 trainingSeconds;
    uint40 maxMillis;
    uint40 timeCapMillis;
    uint24 maxUpdates;
    uint24 updates;
    uint56 timeMillis; // sum of min(recorded, timeCapMillis); fits by Term.TimeCapTotal
}

/// @dev One slot.
struct Stakes {
    uint96 bond;
    uint96 rewardsTotal; // of the settled result, from its reveal on of the auditors' result
    uint24 settlementSeconds;
    uint24 challengeSeconds;
    uint8 auditors;
}

/// @dev One slot.
struct Dues {
    uint96 attestationFee;
    uint96 returned;
    uint8 attestations;
    uint8 feesPaid;
    bool forfeited;
}

/// @dev One slot.
struct Attestation {
    bool attested;
    bool feePaid;
}

/// @dev Slots are grouped by who needs them together. The settled model is not kept here but in the federation, where
/// one slot serves all rounds in turn.
struct Round {
    Training training;
    bytes32 updatesHash;
    Stakes stakes;
    Payout payout;
    bytes32 rewardsRoot;
    Dues dues;
    Header header;
    FederationId federation;
    bytes32 base;
    bytes32 termsHash;
    bytes32 resultHash;
    bytes32 otherHash; // the quorum's, where it is not resultHash
    mapping(address auditor => Attestation) attestations;
    mapping(bytes32 resultHash => uint8) votes;
}
