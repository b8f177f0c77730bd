// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @dev keccak256(abi.encode(chain id, contract, creating organization, salt)).
type FederationId is bytes32;

/// @dev keccak256(abi.encode(federation, uint64 index)); the first round of a federation has index 1.
type RoundId is bytes32;

/// @notice What a round is in. Follows from time and counters alone: nobody turns a crank.
enum Phase {
    None, // no such round
    Training, // updates are taken; left by trainingEnds or by the maxUpdates-th update
    Settlement, // waits for `settle`; left by it or by settlementEnds
    Challenge, // settled; auditors attest; left by a quorum or by challengeEnds
    Void, // terminal: no update came; everything returns
    Final, // terminal: a quorum agreed, or unaudited and the challenge is over; the head moves, pay is by result
    Unconfirmed, // terminal: audited, no quorum in time; the head moves, pay is by time
    Rejected, // terminal: a quorum agreed on another result; the head stays, pay is by that result once revealed, by time if never
    Abandoned // terminal: updates but no settlement in time; the head stays, pay is by time
}

/// @notice How the clients of a round are paid.
enum PayBasis {
    Undecided, // not known yet
    Nothing, // nothing is owed
    Result, // Merkle claims against the rewards root
    Time // rate x min(recorded milliseconds, timeCapMillis)
}

/// @notice Names a term in `TermOutOfRange`.
enum Term {
    MaxMillis,
    TimeCapMillis,
    MaxUpdates,
    TrainingSeconds,
    SettlementSeconds,
    ChallengeSeconds,
    TimeCapTotal
}

/// @notice Why `submitUpdates` passed over one signed update.
enum SkipReason {
    AlreadySubmitted,
    TooManyMillis,
    NotJoined,
    ZeroDigest,
    InvalidSignature,
    RoundFull
}

/// @notice The fixed terms of a federation. Auditors, quorum and forfeitTo never change.
/// @param token The ERC-20 that pays rewards, bonds and fees.
/// @param task Digest of the task directory.
/// @param model Digest of the first model directory, the head of the federation.
/// @param forfeitTo Receives forfeited bonds; not zero.
/// @param quorum Attestations that decide; 0 < quorum <= N and 2 * quorum > N, or 0 with no auditors (unaudited).
/// @param admissionRoot Merkle root over admitted clients, leaf keccak256(keccak256(abi.encode(client))); 0 is open admission.
/// @param auditors At most 32 addresses, strictly ascending.
struct FederationTerms {
    IERC20 token;
    bytes32 task;
    bytes32 model;
    address forfeitTo;
    uint8 quorum;
    bytes32 admissionRoot;
    address[] auditors;
}

/// @notice The terms of one round; windows are half-open [start, end).
/// @param rewardPerMilli Base units of the token per credited compute millisecond.
/// @param maxMillis Most milliseconds one client can record.
/// @param timeCapMillis Most milliseconds paid where pay is by time; at most maxMillis.
/// @param maxUpdates Most updates; the last of them closes training.
/// @param trainingSeconds 1 .. 90 days. @param settlementSeconds 1 .. 30 days.
/// @param challengeSeconds 0 .. 30 days; greater than 0 where the federation is audited.
/// @param bond Base units the organization loses where a round is Rejected or Abandoned.
/// @param attestationFee Base units paid to each auditor that attests in time.
/// @param consolidate Whether this round renews the importance and the anchor (EWC).
struct RoundTerms {
    uint96 rewardPerMilli;
    uint40 maxMillis;
    uint40 timeCapMillis;
    uint24 maxUpdates;
    uint24 trainingSeconds;
    uint24 settlementSeconds;
    uint24 challengeSeconds;
    uint96 bond;
    uint96 attestationFee;
    bool consolidate;
}

/// @notice The organization's statement of a round's result.
/// @param updatesHash The rolling hash of all updates, against settling on a stale view.
/// @param model Digest of the resulting model; the base's where nothing was merged.
/// @param report Digest of the report directory; said in the event only.
/// @param derivedHash sha-256 of the report's derived.json.
/// @param rewardsRoot Merkle root of the rewards; 0 exactly where rewardsTotal is 0.
/// @param rewardsTotal Base units owed to clients in all; at most rate x maxMillis x maxUpdates.
struct Settlement {
    bytes32 updatesHash;
    bytes32 model;
    bytes32 report;
    bytes32 derivedHash;
    bytes32 rewardsRoot;
    uint96 rewardsTotal;
}

