// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TrainingRounds} from "../../contracts/TrainingRounds.sol";
import {FederationView, PayBasis, Phase, RoundId, RoundView} from "../../contracts/interfaces/ITrainingRounds.sol";
import {Book} from "./Books.sol";
import {Handler} from "./Handler.sol";
import {vm} from "./Vm.sol";
import {CLIENTS, MODEL, SIDES} from "./World.sol";

/// @dev The laws of the design, hunted by random sequences of everything that anybody can do. After each call they are
/// asked of one federation, all in turn, and at the end of each run of all; a failure names the law.
abstract contract Hunt {
    Handler internal handler;
    TrainingRounds internal rounds;

    function setUp() external {
        handler = new Handler();
        rounds = handler.rounds();
    }

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    /// @dev Read by forge: everything that the handler does, `takeAll` apart.
    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        bytes4[20] memory actions = [
            Handler.pass.selector,
            Handler.pass.selector,
            Handler.misbehave.selector,
            Handler.donate.selector,
            Handler.handOver.selector,
            Handler.admit.selector,
            Handler.join.selector,
            Handler.launch.selector,
            Handler.submit.selector,
            Handler.submitFor.selector,
            Handler.submitBatch.selector,
            Handler.settle.selector,
            Handler.attest.selector,
            Handler.attestTogether.selector,
            Handler.reveal.selector,
            Handler.streak.selector,
            Handler.claim.selector,
            Handler.claimBatch.selector,
            Handler.claimFee.selector,
            Handler.withdraw.selector
        ];
        targets[0] = FuzzSelector(address(handler), new bytes4[](actions.length + 1));
        for (uint256 i; i < actions.length; ++i) {
            targets[0].selectors[i] = actions[i];
        }
        targets[0].selectors[actions.length] = Handler.forfeit.selector;
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }
}

contract LawsOfMoneyTest is Hunt {
    function invariant_Money() external view {
        _money(handler.calls() % SIDES);
        _theBalanceCoversAllRounds();
        require(!handler.hostile().gotIn(), "a token got in");
    }

    function _money(uint256 side) private view {
        RoundId[] memory launched = handler.roundsOf(side);
        uint256 held;
        for (uint256 i; i < launched.length; ++i) {
            RoundView memory shown = rounds.getRound(launched[i]);
            Book memory book = handler.bookOf(launched[i]);
            _everyRoundIsAnIsland(shown, book);
            _nobodyIsPaidTwice(launched[i], book);
            held += _noMoreLeavesThanCame(launched[i], shown, book);
        }
        require(held == handler.held(side), "held");
    }

    /// @dev Only what was done to a round changes its money: books that know nothing of other rounds agree.
    function _everyRoundIsAnIsland(RoundView memory shown, Book memory book) private pure {
        require(shown.escrowed == book.escrowed, "island: escrowed");
        require(shown.paidClients == book.toClients, "island: clients");
        require(shown.paidAuditors == book.toAuditors, "island: auditors");
        require(shown.returned == book.returned, "island: returned");
        require(shown.forfeited == book.forfeited, "island: forfeited");
    }

    /// @dev Nor without an update; and no other round's records of the client change, though seven share a slot.
    function _nobodyIsPaidTwice(RoundId round, Book memory book) private view {
        for (uint256 j; j < CLIENTS; ++j) {
            address client = handler.clients(j);
            (uint40 millis, bool submitted, bool paid) = rounds.getUpdate(round, client);
            require(submitted == book.submitted[j] && millis == book.millis[j], "record");
            require(book.payments[j] <= 1 && paid == (book.payments[j] == 1), "paid once");
            require(handler.loggedPayments(round, client) == book.payments[j], "logged once");
        }
    }

    /// @dev paid + returned + forfeited <= escrowed, in the views and in the logs, and what may be withdrawn now is not
    /// owed to anybody, nor may come to be. Returns what the round holds.
    function _noMoreLeavesThanCame(RoundId round, RoundView memory shown, Book memory book)
        private
        view
        returns (uint256 held)
    {
        uint256 left = shown.paidClients + shown.paidAuditors + shown.returned + shown.forfeited;
        require(left <= shown.escrowed, "more leaves than came");
        require(left == book.loggedOut, "logs");
        held = shown.escrowed - left;
        bool attesting = vm.getBlockTimestamp() < shown.challengeEnds; // also after a quorum
        uint256 fees = attesting ? handler.auditorsOf(book.side) : shown.attestations;
        uint256 owed = book.terms.attestationFee * fees - shown.paidAuditors;
        uint256 rate = book.terms.rewardPerMilli;
        if (shown.basis == PayBasis.Undecided) owed += rate * book.terms.maxMillis * book.terms.maxUpdates;
        if (shown.basis == PayBasis.Result) owed += shown.rewardsTotal - shown.paidClients;
        if (shown.basis == PayBasis.Time) owed += rate * shown.timeMillis - shown.paidClients;
        bool loses = shown.phase == Phase.Rejected || shown.phase == Phase.Abandoned;
        if (loses && !book.bondLost) owed += book.terms.bond;
        require(held >= rounds.withdrawable(round) + owed, "withdrawable is owed");
    }

    /// @dev Contract balance >= sum over rounds; to the base unit, what was given away to the contract apart. A token
    /// that shrinks by itself can only fail its own federation.
    function _theBalanceCoversAllRounds() private view {
        uint256 first = handler.held(0) + handler.held(1) + handler.donated(0);
        require(handler.tokens(0).balanceOf(address(rounds)) == first, "balance of the first token");
        uint256 second = handler.held(2) + handler.donated(2);
        require(handler.tokens(2).balanceOf(address(rounds)) == second, "balance of the second token");
    }

    /// @dev From every state there is a path that lets all money leave: at the end of time everybody takes what is
    /// theirs. Only what a lying result owes to nobody who could prove it stays.
    function afterInvariant() external {
        handler.takeAll();
        for (uint256 side; side < SIDES; ++side) {
            _money(side);
        }
        _theBalanceCoversAllRounds();
        for (uint256 i; i < handler.count(); ++i) {
            RoundId round = handler.all(i);
            RoundView memory shown = rounds.getRound(round);
            uint256 left = shown.paidClients + shown.paidAuditors + shown.returned + shown.forfeited;
            uint256 unprovable = shown.basis == PayBasis.Result ? shown.rewardsTotal - shown.paidClients : 0;
            require(left + unprovable == shown.escrowed, "money stays");
            require(unprovable == 0 || handler.lies(round), "pay stays");
        }
    }
}

