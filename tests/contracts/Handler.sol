// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {TrainingRounds} from "../../contracts/TrainingRounds.sol";
import {
    Claim,
    FederationId,
    FederationTerms,
    PayBasis,
    Phase,
    RoundId,
    RoundTerms,
    RoundView,
    Settlement
} from "../../contracts/interfaces/ITrainingRounds.sol";
import {TestToken} from "../../contracts/testing/TestToken.sol";
import {Tree} from "./Tree.sol";
import {vm, within} from "./Vm.sol";

/// @dev Acts on two federations, one audited and one not, in every way that the contract takes; keeps books of its own
/// by what balances say. It reverts where an action that must succeed does not, or one that must not does.
contract Handler {
    uint256 public constant CLIENTS = 4;
    uint256 public constant AUDITORS = 3;
    bytes32 public constant MODEL = keccak256("model");
    bytes32 private constant DERIVED = keccak256("derived");
    address public constant TREASURY = address(0xfee);

    struct Book {
        FederationId federation;
        RoundTerms terms;
        bytes32 rolling;
        bytes32 model;
        uint40[CLIENTS] millis;
        bool[CLIENTS] submitted;
        uint8[CLIENTS] payments;
        uint256[CLIENTS] settled; // what the settlement pays
        uint256[CLIENTS] other; // what the auditors would pay instead
        uint8 agreeing;
        uint8 disagreeing;
        uint256 escrowed;
        uint256 toClients;
        uint256 toAuditors;
        uint256 returned;
        uint256 forfeited;
        bool forfeitSent;
    }

    TrainingRounds public immutable rounds = new TrainingRounds();
    TestToken public immutable token = new TestToken(1e40);
    FederationId[2] public federations;
    RoundId[] public all;
    mapping(FederationId => RoundId) public last;
    mapping(RoundId => Book) private _books;

    constructor() {
        token.approve(address(rounds), type(uint256).max);
        address[] memory auditors = new address[](AUDITORS);
        for (uint256 i; i < AUDITORS; ++i) {
            auditors[i] = auditor(i);
        }
        federations[0] =
            rounds.createFederation(0, FederationTerms(IERC20(address(token)), 0, MODEL, TREASURY, 2, 0, auditors));
        federations[1] = rounds.createFederation(
            bytes32(uint256(1)), FederationTerms(IERC20(address(token)), 0, MODEL, TREASURY, 0, 0, new address[](0))
        );
    }

    // --- actions ---

    /// @dev Passes time, at times to the very second of a deadline of the federation's last round.
    function pass(uint256 which, uint256 deadline, uint16 time) external {
        RoundView memory shown = rounds.getRound(last[federations[which % 2]]);
        uint40[4] memory deadlines = [shown.trainingEnds, shown.settlementEnds, shown.challengeEnds, shown.revealEnds];
        uint256 target = deadlines[deadline % 4];
        uint256 present = vm.getBlockTimestamp();
        vm.warp(target > present && deadline % 3 != 0 ? target - (deadline % 2) : present + time % 600);
    }

    function launch(uint256 which, uint256 seed) public {
        FederationId federation = federations[which % 2];
        if (_isLive(last[federation])) return;
        uint40 maxMillis = uint40(within(seed, 1, 200_000));
        RoundTerms memory terms = RoundTerms({
            rewardPerMilli: uint96(within(seed >> 8, 0, 1e18)),
            maxMillis: maxMillis,
            timeCapMillis: uint40(within(seed >> 16, 0, maxMillis)),
            maxUpdates: uint24(within(seed >> 24, 1, CLIENTS + 1)),
            trainingSeconds: uint24(within(seed >> 32, 1, 1000)),
            settlementSeconds: uint24(within(seed >> 40, 1, 1000)),
            challengeSeconds: uint24(within(seed >> 48, which % 2 == 0 ? 1 : 0, 1000)),
            bond: uint96(within(seed >> 56, 0, 1e20)),
            attestationFee: uint96(within(seed >> 64, 0, 1e18)),
            consolidate: seed & 1 == 1
        });
        uint256 before = token.balanceOf(address(rounds));
        RoundId round = rounds.launchRound(federation, rounds.getFederation(federation).head, terms);
        last[federation] = round;
        all.push(round);
        Book storage book = _books[round];
        book.federation = federation;
        book.terms = terms;
        book.rolling = rounds.getRound(round).updatesHash;
        book.escrowed = token.balanceOf(address(rounds)) - before;
    }

    function submit(uint256 which, uint256 who, uint256 time) external {
        RoundId round = last[federations[which % 2]];
        RoundView memory shown = rounds.getRound(round);
        uint256 client_ = who % CLIENTS;
        if (shown.phase != Phase.Training || _books[round].submitted[client_]) return launch(which, time);
        uint256 present = vm.getBlockTimestamp();
        if (present == shown.launchedAt && shown.trainingEnds > present + 1) vm.warp(++present);
        Book storage book = _books[round];
        uint256 elapsed = 1000 * (present - shown.launchedAt);
        uint40 millis = uint40(within(time, 0, elapsed < book.terms.maxMillis ? elapsed : book.terms.maxMillis));
        bytes32 digest = keccak256(abi.encode(who));
        vm.prank(client(client_));
        rounds.submitUpdate(round, digest, millis);
        (book.submitted[client_], book.millis[client_]) = (true, millis);
        book.rolling = keccak256(abi.encode(book.rolling, client(client_), digest, millis));
    }

    function settle(uint256 which, uint256 seed) external {
        RoundId round = last[federations[which % 2]];
        RoundView memory shown = rounds.getRound(round);
        if (shown.phase == Phase.Training && shown.updates > 0 && seed % 2 == 0) vm.warp(shown.trainingEnds);
        shown = rounds.getRound(round);
        if (shown.phase != Phase.Settlement) return;
        Book storage book = _books[round];
        for (uint256 i; i < CLIENTS; ++i) {
            if (!book.submitted[i]) continue;
            book.settled[i] = within(uint256(keccak256(abi.encode(seed, i))), 0, _most(round, i));
            book.other[i] = within(uint256(keccak256(abi.encode(seed, i, "other"))), 0, _most(round, i));
        }
        book.model = seed % 5 == 0 ? shown.base : keccak256(abi.encode(round, "model"));
        (bytes32 root, uint256 total) = _tree(round, book.settled);
        rounds.settle(round, Settlement(shown.updatesHash, book.model, 0, DERIVED, root, uint96(total)));
    }

    /// @dev Two auditors of one mind, so that quorums come about often.
    function attestTogether(uint256 who, bool agrees) external {
        attest(who, agrees);
        attest(who % AUDITORS + 1, agrees);
    }

    function attest(uint256 who, bool agrees) public {
        RoundId round = last[federations[0]];
        RoundView memory shown = rounds.getRound(round);
        address auditor_ = auditor(who % AUDITORS);
        (bool attested,) = rounds.hasAttested(round, auditor_);
        if (attested || vm.getBlockTimestamp() >= shown.challengeEnds) return;
        bytes32 said = agrees ? shown.resultHash : _otherHash(round, shown);
        vm.prank(auditor_);
        rounds.attest(round, said, keccak256("witness"));
        if (said == shown.resultHash) ++_books[round].agreeing;
        else ++_books[round].disagreeing;
    }

    function reveal(uint256 which) external {
        if (all.length == 0) return;
        RoundId round = all[which % all.length];
        RoundView memory shown = rounds.getRound(round);
        if (shown.phase != Phase.Rejected || shown.revealed || shown.basis != PayBasis.Undecided) return;
        (bytes32 root, uint256 total) = _tree(round, _books[round].other);
        rounds.reveal(round, MODEL, DERIVED, root, uint96(total));
    }

    function claim(uint256 which, uint256 who) external {
        if (all.length == 0) return;
        _claim(all[which % all.length], who % CLIENTS);
    }

    /// @dev All that the client can claim now, paid or not, in one call.
    function claimBatch(uint256 who) external {
        uint256 client_ = who % CLIENTS;
        Claim[] memory items = new Claim[](all.length);
        uint256 count;
        uint256 due;
        for (uint256 i; i < all.length; ++i) {
            (bool payable_, Claim memory item, uint256 amount) = _item(all[i], client_);
            if (!payable_) continue;
            items[count++] = item;
            Book storage book = _books[all[i]];
            if (book.payments[client_] != 0) continue;
            ++book.payments[client_];
            book.toClients += amount;
            due += amount;
        }
        assembly ("memory-safe") {
            mstore(items, count)
        }
        uint256 before = token.balanceOf(client(client_));
        rounds.claimBatch(items);
        require(token.balanceOf(client(client_)) - before == due, "batch");
    }

    function claimFee(uint256 which, uint256 who) external {
        if (all.length == 0) return;
        _claimFee(all[which % all.length], auditor(who % AUDITORS));
    }

    function withdraw(uint256 which) external {
        if (all.length == 0) return;
        _withdraw(which % 2 == 0 ? all[all.length - 1] : all[which % all.length]);
    }

    function forfeit(uint256 which) external {
        if (all.length == 0) return;
        _forfeit(all[which % all.length]);
    }

    /// @dev The end of time: everybody takes what is theirs.
    function leave() external {
        vm.warp(vm.getBlockTimestamp() + 365 days);
        for (uint256 i; i < all.length; ++i) {
            for (uint256 j; j < CLIENTS; ++j) {
                _claim(all[i], j);
            }
            for (uint256 j; j < AUDITORS; ++j) {
                _claimFee(all[i], auditor(j));
            }
            _withdraw(all[i]);
            _forfeit(all[i]);
        }
    }

    // --- people and books ---

    function client(uint256 number) public pure returns (address) {
        return address(uint160(0xc11e0000 + number));
    }

    function auditor(uint256 number) public pure returns (address) {
        return address(uint160(0xa0d10000 + number));
    }

    function count() external view returns (uint256) {
        return all.length;
    }

    function bookOf(RoundId round) external view returns (Book memory) {
        return _books[round];
    }

    // --- private ---

    function _isLive(RoundId round) private view returns (bool) {
        Phase phase = rounds.getRound(round).phase;
        return phase == Phase.Training || phase == Phase.Settlement || phase == Phase.Challenge;
    }

    /// @dev rate x recorded milliseconds.
    function _most(RoundId round, uint256 client_) private view returns (uint256) {
        return uint256(_books[round].terms.rewardPerMilli) * _books[round].millis[client_];
    }

    function _leaf(RoundId round, uint256 client_, uint256 amount) private pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(round, client(client_), amount))));
    }

    function _leaves(RoundId round, uint256[CLIENTS] memory amounts) private pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](CLIENTS);
        uint256 used;
        for (uint256 i; i < CLIENTS; ++i) {
            if (amounts[i] != 0) leaves[used++] = _leaf(round, i, amounts[i]);
        }
        assembly ("memory-safe") {
            mstore(leaves, used)
        }
    }

    function _tree(RoundId round, uint256[CLIENTS] memory amounts) private pure returns (bytes32 root, uint256 total) {
        root = Tree.root(_leaves(round, amounts));
        for (uint256 i; i < CLIENTS; ++i) {
            total += amounts[i];
        }
    }

    function _otherHash(RoundId round, RoundView memory shown) private view returns (bytes32) {
        (bytes32 root, uint256 total) = _tree(round, _books[round].other);
        return keccak256(
            abi.encode(
                block.chainid, address(rounds), round, shown.base, shown.updatesHash, MODEL, DERIVED, root, total
            )
        );
    }

    /// @dev What the client could claim of the round now, whether or not it has been.
    function _item(RoundId round, uint256 client_)
        private
        view
        returns (bool payable_, Claim memory item, uint256 amount)
    {
        RoundView memory shown = rounds.getRound(round);
        Book storage book = _books[round];
        item = Claim(round, client(client_), 0, new bytes32[](0));
        if (!book.submitted[client_]) return (false, item, 0);
        if (shown.basis == PayBasis.Time) {
            uint256 cap = book.terms.timeCapMillis;
            uint256 millis = book.millis[client_] < cap ? book.millis[client_] : cap;
            return (true, item, book.terms.rewardPerMilli * millis);
        }
        if (shown.basis != PayBasis.Result) return (false, item, 0);
        uint256[CLIENTS] memory amounts = shown.revealed ? book.other : book.settled;
        amount = amounts[client_];
        if (amount == 0) return (false, item, 0);
        uint256 position;
        for (uint256 i; i < client_; ++i) {
            if (amounts[i] != 0) ++position;
        }
        item.amount = uint96(amount);
        item.proof = Tree.proof(_leaves(round, amounts), position);
        return (true, item, amount);
    }

    function _claim(RoundId round, uint256 client_) private {
        (bool payable_, Claim memory item, uint256 amount) = _item(round, client_);
        Book storage book = _books[round];
        if (!payable_) return;
        bool fresh = book.payments[client_] == 0;
        uint256 before = token.balanceOf(item.client);
        bool succeeded;
        if (rounds.getRound(round).basis == PayBasis.Time) {
            try rounds.claimByTime(round, item.client) {
                succeeded = true;
            } catch {}
        } else {
            try rounds.claim(round, item.client, item.amount, item.proof) {
                succeeded = true;
            } catch {}
        }
        require(succeeded == fresh, "paid twice, or not at all");
        require(token.balanceOf(item.client) - before == (fresh ? amount : 0), "amount");
        if (!fresh) return;
        ++book.payments[client_];
        book.toClients += amount;
    }

    function _claimFee(RoundId round, address auditor_) private {
        (bool attested, bool paid) = rounds.hasAttested(round, auditor_);
        uint256 before = token.balanceOf(auditor_);
        try rounds.claimAttestationFee(round, auditor_) {
            require(attested && !paid, "fee");
        } catch {
            require(!attested || paid, "no fee");
        }
        _books[round].toAuditors += token.balanceOf(auditor_) - before;
    }

    function _withdraw(RoundId round) private {
        uint256 expected = rounds.withdrawable(round);
        uint256 before = token.balanceOf(address(this));
        require(rounds.withdraw(round) == expected, "withdrawable");
        require(token.balanceOf(address(this)) - before == expected, "returned");
        require(rounds.withdrawable(round) == 0, "idempotent");
        _books[round].returned += expected;
    }

    function _forfeit(RoundId round) private {
        RoundView memory shown = rounds.getRound(round);
        bool lost = shown.phase == Phase.Rejected || shown.phase == Phase.Abandoned;
        uint256 before = token.balanceOf(TREASURY);
        try rounds.forfeit(round) {
            require(lost, "bond");
        } catch {
            require(!lost || _books[round].forfeitSent, "no bond");
        }
        if (lost) _books[round].forfeitSent = true;
        _books[round].forfeited += token.balanceOf(TREASURY) - before;
    }
}