/// @notice An update whose client signed it, so that another account may send it.
/// @param signature Over EIP-712 Update(bytes32 federation,bytes32 round,bytes32 terms,address client,bytes32 digest,uint40 millis).
struct SignedUpdate {
    address client;
    bytes32 digest;
    uint40 millis;
    bytes signature;
}

/// @notice A claim for one round, in one word; from the lowest bit: amount (96; base units, by result only), levels (8;
/// how many of the siblings are its proof, 0 where pay is by time), index (64) of the round within the federation. What
/// lies above is not read.
type RoundClaim is uint256;

/// @notice What was paid for one round, in one word; from the lowest bit: amount (96; base units), basis (8; a PayBasis),
/// index (64) of the round within the federation.
type RoundPayment is uint256;

/// @notice What one client claims in a batch, and gets in one transfer.
/// @param siblings The proofs of all its claims by result, one after another in the order of the claims.
struct ClientClaims {
    address client;
    RoundClaim[] rounds;
    bytes32[] siblings;
}

struct FederationView {
    address organization;
    address offeredTo;
    IERC20 token;
    bytes32 task;
    bytes32 head;
    bytes32 admissionRoot;
    address forfeitTo;
    uint8 quorum;
    uint8 auditors;
    uint64 rounds;
}

/// @dev Times are chain seconds; challengeEnds and revealEnds are 0 until settled.
struct RoundView {
    FederationId federation;
    uint64 index;
    Phase phase;
    PayBasis basis;
    bytes32 base;
    bytes32 termsHash;
    bytes32 admissionRoot;
    uint40 launchedAt;
    uint40 trainingEnds;
    uint40 settlementEnds;
    uint40 challengeEnds;
    uint40 revealEnds;
    uint24 updates;
    bytes32 updatesHash;
    uint256 timeMillis; // sum of min(recorded, timeCapMillis)
    bytes32 resultHash; // 0 until settled
    bytes32 quorumHash; // 0 until a quorum agreed
    bytes32 rewardsRoot; // the settled result's; from the reveal on the auditors'
    uint96 rewardsTotal; // likewise
    uint8 attestations;
    bool revealed;
    uint256 escrowed;
    uint256 paidClients;
    uint256 paidAuditors;
    uint256 returned;
    uint256 forfeited;
}

/// @title Rounds of federated training: their order, their escrow, their results and their pay
/// @notice One immutable contract without owner, proxy or upgrade. Every round is an island: its own escrow, result and
/// payments; nothing that one round or federation does can touch another's money. Nothing here loops over clients
/// except over a caller's own batch. Events are the audit log: state = replay(logs, now).
/// @dev WARNING: solvency is promised for tokens whose balances change only by transfer. While a token's transfer runs,
/// views show the books as they will be after it. All hashes use abi.encode.
interface ITrainingRounds {
    // --- events: every term, absolute times, full values ---