contract LawsOfOrderTest is Hunt {
    function invariant_Order() external view {
        _order(handler.calls() % SIDES);
    }

    function afterInvariant() external view {
        for (uint256 side; side < SIDES; ++side) {
            _order(side);
        }
    }

    function _order(uint256 side) private view {
        _onlyFinalAndUnconfirmedMoveTheHead(side);
        RoundId[] memory launched = handler.roundsOf(side);
        for (uint256 i; i < launched.length; ++i) {
            RoundView memory shown = rounds.getRound(launched[i]);
            Book memory book = handler.bookOf(launched[i]);
            _timeAndCountersDecide(launched[i], shown, book);
            _theHashRolls(shown, book);
        }
    }

    /// @dev Each round starts from the head, one round is live at a time, and only its two outcomes move the head.
    function _onlyFinalAndUnconfirmedMoveTheHead(uint256 side) private view {
        bytes32 head = MODEL;
        FederationView memory federation = rounds.getFederation(handler.federations(side));
        RoundId[] memory launched = handler.roundsOf(side);
        require(federation.rounds == launched.length, "rounds");
        for (uint256 i; i < launched.length; ++i) {
            RoundView memory shown = rounds.getRound(launched[i]);
            require(shown.index == i + 1 && shown.base == head, "lineage");
            bool live =
                shown.phase == Phase.Training || shown.phase == Phase.Settlement || shown.phase == Phase.Challenge;
            require(!live || i + 1 == launched.length, "two live");
            if (shown.phase == Phase.Final || shown.phase == Phase.Unconfirmed) {
                head = handler.bookOf(launched[i]).settled.model;
            }
        }
        require(federation.head == head, "head");
        require(federation.organization == handler.leaderOf(side), "organization");
        require(federation.offeredTo == handler.offeredTo(side), "offered");
        require(federation.admissionRoot == handler.roots(side == 1 ? handler.list() : 0), "admission");
    }

    /// @dev Phase and basis follow from time, counters and the first quorum alone.
    function _timeAndCountersDecide(RoundId round, RoundView memory shown, Book memory book) private view {
        require(shown.phase == handler.phaseOf(round), "phase");
        require(shown.basis == handler.basisOf(round), "basis");
        require(shown.updates == book.updates && shown.launchedAt == book.launchedAt, "counters");
        require(shown.attestations == handler.attestations(round), "attestations");
        require(shown.revealed == book.revealed, "revealed");
        uint256 millis;
        for (uint256 j; j < CLIENTS; ++j) {
            millis += book.millis[j] < book.terms.timeCapMillis ? book.millis[j] : book.terms.timeCapMillis;
        }
        require(shown.timeMillis == millis, "time");
    }

    /// @dev The rolling hash replays from the logs, and the logs hold every update.
    function _theHashRolls(RoundView memory shown, Book memory book) private pure {
        require(shown.updatesHash == book.rolling && shown.updates == book.loggedUpdates, "rolling hash");
    }
}
