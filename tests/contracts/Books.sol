// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {
    FederationId,
    ITrainingRounds,
    PayBasis,
    Phase,
    RoundId,
    RoundTerms,
    SkipReason
} from "../../contracts/interfaces/ITrainingRounds.sol";
import {Tree} from "./Tree.sol";
import {Vm, vm} from "./Vm.sol";
import {CLIENTS, MODEL, World} from "./World.sol";

bytes32 constant DERIVED = keccak256("derived");
bytes32 constant JUNK = keccak256("junk");

/// @dev A result as it is said: leaves may ask for more than the total, for more than a client recorded, or for whom
/// there is no update; and the root may be no root at all.
struct Result {
    bytes32 model;
    uint256[CLIENTS] amounts;
    uint256 total;
    bytes32 root;
    bool garbage;
}

enum Votes {
    None,
    Settled,
    Other,
    Junk
}

/// @dev What the hunt knows of a round, from what it did itself and not from the contract's views.
struct Book {
    uint256 side;
    RoundTerms terms;
    uint40 launchedAt;
    uint40 settledAt;
    uint256 list; // of admission, at launch
    bytes32 base;
    uint256 updates;
    uint40[CLIENTS] millis;
    bool[CLIENTS] submitted;
    uint256[CLIENTS] payments; // how often each was paid
    Result settled;
    Result other; // what the auditors would say instead
    Votes decided;
    bool revealed;
    uint256 escrowed;
    uint256 toClients;
    uint256 toAuditors;
    uint256 returned;
    uint256 forfeited;
    bool bondLost;
    // from the contract's logs alone
    bytes32 rolling;
    uint256 loggedUpdates;
    uint256 loggedOut;
}

