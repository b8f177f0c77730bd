// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {
    ClientClaims,
    FederationId,
    ITrainingRounds,
    PayBasis,
    Phase,
    RoundClaim,
    RoundId,
    RoundTerms,
    Settlement,
    SignedUpdate,
    SkipReason
} from "../../contracts/interfaces/ITrainingRounds.sol";
import {Book, Books, DERIVED, JUNK, Result, Votes} from "./Books.sol";
import {HostileToken} from "./HostileToken.sol";
import {Tree} from "./Tree.sol";
import {vm, within} from "./Vm.sol";
import {AUDITORS, CLIENTS, HOSTILE, MALLORY, SIDES, TREASURY} from "./World.sol";

/// @dev Acts on four federations in every way that the contract takes, truly and falsely, in time and late, and says
/// beforehand what must come of it. It reverts where anything else does: with `fail_on_revert` that is a finding.
contract Handler is Books {
    uint256 private constant MOST_ROUNDS = 32;
    uint256 private constant ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;

    /// @dev What a batch claims for two clients, what they get by it, and why it must be refused.
    struct Batch {
        ClientClaims[] claims;
        uint256[2] due;
        bytes4 refusal;
    }

    uint256[SIDES] public donated;
    uint256[SIDES] public held; // by the books
    uint256 public calls; // of the contract
    bool private _isShort; // the hostile token has shrunk

    // --- time and place ---

    /// @dev Passes time, at times to the very second of a deadline of the federation's last round, or the one before.
    function pass(uint256 which, uint256 deadline, uint16 time) external {
        Book storage book = _books[lastOf(which % SIDES)];
        uint256 ends = trainingEnds(book);
        uint256 late = challengeEnds(book);
        uint256[4] memory deadlines =
            [ends, ends + book.terms.settlementSeconds, late, late + book.terms.challengeSeconds];
        uint256 target = deadlines[deadline % 4];
        vm.warp(target > present() && deadline % 3 != 0 ? target - (deadline % 2) : present() + time % 600);
    }

    /// @dev From now on the hostile token is of another manner.
    function misbehave(uint256 manner, uint256 seed) external {
        if (manner % 7 == 6) {
            hostile.shrink(address(rounds));
            _isShort = true;
        }
        RoundId round = _any(seed);
        bytes[5] memory back = [
            abi.encodeCall(rounds.withdraw, (round)),
            abi.encodeCall(rounds.forfeit, (round)),
            abi.encodeCall(rounds.claimByTime, (round, clients[seed % CLIENTS])),
            abi.encodeCall(rounds.claimAttestationFee, (round, auditor(seed % AUDITORS))),
            abi.encodeCall(rounds.claimBatch, (federations[seed % SIDES], new ClientClaims[](0)))
        ];
        HostileToken.Manner next = HostileToken.Manner(manner % 5);
        hostile.behave(next, address(rounds), back[seed % 5]);
    }

    /// @dev Sends tokens that nobody asked for: they are nobody's.
    function donate(uint256 which, uint96 amount) external {
        uint256 side = which % HOSTILE;
        tokens[side].transfer(address(rounds), amount);
        donated[side == 1 ? 0 : side] += amount; // the first two share a token
    }

    /// @dev Both steps of a handover, by whom they are for and by others.
    function handOver(uint256 which, uint256 seed) external {
        uint256 side = which % SIDES;
        FederationId id = federations[side];
        if (seed % 2 == 0) {
            address next = seed % 10 == 0 ? address(0) : leaders[(seed >> 8) % leaders.length];
            bytes memory offer = abi.encodeCall(rounds.offerOrganization, (id, next));
            _must(MALLORY, offer, ITrainingRounds.NotOrganization.selector);
            _must(leaderOf[side], offer, 0);
            offeredTo[side] = next;
        } else {
            bytes memory acceptance = abi.encodeCall(rounds.acceptOrganization, (id));
            _must(MALLORY, acceptance, ITrainingRounds.NotOffered.selector);
            if (offeredTo[side] == address(0)) return;
            _must(offeredTo[side], acceptance, 0);
            (leaderOf[side], offeredTo[side]) = (offeredTo[side], address(0));
        }
    }

    /// @dev The second federation changes whom it admits.
    function admit(uint256 seed) external {
        bytes memory call = abi.encodeCall(rounds.setAdmission, (federations[1], roots[seed % 3]));
        _must(MALLORY, call, ITrainingRounds.NotOrganization.selector);
        _must(leaderOf[1], call, 0);
        list = seed % 3;
    }

    function join(uint256 who) external {
        uint256 client = who % CLIENTS;
        bytes32[] memory proof = admissionProof(list, client);
        bytes4 refusal;
        if (list == 0) refusal = ITrainingRounds.AdmissionIsOpen.selector;
        else if (_joined[list][client]) refusal = ITrainingRounds.AlreadyJoined.selector;
        else if (!isListed(list, client)) refusal = ITrainingRounds.InvalidProof.selector;
        _must(MALLORY, abi.encodeCall(rounds.join, (federations[1], clients[client], proof)), refusal);
        if (refusal == 0) _joined[list][client] = true;
    }

    // --- a round ---

    function launch(uint256 which, uint256 seed) public {
        uint256 side = which % SIDES;
        if (all.length >= MOST_ROUNDS) return;
        RoundTerms memory terms = _drawTerms(side, seed);
        bytes32 head = headOf(side);
        bytes memory call = abi.encodeCall(rounds.launchRound, (federations[side], head, terms));
        _must(MALLORY, call, ITrainingRounds.NotOrganization.selector);
        if (isLive(lastOf(side))) return _must(leaderOf[side], call, ITrainingRounds.RoundIsLive.selector);
        _launchFalsely(side, head, terms, seed);
        uint256 before = tokens[side].balanceOf(address(rounds));
        (bytes4 refusal, bytes memory answer) = _try(leaderOf[side], call);
        if (!_wentThrough(side, refusal, 0)) return;

        RoundId round = abi.decode(answer, (RoundId));
        all.push(round);
        _roundsOf[side].push(round);
        Book storage book = _books[round];
        (book.side, book.terms, book.launchedAt, book.base) = (side, terms, uint40(present()), head);
        book.list = side == 1 ? list : 0;
        book.escrowed = poolOf(book) + terms.bond + uint256(terms.attestationFee) * auditorsOf[side];
        require(tokens[side].balanceOf(address(rounds)) - before == book.escrowed, "escrow");
        held[side] += book.escrowed;
    }

    /// @dev The client sends its own update, or tries to: late, too long, twice, of nothing, not admitted.
    function submit(uint256 which, uint256 who, uint256 seed) public {
        RoundId round = _open(which, seed);
        uint256 client = who % CLIENTS;
        (bytes32 digest, uint40 millis) = _drawUpdate(round, seed);
        bytes4 refusal = updateRefusal(round, client, digest, millis);
        _must(clients[client], abi.encodeCall(rounds.submitUpdate, (round, digest, millis)), refusal);
        if (refusal == 0) _book(round, client, millis);
    }

    /// @dev Anybody sends what a client signed, or did not.
    function submitFor(uint256 which, uint256 who, uint256 seed) public {
        RoundId round = _open(which, seed);
        if (_books[round].launchedAt == 0) return;
        uint256 client = who % CLIENTS;
        (bytes32 digest, uint40 millis) = _drawUpdate(round, seed);
        bytes4 refusal = updateRefusal(round, client, digest, millis);
        if (refusal == 0 && !_isTrue(seed)) refusal = ITrainingRounds.InvalidSignature.selector;
        SignedUpdate memory update = _signed(round, client, digest, millis, seed);
        _must(MALLORY, abi.encodeCall(rounds.submitUpdateFor, (round, update)), refusal);
        if (refusal == 0) _book(round, client, millis);
    }

    /// @dev A batch of up to six, good and bad: the bad are passed over, each for its own reason.
    function submitBatch(uint256 which, uint256 seed) public {
        RoundId round = _open(which, seed);
        bytes4 refusal = roundRefusal(round);
        SignedUpdate[] memory updates = new SignedUpdate[](refusal != 0 ? 0 : seed % 7);
        (bytes32 expected, bytes32 before) = (_skips, _skips);
        for (uint256 i; i < updates.length; ++i) {
            uint256 each = uint256(keccak256(abi.encode(seed, i)));
            uint256 client = (each >> 128) % CLIENTS;
            (bytes32 digest, uint40 millis) = _drawUpdate(round, each);
            updates[i] = _signed(round, client, digest, millis, each);
            (bool skipped, SkipReason reason) = _skipped(round, client, digest, millis, each);
            if (skipped) expected = keccak256(abi.encode(expected, clients[client], digest, reason));
            else _book(round, client, millis);
        }
        _must(MALLORY, abi.encodeCall(rounds.submitUpdates, (round, updates)), refusal);
        require(refusal != 0 ? _skips == before : _skips == expected, "skipped");
    }

    function settle(uint256 which, uint256 seed) public {
        uint256 side = which % SIDES;
        RoundId round = lastOf(side);
        Book storage book = _books[round];
        if (phaseOf(round) == Phase.Training && book.updates > 0 && seed % 2 == 0) vm.warp(trainingEnds(book));
        Phase phase = phaseOf(round);
        if (phase == Phase.None) return;
        if (phase != Phase.Settlement) {
            return _must(leaderOf[side], _settlement(round, book.settled), ITrainingRounds.WrongPhase.selector);
        }
        Result memory result = _drawResult(round, seed, seed % 5 == 0 ? book.base : keccak256(abi.encode(round)));
        _settleFalsely(round, side, result);
        _must(leaderOf[side], _settlement(round, result), 0);
        book.settled = result;
        book.settledAt = uint40(present());
        uint256 others = uint256(keccak256(abi.encode(seed)));
        book.other = _drawResult(round, others, keccak256(abi.encode(round, "other")));
        if (others % 11 == 0 && poolOf(book) < type(uint96).max) {
            (book.other.total, book.other.root) = (poolOf(book) + 1, JUNK); // no reveal can take this
        }
    }

    /// @dev Two auditors of one mind, so that quorums come about often.
    function attestTogether(uint256 which, uint256 who, uint256 vote) public {
        attest(which, who, vote);
        attest(which, who % AUDITORS + 1, vote);
    }

    function attest(uint256 which, uint256 who, uint256 vote) public {
        uint256 side = which % SIDES;
        RoundId round = vote % 16 == 15 ? _any(vote) : lastOf(side);
        Book storage book = _books[round];
        if (book.launchedAt == 0) return;
        address auditor_ = auditor(who % AUDITORS);
        Votes said = vote % 8 == 0 ? Votes.Junk : vote % 8 < 4 ? Votes.Other : Votes.Settled;
        bytes32 hash = said == Votes.Junk ? JUNK : hashOf(round, said == Votes.Other ? book.other : book.settled);
        if (vote % 32 == 8) hash = 0;
        bytes4 refusal;
        if (present() >= challengeEnds(book)) refusal = ITrainingRounds.WrongPhase.selector;
        else if (who % AUDITORS >= auditorsOf[book.side]) refusal = ITrainingRounds.NotAuditor.selector;
        else if (_attested[round][auditor_]) refusal = ITrainingRounds.AlreadyAttested.selector;
        else if (hash == 0) refusal = ITrainingRounds.ZeroResult.selector;
        _must(auditor_, abi.encodeCall(rounds.attest, (round, hash, keccak256("witness"))), refusal);
        if (refusal != 0) return;
        _attested[round][auditor_] = true;
        if (++_votes[round][said] == quorumOf[book.side]) book.decided = said;
    }

    function reveal(uint256 which, uint256 seed) external {
        RoundId round = _any(which);
        Book storage book = _books[round];
        if (book.launchedAt == 0) return;
        Result memory opening = seed % 4 == 0 ? book.settled : book.other;
        bytes4 refusal;
        if (phaseOf(round) != Phase.Rejected) refusal = ITrainingRounds.WrongPhase.selector;
        else if (book.revealed) refusal = ITrainingRounds.AlreadyRevealed.selector;
        else if (basisOf(round) == PayBasis.Time) refusal = ITrainingRounds.RevealTooLate.selector;
        else if (book.decided == Votes.Junk || seed % 4 == 0) refusal = ITrainingRounds.RevealMismatch.selector;
        else if (opening.total > poolOf(book)) refusal = ITrainingRounds.InvalidRewards.selector;
        uint96 total = uint96(opening.total);
        bytes memory call = abi.encodeCall(rounds.reveal, (round, opening.model, DERIVED, opening.root, total));
        _must(MALLORY, call, refusal);
        if (refusal == 0) book.revealed = true;
    }

    /// @dev Nine rounds in a row, so that each client's records go over more than one page.
    function streak(uint256 which, uint256 seed) external {
        for (uint256 i; i < 9 && all.length < MOST_ROUNDS; ++i) {
            uint256 each = uint256(keccak256(abi.encode(seed, i)));
            vm.warp(present() + 1 + each % 900);
            launch(which, each);
            vm.warp(present() + 1);
            for (uint256 client; client < CLIENTS; ++client) {
                if (each >> client & 1 == 1) submit(which, client, each >> 8);
                else submitFor(which, client, each >> 8);
            }
            submitBatch(which, each >> 16);
            settle(which, each & ~uint256(1));
            attestTogether(which, each, each >> 24);
            vm.warp(present() + each % 1500);
            claimBatch(which, each >> 32);
        }
    }

    // --- money ---

    function claim(uint256 which, uint256 who, uint256 seed) public {
        RoundId round = _any(which);
        Book storage book = _books[round];
        if (book.launchedAt == 0) return;
        uint256 client = who % CLIENTS;
        PayBasis basis = basisOf(round);
        Result memory result = paidResult(book);
        bool byTime = (basis == PayBasis.Time) != (seed % 16 == 0);
        uint256 amount = byTime ? timePay(book, client) : result.amounts[client];
        bytes4 refusal;
        if (basis != (byTime ? PayBasis.Time : PayBasis.Result)) refusal = ITrainingRounds.NotPayable.selector;
        else if (!byTime) refusal = _resultRefusal(round, client, seed, amount, result.garbage);
        else if (!book.submitted[client]) refusal = ITrainingRounds.NoUpdate.selector;
        else if (book.payments[client] != 0) refusal = ITrainingRounds.AlreadyPaid.selector;
        bytes memory call = byTime
            ? abi.encodeCall(rounds.claimByTime, (round, clients[client]))
            : abi.encodeCall(
                rounds.claim, (round, clients[client], uint96(_asked(amount, seed)), proofOf(round, result, client))
            );
        if (!_pays(book.side, clients[client], amount, call, refusal)) return;
        ++book.payments[client];
        book.toClients += amount;
        held[book.side] -= amount;
    }

    /// @dev All that two clients can claim of a federation now, paid or not, in one call; at times with one item that
    /// spoils it.
    function claimBatch(uint256 which, uint256 seed) public {
        uint256 side = which % SIDES;
        Batch memory batch = _drawBatch(side, seed);
        uint256[2] memory before = _balances(side, seed);
        (bytes4 refusal,) = _try(MALLORY, abi.encodeCall(rounds.claimBatch, (federations[side], batch.claims)));
        if (!_wentThrough(side, refusal, batch.refusal)) return;
        uint256[2] memory afterwards = _balances(side, seed);
        for (uint256 i; i < 2; ++i) {
            require(side == HOSTILE || afterwards[i] - before[i] == batch.due[i], "batch");
            _bookClaims(side, (seed % CLIENTS + i) % CLIENTS, batch.claims[i].rounds);
        }
    }

    function claimFee(uint256 which, uint256 who) public {
        RoundId round = _any(which);
        Book storage book = _books[round];
        if (book.launchedAt == 0) return;
        address auditor_ = auditor(who % AUDITORS);
        bytes4 refusal;
        if (!_attested[round][auditor_]) refusal = ITrainingRounds.NotAttested.selector;
        else if (_feePaid[round][auditor_]) refusal = ITrainingRounds.FeeAlreadyPaid.selector;
        bytes memory call = abi.encodeCall(rounds.claimAttestationFee, (round, auditor_));
        if (!_pays(book.side, auditor_, book.terms.attestationFee, call, refusal)) return;
        _feePaid[round][auditor_] = true;
        book.toAuditors += book.terms.attestationFee;
        held[book.side] -= book.terms.attestationFee;
    }

    function withdraw(uint256 which) public {
        RoundId round = _any(which);
        Book storage book = _books[round];
        if (book.launchedAt == 0) return;
        uint256 expected = rounds.withdrawable(round);
        require(expected == 0 || !isLive(round), "withdrawable while live");
        bytes memory call = abi.encodeCall(rounds.withdraw, (round));
        if (!_pays(book.side, leaderOf[book.side], expected, call, 0)) return;
        book.returned += expected;
        held[book.side] -= expected;
        require(rounds.withdrawable(round) == 0, "idempotent");
    }

    function forfeit(uint256 which) public {
        RoundId round = _any(which);
        Book storage book = _books[round];
        if (book.launchedAt == 0) return;
        Phase phase = phaseOf(round);
        bytes4 refusal;
        if (phase != Phase.Rejected && phase != Phase.Abandoned) refusal = ITrainingRounds.NothingForfeited.selector;
        else if (book.bondLost) refusal = ITrainingRounds.AlreadyForfeited.selector;
        bytes memory call = abi.encodeCall(rounds.forfeit, (round));
        if (!_pays(book.side, TREASURY, book.terms.bond, call, refusal)) return;
        book.bondLost = true;
        book.forfeited += book.terms.bond;
        held[book.side] -= book.terms.bond;
    }

    /// @dev The end of time: the hostile token repents, and everybody takes what is theirs.
    function takeAll() external {
        vm.warp(present() + 365 days);
        hostile.behave(HostileToken.Manner.Honest, address(0), "");
        hostile.mend(address(rounds), 1e38);
        for (uint256 i; i < all.length; ++i) {
            for (uint256 client; client < CLIENTS; ++client) {
                claim(i, client, 1);
            }
            for (uint256 j; j < AUDITORS; ++j) {
                claimFee(i, j);
            }
            withdraw(i);
            forfeit(i);
        }
    }

    // --- calls and what comes of them ---

    function _try(address sender, bytes memory data) private returns (bytes4 refusal, bytes memory answer) {
        ++calls;
        vm.recordLogs();
        vm.prank(sender);
        bool done;
        (done, answer) = address(rounds).call(data);
        if (done) replay(vm.getRecordedLogs());
        else refusal = answer.length < 4 ? bytes4(0xffffffff) : bytes4(answer);
    }

    function _must(address sender, bytes memory data, bytes4 expected) private {
        (bytes4 refusal,) = _try(sender, data);
        require(refusal == expected, "refusal");
    }

    /// @dev Whether a call that moves tokens was done. It must be refused as expected, or be done; only where the token
    /// is hostile may it fail for reasons of the token's.
    function _wentThrough(uint256 side, bytes4 refusal, bytes4 expected) private view returns (bool) {
        bool excused = side == HOSTILE && (hostile.manner() != HostileToken.Manner.Honest || _isShort);
        if (excused) require(expected == 0 || refusal != 0, "not refused");
        else require(refusal == expected, "refusal");
        return refusal == 0;
    }

    /// @dev Sends a call that pays `payee` exactly `amount`, unless it must be refused. Whether it was done.
    function _pays(uint256 side, address payee, uint256 amount, bytes memory call, bytes4 expected)
        private
        returns (bool done)
    {
        uint256 before = tokens[side].balanceOf(payee);
        (bytes4 refusal,) = _try(MALLORY, call);
        done = _wentThrough(side, refusal, expected);
        if (side != HOSTILE) require(tokens[side].balanceOf(payee) - before == (done ? amount : 0), "paid");
    }

    // --- draws ---

    function _any(uint256 which) private view returns (RoundId) {
        return all.length == 0 ? RoundId.wrap(0) : all[which % all.length];
    }

    /// @dev The federation's last round, launched anew where that is over; at times any round, however old.
    function _open(uint256 which, uint256 seed) private returns (RoundId) {
        if (seed % 32 == 31) return _any(seed >> 8);
        uint256 side = which % SIDES;
        if (!isLive(lastOf(side))) launch(which, seed);
        Book storage book = _books[lastOf(side)];
        if (book.launchedAt == present() && trainingEnds(book) > present() + 1) vm.warp(present() + 1);
        return lastOf(side);
    }

    function _drawTerms(uint256 side, uint256 seed) private view returns (RoundTerms memory terms) {
        bool extreme = seed % 13 == 0;
        terms.maxMillis = extreme ? type(uint40).max : uint40(within(seed, 1, 200_000));
        terms.timeCapMillis = uint40(within(seed >> 16, 0, terms.maxMillis));
        terms.maxUpdates = uint24(within(seed >> 24, 1, CLIENTS + 1));
        uint256 most = uint256(terms.maxMillis) * terms.maxUpdates;
        terms.rewardPerMilli = uint96(within(seed >> 8, 0, extreme ? (2 ** 96 - 2 ** 80) / most : 1e18));
        terms.trainingSeconds = uint24(within(seed >> 32, 1, extreme ? 90 days : 1000));
        terms.settlementSeconds = uint24(within(seed >> 40, 1, 1000));
        terms.challengeSeconds = uint24(within(seed >> 48, auditorsOf[side] == 0 ? 0 : 1, 1000));
        terms.bond = uint96(within(seed >> 56, 0, 1e20));
        terms.attestationFee = uint96(within(seed >> 64, 0, 1e18));
        terms.consolidate = seed & 1 == 1;
    }

    function _launchFalsely(uint256 side, bytes32 head, RoundTerms memory terms, uint256 seed) private {
        bytes32 stale = ~head;
        bytes memory call = abi.encodeCall(rounds.launchRound, (federations[side], stale, terms));
        _must(leaderOf[side], call, ITrainingRounds.StaleBase.selector);
        (uint40 millis, uint24 updates, uint24 training) = (terms.maxMillis, terms.maxUpdates, terms.trainingSeconds);
        if (seed % 3 == 0) terms.maxMillis = 0;
        else if (seed % 3 == 1) terms.maxUpdates = 0;
        else terms.trainingSeconds = 90 days + 1;
        call = abi.encodeCall(rounds.launchRound, (federations[side], head, terms));
        _must(leaderOf[side], call, ITrainingRounds.TermOutOfRange.selector);
        (terms.maxMillis, terms.maxUpdates, terms.trainingSeconds) = (millis, updates, training);
    }

    function _drawUpdate(RoundId round, uint256 seed) private view returns (bytes32 digest, uint40 millis) {
        Book storage book = _books[round];
        uint256 most = book.launchedAt == 0 ? 0 : mostMillis(book);
        uint256 drawn = seed % 9 == 0 ? most + 1 : seed % 9 == 1 ? most : within(seed >> 8, 0, most);
        millis = uint40(drawn > type(uint40).max ? type(uint40).max : drawn);
        digest = seed % 17 == 0 ? bytes32(0) : keccak256(abi.encode(seed));
    }

    function _isTrue(uint256 seed) private pure returns (bool) {
        return seed % 8 < 5;
    }

    /// @dev Signed by the client, or not: by another key, for another round, as its twin of high s, one byte short.
    function _signed(RoundId round, uint256 client, bytes32 digest, uint40 millis, uint256 seed)
        private
        view
        returns (SignedUpdate memory)
    {
        RoundId named = seed % 8 == 5 ? _any(seed) : round;
        bool foreign = RoundId.unwrap(named) != RoundId.unwrap(round);
        bytes32 hash = rounds.updateTypedDataHash(named, clients[client], digest, millis);
        uint256 key = keyOf(seed % 8 == 5 && !foreign ? client + 100 : client);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, hash);
        if (seed % 8 == 6) (v, s) = (v ^ 7, bytes32(ORDER - uint256(s))); // 27 and 28 change places
        bytes memory signature = abi.encodePacked(r, s, v);
        if (seed % 8 == 7) signature = abi.encodePacked(r, s);
        return SignedUpdate(clients[client], digest, millis, signature);
    }

    /// @dev What a batch must say of an update. A wallet contract is not asked there.
    function _skipped(RoundId round, uint256 client, bytes32 digest, uint40 millis, uint256 seed)
        private
        view
        returns (bool, SkipReason)
    {
        bytes4 refusal = updateRefusal(round, client, digest, millis);
        if (refusal == ITrainingRounds.RoundFull.selector) return (true, SkipReason.RoundFull);
        if (refusal == ITrainingRounds.AlreadySubmitted.selector) return (true, SkipReason.AlreadySubmitted);
        if (refusal == ITrainingRounds.ZeroDigest.selector) return (true, SkipReason.ZeroDigest);
        if (refusal == ITrainingRounds.TooManyMillis.selector) return (true, SkipReason.TooManyMillis);
        if (refusal == ITrainingRounds.NotJoined.selector) return (true, SkipReason.NotJoined);
        return (client == CLIENTS - 1 || !_isTrue(seed), SkipReason.InvalidSignature);
    }

    function _book(RoundId round, uint256 client, uint40 millis) private {
        Book storage book = _books[round];
        (book.submitted[client], book.millis[client]) = (true, millis);
        ++book.updates;
    }

    /// @dev True in half of all cases; else with a total that is too small for the leaves or too large, a leaf for who
    /// sent nothing or recorded less, or a root that is none.
    function _drawResult(RoundId round, uint256 seed, bytes32 model) private view returns (Result memory result) {
        Book storage book = _books[round];
        uint256 kind = seed % 10;
        result.model = model;
        uint256 sum;
        for (uint256 i; i < CLIENTS; ++i) {
            uint256 most = uint256(book.terms.rewardPerMilli) * book.millis[i];
            if (kind == 5) most = most + 1;
            if (!book.submitted[i] && kind != 6) continue;
            result.amounts[i] = within(uint256(keccak256(abi.encode(seed, i))), 0, kind == 6 ? poolOf(book) : most);
            if (kind == 5 && i == seed % CLIENTS) result.amounts[i] = most;
            sum += result.amounts[i];
        }
        if (kind == 7) sum = sum / 2;
        if (kind == 8) sum += 1 + seed % 1e18;
        result.total = sum < poolOf(book) ? sum : poolOf(book);
        result.garbage = kind == 9;
        if (result.total != 0) result.root = kind == 9 ? JUNK : Tree.root(leavesOf(round, result.amounts));
        if (result.total != 0 && result.root == 0) result.total = 0;
    }

    function _settlement(RoundId round, Result memory result) private view returns (bytes memory) {
        Settlement memory said = Settlement(
            _books[round].rolling, result.model, keccak256("report"), DERIVED, result.root, uint96(result.total)
        );
        return abi.encodeCall(rounds.settle, (round, said));
    }

    function _settleFalsely(RoundId round, uint256 side, Result memory result) private {
        address leader = leaderOf[side];
        Settlement memory said = Settlement(JUNK, result.model, 0, DERIVED, result.root, uint96(result.total));
        _must(leader, abi.encodeCall(rounds.settle, (round, said)), ITrainingRounds.StaleUpdates.selector);
        _must(MALLORY, abi.encodeCall(rounds.settle, (round, said)), ITrainingRounds.NotOrganization.selector);
        (said.updatesHash, said.model) = (_books[round].rolling, 0);
        _must(leader, abi.encodeCall(rounds.settle, (round, said)), ITrainingRounds.ZeroModel.selector);
        (said.model, said.rewardsRoot) = (result.model, result.total == 0 ? JUNK : bytes32(0));
        _must(leader, abi.encodeCall(rounds.settle, (round, said)), ITrainingRounds.InvalidRewards.selector);
        uint256 pool = poolOf(_books[round]);
        (said.rewardsRoot, said.rewardsTotal) = (JUNK, uint96(pool + 1));
        _must(leader, abi.encodeCall(rounds.settle, (round, said)), ITrainingRounds.InvalidRewards.selector);
    }

    // --- claims ---

    /// @dev What is asked of a claim by result: the leaf's amount, at times one more.
    function _asked(uint256 amount, uint256 seed) private pure returns (uint256) {
        return seed % 8 == 3 ? amount + 1 : amount;
    }

    function _resultRefusal(RoundId round, uint256 client, uint256 seed, uint256 amount, bool garbage)
        private
        view
        returns (bytes4)
    {
        return claimRefusal(round, client, _asked(amount, seed), !garbage && seed % 8 != 3, 0);
    }

    function _balances(uint256 side, uint256 seed) private view returns (uint256[2] memory balances) {
        for (uint256 i; i < 2; ++i) {
            balances[i] = tokens[side].balanceOf(clients[(seed % CLIENTS + i) % CLIENTS]);
        }
    }

    function _drawBatch(uint256 side, uint256 seed) private view returns (Batch memory batch) {
        batch.claims = new ClientClaims[](2);
        uint256[] memory pending = new uint256[](_roundsOf[side].length);
        for (uint256 i; i < 2; ++i) {
            bytes4 found;
            (batch.claims[i], batch.due[i], found) =
                _claims(side, (seed % CLIENTS + i) % CLIENTS, seed % 8 == 1 && i == 1, pending);
            if (batch.refusal == 0) batch.refusal = found;
        }
    }

    /// @dev A batch's claims for one client: every round of the federation that pays it or has paid it. Where it is to
    /// be spoilt, what may not be claimed comes too, and the first of that is the refusal.
    function _claims(uint256 side, uint256 client, bool spoilt, uint256[] memory pending)
        private
        view
        returns (ClientClaims memory claims, uint256 due, bytes4 refusal)
    {
        claims.client = clients[client];
        claims.rounds = new RoundClaim[](pending.length);
        claims.siblings = new bytes32[](0);
        uint256 items;
        for (uint256 i; i < pending.length; ++i) {
            (uint256 amount, bytes32[] memory proof, bytes4 found) = _item(_roundsOf[side][i], client, pending[i]);
            if (found == 0) (pending[i], due) = (pending[i] + amount, due + amount);
            else if (found != ITrainingRounds.AlreadyPaid.selector && !spoilt) continue;
            else if (found != ITrainingRounds.AlreadyPaid.selector && refusal == 0) refusal = found;
            claims.rounds[items++] = RoundClaim.wrap(((i + 1) << 104) | (proof.length << 96) | amount);
            claims.siblings = _concat(claims.siblings, proof);
        }
        RoundClaim[] memory kept = claims.rounds;
        assembly ("memory-safe") {
            mstore(kept, items)
        }
    }

    function _concat(bytes32[] memory first, bytes32[] memory second) private pure returns (bytes32[] memory both) {
        both = new bytes32[](first.length + second.length);
        for (uint256 i; i < both.length; ++i) {
            both[i] = i < first.length ? first[i] : second[i - first.length];
        }
    }

    function _item(RoundId round, uint256 client, uint256 pending)
        private
        view
        returns (uint256 amount, bytes32[] memory proof, bytes4 refusal)
    {
        Book storage book = _books[round];
        PayBasis basis = basisOf(round);
        if (basis == PayBasis.Time) {
            if (!book.submitted[client]) refusal = ITrainingRounds.NoUpdate.selector;
            else if (book.payments[client] != 0) refusal = ITrainingRounds.AlreadyPaid.selector;
            return (timePay(book, client), proof, refusal);
        }
        if (basis != PayBasis.Result) return (0, proof, ITrainingRounds.NotPayable.selector);
        Result memory result = paidResult(book);
        amount = result.amounts[client];
        refusal = claimRefusal(round, client, amount, !result.garbage, pending);
        return (amount, proofOf(round, result, client), refusal);
    }

    function _bookClaims(uint256 side, uint256 client, RoundClaim[] memory claimed) private {
        for (uint256 i; i < claimed.length; ++i) {
            uint256 word = RoundClaim.unwrap(claimed[i]);
            Book storage book = _books[_roundsOf[side][(word >> 104) - 1]];
            if (book.payments[client] != 0) continue;
            ++book.payments[client];
            book.toClients += uint96(word);
            held[side] -= uint96(word);
        }
    }
}
