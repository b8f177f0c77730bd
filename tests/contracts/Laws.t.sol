// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TrainingRounds} from "../../contracts/TrainingRounds.sol";
import {FederationId, PayBasis, Phase, RoundId, RoundView} from "../../contracts/interfaces/ITrainingRounds.sol";
import {Handler} from "./Handler.sol";

/// @dev The laws of the design, hunted by random sequences of everything that anybody can do.
contract LawsTest {
    Handler private handler;
    TrainingRounds private rounds;

    function setUp() external {
        handler = new Handler();
        rounds = handler.rounds();
    }

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    /// @dev Read by forge: everything that the handler does, `leave` apart.
    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        bytes4[] memory actions = new bytes4[](12);
        actions[0] = Handler.pass.selector;
        actions[1] = Handler.launch.selector;
        actions[2] = Handler.submit.selector;
        actions[3] = Handler.settle.selector;
        actions[4] = Handler.attest.selector;
        actions[5] = Handler.reveal.selector;
        actions[6] = Handler.claim.selector;
        actions[7] = Handler.claimBatch.selector;
        actions[8] = Handler.claimFee.selector;
        actions[9] = Handler.withdraw.selector;
        actions[10] = Handler.forfeit.selector;
        actions[11] = Handler.attestTogether.selector;
        targets[0] = FuzzSelector(address(handler), actions);
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// @dev Per round, paid + returned + forfeited <= escrowed; the views say what the balances said.
    function invariant_EachRoundKeepsItsOwnMoney() external view {
        uint256 total;
        for (uint256 i; i < handler.count(); ++i) {
            RoundId round = handler.all(i);
            RoundView memory shown = rounds.getRound(round);
            Handler.Book memory book = handler.bookOf(round);
            assert(shown.escrowed == book.escrowed);
            assert(shown.paidClients == book.toClients);
            assert(shown.paidAuditors == book.toAuditors);
            assert(shown.returned == book.returned);
            assert(shown.forfeited == book.forfeited);
            uint256 out = shown.paidClients + shown.paidAuditors + shown.returned + shown.forfeited;
            assert(out <= shown.escrowed);
            total += shown.escrowed - out;
        }
        assert(handler.token().balanceOf(address(rounds)) == total);
    }

    /// @dev What may still be withdrawn is never owed to anybody.
    function invariant_WithdrawalsLeaveWhatIsOwed() external view {
        for (uint256 i; i < handler.count(); ++i) {
            RoundId round = handler.all(i);
            RoundView memory shown = rounds.getRound(round);
            Handler.Book memory book = handler.bookOf(round);
            uint256 held = shown.escrowed - shown.paidClients - shown.paidAuditors - shown.returned - shown.forfeited;
            uint256 fees = uint256(book.terms.attestationFee) * shown.attestations - shown.paidAuditors;
            uint256 pay;
            if (shown.basis == PayBasis.Result) pay = shown.rewardsTotal - shown.paidClients;
            if (shown.basis == PayBasis.Time) pay = book.terms.rewardPerMilli * shown.timeMillis - shown.paidClients;
            assert(held >= rounds.withdrawable(round) + pay + fees);
        }
    }

    /// @dev Nobody is paid twice (the handler tries), nor without an update.
    function invariant_EachClientIsPaidOnce() external view {
        for (uint256 i; i < handler.count(); ++i) {
            RoundId round = handler.all(i);
            Handler.Book memory book = handler.bookOf(round);
            for (uint256 j; j < handler.CLIENTS(); ++j) {
                (uint40 millis, bool submitted, bool paid) = rounds.getUpdate(round, handler.client(j));
                assert(submitted == book.submitted[j] && millis == book.millis[j]);
                assert(paid == (book.payments[j] == 1));
                assert(book.payments[j] <= 1);
            }
        }
    }

    /// @dev The rolling hash replays from the updates in their order.
    function invariant_TheHashRolls() external view {
        for (uint256 i; i < handler.count(); ++i) {
            RoundId round = handler.all(i);
            assert(rounds.getRound(round).updatesHash == handler.bookOf(round).rolling);
        }
    }

    /// @dev Only Final and Unconfirmed move the head, each round starts from it, and one round is live at a time.
    function invariant_OnlyFinalAndUnconfirmedMoveTheHead() external view {
        for (uint256 f; f < 2; ++f) {
            FederationId federation = handler.federations(f);
            bytes32 head = handler.MODEL();
            uint64 launched = rounds.getFederation(federation).rounds;
            for (uint64 index = 1; index <= launched; ++index) {
                RoundId round = rounds.roundId(federation, index);
                RoundView memory shown = rounds.getRound(round);
                assert(shown.base == head);
                bool live =
                    shown.phase == Phase.Training || shown.phase == Phase.Settlement || shown.phase == Phase.Challenge;
                assert(!live || index == launched);
                if (shown.phase == Phase.Final || shown.phase == Phase.Unconfirmed) {
                    head = handler.bookOf(round).model;
                }
            }
            assert(rounds.getFederation(federation).head == head);
        }
    }

    /// @dev Of three auditors two decide, for good, and nobody else does; without auditors time does.
    function invariant_QuorumsDecide() external view {
        for (uint256 i; i < handler.count(); ++i) {
            RoundId round = handler.all(i);
            RoundView memory shown = rounds.getRound(round);
            Handler.Book memory book = handler.bookOf(round);
            bool audited = FederationId.unwrap(book.federation) == FederationId.unwrap(handler.federations(0));
            assert((shown.phase == Phase.Rejected) == (book.disagreeing >= 2));
            if (audited) assert((shown.phase == Phase.Final) == (book.agreeing >= 2));
            else assert(shown.phase != Phase.Unconfirmed);
            assert(shown.attestations == book.agreeing + book.disagreeing);
        }
    }

    /// @dev From every state there is a path that lets all money leave.
    function afterInvariant() external {
        handler.leave();
        for (uint256 i; i < handler.count(); ++i) {
            RoundView memory shown = rounds.getRound(handler.all(i));
            assert(shown.paidClients + shown.paidAuditors + shown.returned + shown.forfeited == shown.escrowed);
        }
        assert(handler.token().balanceOf(address(rounds)) == 0);
    }
}