    event FederationCreated(
        FederationId indexed federation, address indexed organization, bytes32 salt, FederationTerms terms
    );
    event OrganizationOffered(FederationId indexed federation, address indexed organization, address indexed offeredTo);
    event OrganizationChanged(FederationId indexed federation, address indexed previous, address indexed organization);
    event AdmissionChanged(FederationId indexed federation, bytes32 admissionRoot);
    event Joined(FederationId indexed federation, bytes32 indexed admissionRoot, address indexed client);
    event RoundLaunched(
        RoundId indexed round,
        FederationId indexed federation,
        uint64 index,
        bytes32 base,
        bytes32 admissionRoot,
        RoundTerms terms,
        bytes32 termsHash,
        uint40 launchedAt,
        uint40 trainingEnds,
        uint40 settlementEnds,
        uint256 escrow
    );
    event UpdateSubmitted(RoundId indexed round, address indexed client, bytes32 digest, uint40 millis);
    event UpdateSkipped(RoundId indexed round, address indexed client, bytes32 digest, SkipReason reason);
    /// @notice The maxUpdates-th update came at `closedAt`; otherwise training closes at trainingEnds without an event.
    event TrainingClosed(RoundId indexed round, uint40 closedAt);
    event RoundSettled(
        RoundId indexed round, Settlement settlement, bytes32 resultHash, uint40 settledAt, uint40 challengeEnds
    );
    event Attested(RoundId indexed round, address indexed auditor, bytes32 resultHash, bytes32 witness);
    event QuorumReached(RoundId indexed round, bytes32 resultHash);
    event ResultRevealed(
        RoundId indexed round, bytes32 model, bytes32 derivedHash, bytes32 rewardsRoot, uint96 rewardsTotal
    );
    event RewardPaid(RoundId indexed round, address indexed client, uint256 amount, PayBasis basis);
    /// @notice The same for each round that one transfer of a batch pays for.
    event RewardsPaid(FederationId indexed federation, address indexed client, RoundPayment[] payments);
    event AttestationFeePaid(RoundId indexed round, address indexed auditor, uint256 amount);
    event EscrowReturned(RoundId indexed round, address indexed to, uint256 amount);
    event BondForfeited(RoundId indexed round, address indexed to, uint256 amount);

    // --- errors: subject, actual, required ---

    error UnknownFederation(FederationId federation);
    error FederationExists(FederationId federation);
    error ZeroForfeitTo();
    error ZeroModel();
    error InvalidQuorum(uint256 quorum, uint256 auditors);
    error AuditorsNotAscending(uint256 position, address auditor);
    error NotOrganization(FederationId federation, address actual, address required);
    error NotOffered(FederationId federation, address actual, address required);
    error AdmissionIsOpen(FederationId federation);
    error AlreadyJoined(FederationId federation, bytes32 admissionRoot, address client);
    error NotJoined(FederationId federation, bytes32 admissionRoot, address client);
    error InvalidProof(bytes32 root, bytes32 leaf);
    error SiblingsMissing(RoundId round, uint256 actual, uint256 required);

    error UnknownRound(RoundId round);
    error RoundIsLive(RoundId round, Phase phase);
    error StaleBase(FederationId federation, bytes32 actual, bytes32 required);
    error TermOutOfRange(Term term, uint256 actual, uint256 minimum, uint256 maximum);
    error EscrowNotReceived(IERC20 token, uint256 actual, uint256 required);

    error WrongPhase(RoundId round, Phase actual, Phase required);
    error RoundFull(RoundId round, uint256 maxUpdates);
    error AlreadySubmitted(RoundId round, address client);
    error TooManyMillis(RoundId round, uint256 actual, uint256 maximum);
    error ZeroDigest(RoundId round);
    error InvalidSignature(RoundId round, address client);

    error StaleUpdates(RoundId round, bytes32 actual, bytes32 required);
    error InvalidRewards(RoundId round, bytes32 rewardsRoot, uint256 rewardsTotal, uint256 maximum);
    error NotAuditor(FederationId federation, address actual);
    error AlreadyAttested(RoundId round, address auditor);
    error ZeroResult(RoundId round);
    error AlreadyRevealed(RoundId round);
    error RevealTooLate(RoundId round, uint256 actual, uint256 deadline);
    error RevealMismatch(RoundId round, bytes32 actual, bytes32 required);

    error NotPayable(RoundId round, PayBasis actual, PayBasis required);
    error NoUpdate(RoundId round, address client);
    error AlreadyPaid(RoundId round, address client);
    error AmountAboveRecord(RoundId round, address client, uint256 actual, uint256 maximum);
    error AmountAboveRemaining(RoundId round, uint256 actual, uint256 maximum);
    error NotAttested(RoundId round, address auditor);
    error FeeAlreadyPaid(RoundId round, address auditor);
    error NothingForfeited(RoundId round, Phase phase);
    error AlreadyForfeited(RoundId round);

    // --- federations; all but the first revert with UnknownFederation, and NotOrganization where only it may ---