/// @dev Books of every round, and what must follow from them: phases, bases, refusals.
abstract contract Books is World {
    RoundId[] public all;
    mapping(uint256 side => RoundId[]) internal _roundsOf;
    mapping(RoundId round => Book) internal _books;
    mapping(RoundId round => mapping(address auditor => bool)) internal _attested;
    mapping(RoundId round => mapping(address auditor => bool)) internal _feePaid;
    mapping(RoundId round => mapping(Votes said => uint256)) internal _votes;
    mapping(RoundId round => mapping(address client => uint256)) public loggedPayments;
    address[4] public leaderOf = [address(0xacce), address(0xacce), address(0xacce), address(0xacce)];
    address[4] public offeredTo;
    uint256 public list; // of the second federation's admission
    bool[CLIENTS][3] internal _joined;

    function count() external view returns (uint256) {
        return all.length;
    }

    function roundsOf(uint256 side) external view returns (RoundId[] memory) {
        return _roundsOf[side];
    }

    function bookOf(RoundId round) external view returns (Book memory) {
        return _books[round];
    }

    /// @dev Whether the result that the round pays by is one under which not everybody can be paid.
    function lies(RoundId round) external view returns (bool) {
        Result storage result = paidResult(_books[round]);
        uint256 sum;
        for (uint256 i; i < CLIENTS; ++i) {
            if (result.amounts[i] > uint256(_books[round].terms.rewardPerMilli) * _books[round].millis[i]) return true;
            sum += result.amounts[i];
        }
        return result.garbage || sum != result.total;
    }

    function attestations(RoundId round) external view returns (uint256) {
        return _votes[round][Votes.Settled] + _votes[round][Votes.Other] + _votes[round][Votes.Junk];
    }

    // --- what follows ---

    function present() internal view returns (uint256) {
        return vm.getBlockTimestamp();
    }

    function trainingEnds(Book storage book) internal view returns (uint256) {
        return uint256(book.launchedAt) + book.terms.trainingSeconds;
    }

    function challengeEnds(Book storage book) internal view returns (uint256) {
        return book.settledAt == 0 ? 0 : uint256(book.settledAt) + book.terms.challengeSeconds;
    }

    function phaseOf(RoundId round) public view returns (Phase) {
        Book storage book = _books[round];
        if (book.launchedAt == 0) return Phase.None;
        if (present() < trainingEnds(book) && book.updates < book.terms.maxUpdates) return Phase.Training;
        if (book.updates == 0) return Phase.Void;
        if (book.settledAt == 0) {
            return present() < trainingEnds(book) + book.terms.settlementSeconds ? Phase.Settlement : Phase.Abandoned;
        }
        if (book.decided == Votes.Settled) return Phase.Final;
        if (book.decided != Votes.None) return Phase.Rejected;
        if (present() < challengeEnds(book)) return Phase.Challenge;
        return auditorsOf[book.side] == 0 ? Phase.Final : Phase.Unconfirmed;
    }

    function basisOf(RoundId round) public view returns (PayBasis) {
        Book storage book = _books[round];
        Phase phase = phaseOf(round);
        if (phase == Phase.Void) return PayBasis.Nothing;
        if (phase == Phase.Final || book.revealed) return PayBasis.Result;
        if (phase == Phase.Unconfirmed || phase == Phase.Abandoned) return PayBasis.Time;
        bool waits = phase != Phase.Rejected || present() < challengeEnds(book) + book.terms.challengeSeconds;
        return waits ? PayBasis.Undecided : PayBasis.Time;
    }

    function isLive(RoundId round) public view returns (bool) {
        Phase phase = phaseOf(round);
        return phase == Phase.Training || phase == Phase.Settlement || phase == Phase.Challenge;
    }

    /// @dev The model that the federation's next round starts from.
    function headOf(uint256 side) public view returns (bytes32) {
        RoundId round = lastOf(side);
        Phase phase = phaseOf(round);
        if (phase == Phase.None) return MODEL;
        return phase == Phase.Final || phase == Phase.Unconfirmed ? _books[round].settled.model : _books[round].base;
    }

    function lastOf(uint256 side) public view returns (RoundId) {
        uint256 length = _roundsOf[side].length;
        return length == 0 ? RoundId.wrap(0) : _roundsOf[side][length - 1];
    }

    function poolOf(Book storage book) internal view returns (uint256) {
        return uint256(book.terms.rewardPerMilli) * book.terms.maxMillis * book.terms.maxUpdates;
    }

    /// @dev Most milliseconds that an update can record now.
    function mostMillis(Book storage book) internal view returns (uint256) {
        uint256 elapsed = 1000 * (present() - book.launchedAt);
        return elapsed < book.terms.maxMillis ? elapsed : book.terms.maxMillis;
    }

    /// @dev What a client is owed by time.
    function timePay(Book storage book, uint256 client) internal view returns (uint256) {
        uint256 cap = book.terms.timeCapMillis;
        uint256 millis = book.millis[client] < cap ? book.millis[client] : cap;
        return uint256(book.terms.rewardPerMilli) * millis;
    }

    /// @dev The result that is paid where pay is by result.
    function paidResult(Book storage book) internal view returns (Result storage) {
        return book.revealed ? book.other : book.settled;
    }

    /// @dev Why the contract must refuse every update of the round; 0 where it need not.
    function roundRefusal(RoundId round) internal view returns (bytes4) {
        Book storage book = _books[round];
        if (book.launchedAt == 0) return ITrainingRounds.UnknownRound.selector;
        if (present() >= trainingEnds(book)) return ITrainingRounds.WrongPhase.selector;
        if (book.updates == book.terms.maxUpdates) return ITrainingRounds.RoundFull.selector;
        return 0;
    }

    /// @dev Why the contract must refuse this update, its signature apart.
    function updateRefusal(RoundId round, uint256 client, bytes32 digest, uint256 millis)
        internal
        view
        returns (bytes4)
    {
        Book storage book = _books[round];
        bytes4 refusal = roundRefusal(round);
        if (refusal != 0) return refusal;
        if (book.submitted[client]) return ITrainingRounds.AlreadySubmitted.selector;
        if (digest == 0) return ITrainingRounds.ZeroDigest.selector;
        if (millis > mostMillis(book)) return ITrainingRounds.TooManyMillis.selector;
        if (book.list != 0 && !_joined[book.list][client]) return ITrainingRounds.NotJoined.selector;
        return 0;
    }

    /// @dev Why the contract must refuse to pay the client by result; `pending`: paid meanwhile by the same batch.
    function claimRefusal(RoundId round, uint256 client, uint256 amount, bool provable, uint256 pending)
        internal
        view
        returns (bytes4)
    {
        Book storage book = _books[round];
        if (!book.submitted[client]) return ITrainingRounds.NoUpdate.selector;
        if (book.payments[client] != 0) return ITrainingRounds.AlreadyPaid.selector;
        if (amount > uint256(book.terms.rewardPerMilli) * book.millis[client]) {
            return ITrainingRounds.AmountAboveRecord.selector;
        }
        if (amount + book.toClients + pending > paidResult(book).total) {
            return ITrainingRounds.AmountAboveRemaining.selector;
        }
        return amount == 0 || !provable ? ITrainingRounds.InvalidProof.selector : bytes4(0);
    }

    // --- trees ---

    function leavesOf(RoundId round, uint256[CLIENTS] memory amounts) internal view returns (bytes32[] memory leaves) {
        leaves = new bytes32[](CLIENTS);
        uint256 used;
        for (uint256 i; i < CLIENTS; ++i) {
            if (amounts[i] == 0) continue;
            leaves[used++] = keccak256(bytes.concat(keccak256(abi.encode(round, clients[i], amounts[i]))));
        }
        assembly ("memory-safe") {
            mstore(leaves, used)
        }
    }

    function proofOf(RoundId round, Result memory result, uint256 client) internal view returns (bytes32[] memory) {
        if (result.amounts[client] == 0) return new bytes32[](0);
        uint256 position;
        for (uint256 i; i < client; ++i) {
            if (result.amounts[i] != 0) ++position;
        }
        return Tree.proof(leavesOf(round, result.amounts), position);
    }

    function hashOf(RoundId round, Result memory result) internal view returns (bytes32) {
        Book storage book = _books[round];
        return keccak256(
            abi.encode(
                block.chainid,
                address(rounds),
                round,
                book.base,
                book.rolling,
                result.model,
                DERIVED,
                result.root,
                result.total
            )
        );
    }

    // --- logs ---

    bytes32 internal _skips; // rolling hash of what batches passed over

    /// @dev Replays what one call logged: hashes roll on, payments add up, and no update is late.
    function replay(Vm.Log[] memory logs) internal {
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].emitter == address(rounds)) _replay(logs[i].topics, logs[i].data);
        }
    }

    function _replay(bytes32[] memory topics, bytes memory data) private {
        RoundId round = RoundId.wrap(topics[1]);
        Book storage book = _books[round];
        if (topics[0] == ITrainingRounds.RoundLaunched.selector) {
            (, bytes32 base,, RoundTerms memory terms, bytes32 termsHash) =
                abi.decode(data, (uint64, bytes32, bytes32, RoundTerms, bytes32));
            require(termsHash == keccak256(abi.encode(terms)), "terms");
            book.rolling = keccak256(abi.encode(block.chainid, address(rounds), round, base, termsHash));
        } else if (topics[0] == ITrainingRounds.UpdateSubmitted.selector) {
            (bytes32 digest, uint40 millis) = abi.decode(data, (bytes32, uint40));
            require(present() < trainingEnds(book), "an update at or after the deadline");
            book.rolling = keccak256(abi.encode(book.rolling, topics[2], digest, millis));
            ++book.loggedUpdates;
        } else if (topics[0] == ITrainingRounds.UpdateSkipped.selector) {
            (bytes32 digest, SkipReason reason) = abi.decode(data, (bytes32, SkipReason));
            _skips = keccak256(abi.encode(_skips, topics[2], digest, reason));
        } else if (topics[0] == ITrainingRounds.RewardPaid.selector) {
            _logPayment(round, topics[2], abi.decode(data, (uint256)));
        } else if (topics[0] == ITrainingRounds.RewardsPaid.selector) {
            uint256[] memory payments = abi.decode(data, (uint256[]));
            for (uint256 i; i < payments.length; ++i) {
                round = rounds.roundId(FederationId.wrap(topics[1]), uint64(payments[i] >> 104));
                require(uint8(payments[i] >> 96) == uint8(basisOf(round)), "basis");
                _logPayment(round, topics[2], uint96(payments[i]));
            }
        } else if (
            topics[0] == ITrainingRounds.AttestationFeePaid.selector
                || topics[0] == ITrainingRounds.EscrowReturned.selector
                || topics[0] == ITrainingRounds.BondForfeited.selector
        ) {
            book.loggedOut += abi.decode(data, (uint256));
        }
    }

    function _logPayment(RoundId round, bytes32 client, uint256 amount) private {
        ++loggedPayments[round][address(uint160(uint256(client)))];
        _books[round].loggedOut += amount;
    }
}
