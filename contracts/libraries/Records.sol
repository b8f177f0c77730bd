// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {FederationId} from "../interfaces/ITrainingRounds.sol";

/// @dev What quorum a settled round has, if any.
enum Verdict {
    None, // no hash has a quorum
    Agreed, // a quorum agreed on the settled result
    Other, // a quorum agreed on another result, not yet revealed
    Revealed // that other result is revealed: rewardsRoot and rewardsTotal are its own
}

/// @dev The base model of the next round is `candidate` where the last round moved the head, else `head`. A settlement
/// overwrites `candidate`, so its slot is never fresh; the next launch folds it into `head`.
struct Federation {
    address organization; // zero: no such federation
    address offeredTo;
    IERC20 token;
    uint64 rounds; // launched so far: the index of the last
    uint8 quorum;
    uint8 auditors;
    address forfeitTo;
    uint32 admission; // number of the current root; 0 is open
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

/// @dev One slot: all that a claim by result reads and writes of its round but the root and the token.
struct Payout {
    uint40 challengeEnds; // 0: not settled
    uint96 rate; // base units per millisecond
    uint96 unpaid; // of rewardsTotal; once byTime, of rate x timeMillis
    uint8 quorum;
    Verdict verdict;
    bool byTime; // a client was paid by time
}

/// @dev One slot.
struct Dues {
    uint96 attestationFee;
    uint96 returned;
    uint8 attestations;
    uint8 feesPaid;
    bool forfeited;
}

/// @dev One slot. The token is the federation's: a payment then need not ask its round for it.
struct Update {
    IERC20 token;
    uint48 millisPlusOne; // 0: no update
    bool paid;
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
    IERC20 token; // the federation's
    uint64 index;
    uint32 admission; // the federation's at launch
    FederationId federation;
    bytes32 base;
    bytes32 termsHash;
    bytes32 resultHash;
    bytes32 otherHash; // the quorum's, where it is not resultHash
    mapping(address client => Update) updates;
    mapping(address auditor => Attestation) attestations;
    mapping(bytes32 resultHash => uint8) votes;
}