    /// @notice Creates a federation whose organization is the caller.
    /// @dev Reverts: FederationExists, ZeroForfeitTo, ZeroModel, InvalidQuorum, AuditorsNotAscending. Emits FederationCreated.
    function createFederation(bytes32 salt, FederationTerms calldata terms) external returns (FederationId federation);

    /// @notice First step of the handover; `offeredTo` zero takes an offer back. Organization only. Emits OrganizationOffered.
    function offerOrganization(FederationId federation, address offeredTo) external;

    /// @notice Second step, by the account that was offered the role. Reverts: NotOffered. Emits OrganizationChanged.
    /// @dev Money that returns from any round, also an earlier one, then goes to the new organization.
    function acceptOrganization(FederationId federation) external;

    /// @notice Sets the admission root that counts from the next launch; 0 opens. Organization only. Emits AdmissionChanged.
    /// @dev At once nobody can join under the old root any more, also for the round that is live.
    function setAdmission(FederationId federation, bytes32 admissionRoot) external;

    /// @notice Joins `client` under the federation's current root, once per root; anyone may send it.
    /// @dev Reverts: AdmissionIsOpen, AlreadyJoined, InvalidProof. Emits Joined.
    function join(FederationId federation, address client, bytes32[] calldata proof) external;

    // --- a round; all revert with UnknownRound ---

    /// @notice Launches the next round and takes its escrow: rate x maxMillis x maxUpdates + bond + fee x auditors.
    /// @dev Organization only; at most one live round. Reverts: UnknownFederation, NotOrganization, RoundIsLive, StaleBase where `expectedBase` is not the head,
    /// TermOutOfRange, SafeCastOverflowedUintDowncast where the escrow is 2^96 or more, EscrowNotReceived unless exactly
    /// the escrow arrives. An escrow of 0 moves nothing and asks for no token. Emits RoundLaunched.
    function launchRound(FederationId federation, bytes32 expectedBase, RoundTerms calldata terms)
        external
        returns (RoundId round);

    /// @notice Records the caller's update: one per client and round, in phase Training only.
    /// @param digest Digest of the update directory; its bytes may be published after training closes.
    /// @param millis Compute milliseconds; at most min(maxMillis, 1000 x (now - launchedAt)).
    /// @dev Rolling hash H_i = keccak256(abi.encode(H_(i-1), client, digest, millis)) with
    /// H_0 = keccak256(abi.encode(chain id, contract, round, base, termsHash)). Reverts, in this order: UnknownRound,
    /// WrongPhase from trainingEnds on, RoundFull, AlreadySubmitted, ZeroDigest, TooManyMillis, NotJoined.
    /// Emits UpdateSubmitted (and TrainingClosed).
    function submitUpdate(RoundId round, bytes32 digest, uint40 millis) external;

    /// @notice The same for a client that signed: ECDSA first, then EIP-1271 with capped gas. Reverts: InvalidSignature last.
    function submitUpdateFor(RoundId round, SignedUpdate calldata update) external;

    /// @notice The same for many (ECDSA only); passes over bad items with UpdateSkipped instead of reverting.
    /// @dev Reverts only where submitUpdate would revert for every client: UnknownRound, WrongPhase, RoundFull.
    function submitUpdates(RoundId round, SignedUpdate[] calldata updates) external;

    /// @notice States the result of a round, in phase Settlement. Organization only. Constant gas.
    /// @dev Reverts: NotOrganization, WrongPhase, StaleUpdates, ZeroModel, InvalidRewards. Emits RoundSettled, where
    /// resultHash = keccak256(abi.encode(chain id, contract, round, base, updatesHash, model, derivedHash, rewardsRoot, rewardsTotal)).
    function settle(RoundId round, Settlement calldata settlement) external;

    /// @notice An auditor's verdict, once each, while now < challengeEnds, also after a quorum (the fee does not race).
    /// @param witness keccak256(abi.encode(auditor, round, mergeDigest)): only who recomputed the merge can make it.
    /// @dev The first quorum on one hash is irrevocable. Reverts: WrongPhase, NotAuditor, AlreadyAttested, ZeroResult.
    /// Emits Attested (and QuorumReached).
    function attest(RoundId round, bytes32 resultHash, bytes32 witness) external;

    /// @notice Opens the result that a quorum agreed on instead of the settled one; anyone, while now < revealEnds.
    /// @dev Reverts: WrongPhase (only Rejected), AlreadyRevealed, RevealTooLate, RevealMismatch, InvalidRewards. Emits ResultRevealed.
    function reveal(RoundId round, bytes32 model, bytes32 derivedHash, bytes32 rewardsRoot, uint96 rewardsTotal)
        external;

    // --- money out; anyone may send these, the money always goes to whom it is owed; all revert with UnknownRound ---

    /// @notice Pays a client its reward by result; leaf = keccak256(keccak256(abi.encode(round, client, uint256 amount))).
    /// @dev Reverts: NotPayable, NoUpdate, AlreadyPaid, AmountAboveRecord (rate x recorded millis), AmountAboveRemaining,
    /// InvalidProof (always for an amount of 0: no leaf holds it). Emits RewardPaid.
    function claim(RoundId round, address client, uint96 amount, bytes32[] calldata proof) external;

    /// @notice Pays a client by time: rate x min(recorded millis, timeCapMillis). Emits RewardPaid.
    /// @dev Reverts: NotPayable, NoUpdate, AlreadyPaid.
    function claimByTime(RoundId round, address client) external;

    /// @notice Many payments of either basis in one call, over rounds of one federation, one transfer for each element.
    /// @dev Passes over what is already paid, so that nobody can make a batch fail by claiming one of its items before it;
    /// whatever else is wrong, with an item or with a transfer, reverts the whole. By time, an item's amount and siblings are not read. Reverts:
    /// UnknownFederation, UnknownRound, SiblingsMissing, and as `claim` and `claimByTime` do. Emits RewardsPaid.
    function claimBatch(FederationId federation, ClientClaims[] calldata claims) external;

    /// @notice Pays an auditor the fee for its attestation of the round, whatever it said and whatever came of it.
    /// @dev From the attestation on. Reverts: NotAttested, FeeAlreadyPaid. Emits AttestationFeePaid.
    function claimAttestationFee(RoundId round, address auditor) external;

    /// @notice Returns to the organization what can no longer be owed to anyone. Idempotent; may return more later.
    /// Never touches unclaimed pay. Emits EscrowReturned where the amount is not 0.
    function withdraw(RoundId round) external returns (uint256 amount);

    /// @notice Sends the bond of a Rejected or Abandoned round to forfeitTo, once. Emits BondForfeited.
    /// @dev Apart from `withdraw`, so that a recipient that cannot be paid holds up nobody else. Reverts: NothingForfeited,
    /// AlreadyForfeited.
    function forfeit(RoundId round) external;

    // --- views: what does not exist is all zeros (phase None), except where a signature would be asked for it ---

    function federationId(address organization, bytes32 salt) external view returns (FederationId);
    function roundId(FederationId federation, uint64 index) external pure returns (RoundId);
    function getFederation(FederationId federation) external view returns (FederationView memory);
    function getRound(RoundId round) external view returns (RoundView memory);
    /// @return millis Recorded milliseconds. @return submitted Whether there is an update. @return paid Whether it was paid.
    function getUpdate(RoundId round, address client) external view returns (uint40 millis, bool submitted, bool paid);
    function isAuditor(FederationId federation, address account) external view returns (bool);
    function isJoined(FederationId federation, bytes32 admissionRoot, address client) external view returns (bool);
    function hasAttested(RoundId round, address auditor) external view returns (bool attested, bool feePaid);
    /// @return Attestations of the round for `resultHash`.
    function votes(RoundId round, bytes32 resultHash) external view returns (uint8);
    /// @return Base units that `withdraw` would return now.
    function withdrawable(RoundId round) external view returns (uint256);
    /// @notice The EIP-712 digest that a client signs for `submitUpdateFor`. Reverts: UnknownRound.
    function updateTypedDataHash(RoundId round, address client, bytes32 digest, uint40 millis)
        external
        view
        returns (bytes32);
}
