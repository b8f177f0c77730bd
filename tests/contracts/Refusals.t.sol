// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {
    ClientClaims,
    FederationId,
    FederationTerms,
    ITrainingRounds,
    PayBasis,
    Phase,
    RoundClaim,
    RoundId,
    RoundTerms,
    Settlement,
    SignedUpdate,
    Term
} from "../../contracts/interfaces/ITrainingRounds.sol";
import {FeeOnTransferToken} from "../../contracts/testing/FeeOnTransferToken.sol";
import {Scene} from "./Scene.sol";
import {vm, within} from "./Vm.sol";

/// @dev Every refusal of a federation and of a launch, over all values that must be refused.
contract BeginningsTest is Scene {
    FederationId private immutable unknown = FederationId.wrap(keccak256("unknown"));

    function refuseUnknown() private {
        refuse(abi.encodeWithSelector(ITrainingRounds.UnknownFederation.selector, unknown));
    }

    function test_UnknownFederations() external {
        refuseUnknown();
        rounds.offerOrganization(unknown, BOB);
        refuseUnknown();
        rounds.acceptOrganization(unknown);
        refuseUnknown();
        rounds.setAdmission(unknown, 0);
        refuseUnknown();
        rounds.join(unknown, BOB, new bytes32[](0));
        refuseUnknown();
        rounds.launchRound(unknown, BASE, roundTerms());
        refuseUnknown();
        rounds.claimBatch(unknown, new ClientClaims[](0));
        assert(!rounds.isJoined(unknown, 0, BOB) && !rounds.isAuditor(unknown, BOB));
        assert(rounds.getFederation(unknown).organization == address(0));
    }

    function test_AFederationIsCreatedOnce() external {
        FederationId federation = rounds.createFederation("salt", federationTerms(2, 3, 0));
        assert(FederationId.unwrap(federation) == FederationId.unwrap(rounds.federationId(address(this), "salt")));
        refuse(abi.encodeWithSelector(ITrainingRounds.FederationExists.selector, federation));
        rounds.createFederation("salt", federationTerms(2, 3, 0));
    }

    function test_NothingIsZeroThatMustNotBe() external {
        FederationTerms memory terms = federationTerms(2, 3, 0);
        terms.forfeitTo = address(0);
        refuse(abi.encodeWithSelector(ITrainingRounds.ZeroForfeitTo.selector));
        rounds.createFederation(0, terms);
        (terms.forfeitTo, terms.model) = (TREASURY, 0);
        refuse(abi.encodeWithSelector(ITrainingRounds.ZeroModel.selector));
        rounds.createFederation(0, terms);
    }

    /// @dev 0 < quorum <= N and 2 x quorum > N, or both 0; at most 32.
    function testFuzz_QuorumsAreMajorities(uint8 quorum, uint8 auditors) external {
        (quorum, auditors) = (quorum % 40, auditors % 40);
        bool majority = quorum <= auditors && 2 * uint256(quorum) > auditors && auditors <= 32;
        bool valid = quorum == 0 ? auditors == 0 : majority;
        if (!valid) refuse(abi.encodeWithSelector(ITrainingRounds.InvalidQuorum.selector, quorum, auditors));
        FederationId federation = rounds.createFederation(0, federationTerms(quorum, auditors, 0));
        if (!valid) return;
        assert(rounds.getFederation(federation).auditors == auditors);
        for (uint256 i; i < 41; ++i) {
            assert(rounds.isAuditor(federation, auditor(i)) == (i < auditors));
        }
    }

    function test_AuditorsAscend() external {
        FederationTerms memory terms = federationTerms(2, 3, 0);
        terms.auditors[2] = terms.auditors[1];
        refuse(abi.encodeWithSelector(ITrainingRounds.AuditorsNotAscending.selector, 2, terms.auditors[1]));
        rounds.createFederation(0, terms);
        terms.auditors[0] = address(0);
        refuse(abi.encodeWithSelector(ITrainingRounds.AuditorsNotAscending.selector, 0, address(0)));
        rounds.createFederation(0, terms);
    }

    function refuseMallory(FederationId federation) private {
        refuse(abi.encodeWithSelector(ITrainingRounds.NotOrganization.selector, federation, MALLORY, address(this)));
        vm.prank(MALLORY);
    }

    function test_OnlyTheOrganizationLeads() external {
        FederationId federation = created(2, 3, 0);
        RoundId round = trained(federation);
        Settlement memory said = settlement(round);
        refuseMallory(federation);
        rounds.offerOrganization(federation, MALLORY);
        refuseMallory(federation);
        rounds.setAdmission(federation, 0);
        refuseMallory(federation);
        rounds.launchRound(federation, BASE, roundTerms());
        refuseMallory(federation);
        rounds.settle(round, said);
    }

    function test_ARoleIsTakenByWhomItIsOffered() external {
        FederationId federation = created(2, 3, 0);
        rounds.offerOrganization(federation, BOB);
        assert(rounds.getFederation(federation).offeredTo == BOB);
        refuse(abi.encodeWithSelector(ITrainingRounds.NotOffered.selector, federation, MALLORY, BOB));
        vm.prank(MALLORY);
        rounds.acceptOrganization(federation);
        vm.prank(BOB);
        rounds.acceptOrganization(federation);
        assert(rounds.getFederation(federation).organization == BOB);
        assert(rounds.getFederation(federation).offeredTo == address(0));
    }

    // --- admission ---

    function lone(address client) private pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(client))));
    }

    function test_JoiningIsOncePerRootAndForTheListed() external {
        FederationId federation = created(2, 3, 0);
        bytes32[] memory none = new bytes32[](0);
        refuse(abi.encodeWithSelector(ITrainingRounds.AdmissionIsOpen.selector, federation));
        rounds.join(federation, BOB, none);
        rounds.setAdmission(federation, lone(BOB));
        refuse(abi.encodeWithSelector(ITrainingRounds.InvalidProof.selector, lone(BOB), lone(CAROL)));
        rounds.join(federation, CAROL, none);
        rounds.join(federation, BOB, none);
        refuse(abi.encodeWithSelector(ITrainingRounds.AlreadyJoined.selector, federation, lone(BOB), BOB));
        rounds.join(federation, BOB, none);
        rounds.setAdmission(federation, lone(CAROL));
        assert(!rounds.isJoined(federation, lone(CAROL), BOB) && rounds.isJoined(federation, lone(BOB), BOB));
        rounds.setAdmission(federation, lone(BOB)); // a root that comes back has its joins
        refuse(abi.encodeWithSelector(ITrainingRounds.AlreadyJoined.selector, federation, lone(BOB), BOB));
        rounds.join(federation, BOB, none);
    }

    function test_WhoHasNotJoinedCannotSubmit() external {
        FederationId federation = created(2, 3, lone(BOB));
        RoundId round = launched(federation);
        rounds.setAdmission(federation, 0); // counts from the next launch
        refuse(abi.encodeWithSelector(ITrainingRounds.NotJoined.selector, federation, lone(BOB), CAROL));
        submit(round, CAROL, 0);
        rounds.setAdmission(federation, lone(BOB));
        rounds.join(federation, BOB, new bytes32[](0));
        submit(round, BOB, 0);
        assert(rounds.getRound(round).admissionRoot == lone(BOB));
    }

    // --- launch ---

    function refuseTerm(FederationId federation, RoundTerms memory terms, Term term, uint256[3] memory v) private {
        refuse(abi.encodeWithSelector(ITrainingRounds.TermOutOfRange.selector, term, v[0], v[1], v[2]));
        rounds.launchRound(federation, BASE, terms);
    }

    function testFuzz_TermsAreBounded(uint24 above) external {
        FederationId audited = created(2, 3, 0);
        RoundTerms memory terms = roundTerms();
        terms.maxMillis = 0;
        refuseTerm(audited, terms, Term.MaxMillis, [uint256(0), 1, type(uint40).max]);
        (terms.maxMillis, terms.timeCapMillis) = (1000, uint40(1001 + uint256(above)));
        refuseTerm(audited, terms, Term.TimeCapMillis, [uint256(terms.timeCapMillis), 0, 1000]);
        (terms.timeCapMillis, terms.maxUpdates) = (400, 0);
        refuseTerm(audited, terms, Term.MaxUpdates, [uint256(0), 1, type(uint24).max]);
        (terms.maxUpdates, terms.trainingSeconds) = (3, 0);
        refuseTerm(audited, terms, Term.TrainingSeconds, [uint256(0), 1, 90 days]);
        terms.trainingSeconds = uint24(within(above, 90 days + 1, type(uint24).max));
        refuseTerm(audited, terms, Term.TrainingSeconds, [uint256(terms.trainingSeconds), 1, 90 days]);
        (terms.trainingSeconds, terms.settlementSeconds) = (100, 0);
        refuseTerm(audited, terms, Term.SettlementSeconds, [uint256(0), 1, 30 days]);
        terms.settlementSeconds = uint24(within(above, 30 days + 1, type(uint24).max));
        refuseTerm(audited, terms, Term.SettlementSeconds, [uint256(terms.settlementSeconds), 1, 30 days]);
        (terms.settlementSeconds, terms.challengeSeconds) = (50, 0);
        refuseTerm(audited, terms, Term.ChallengeSeconds, [uint256(0), 1, 30 days]);
        terms.challengeSeconds = uint24(within(above, 30 days + 1, type(uint24).max));
        refuseTerm(audited, terms, Term.ChallengeSeconds, [uint256(terms.challengeSeconds), 1, 30 days]);
        terms.challengeSeconds = 30;
        (terms.maxMillis, terms.timeCapMillis, terms.maxUpdates) = (type(uint40).max, 2 ** 33, 2 ** 23);
        refuseTerm(audited, terms, Term.TimeCapTotal, [uint256(2 ** 56), 0, 2 ** 56 - 1]);
    }

    function test_WithoutAuditorsTheChallengeMayBeNothing() external {
        RoundTerms memory terms = roundTerms();
        terms.challengeSeconds = 0;
        rounds.launchRound(created(0, 0, 0), BASE, terms);
    }

    function testFuzz_AnEscrowFits96Bits(uint96 rate) external {
        FederationId federation = created(2, 3, 0);
        RoundTerms memory terms = roundTerms();
        terms.rewardPerMilli = uint96(within(rate, uint256(2 ** 96) / 3000 + 1, type(uint96).max));
        uint256 escrow = uint256(terms.rewardPerMilli) * 3000 + 70 + 15;
        refuse(abi.encodeWithSelector(SafeCast.SafeCastOverflowedUintDowncast.selector, 96, escrow));
        rounds.launchRound(federation, BASE, terms);
    }

    function test_OneLiveRoundThatStartsFromTheHead() external {
        FederationId federation = created(2, 3, 0);
        refuse(abi.encodeWithSelector(ITrainingRounds.StaleBase.selector, federation, NEXT, BASE));
        rounds.launchRound(federation, NEXT, roundTerms());
        RoundId round = launched(federation);
        refuse(abi.encodeWithSelector(ITrainingRounds.RoundIsLive.selector, round, Phase.Training));
        launched(federation);
    }

    function test_ExactlyTheEscrowArrives() external {
        FederationTerms memory terms = federationTerms(2, 3, 0);
        FeeOnTransferToken greedy = new FeeOnTransferToken(1e30);
        greedy.approve(address(rounds), type(uint256).max);
        terms.token = IERC20(address(greedy));
        FederationId federation = rounds.createFederation("greedy", terms);
        refuse(abi.encodeWithSelector(ITrainingRounds.EscrowNotReceived.selector, greedy, 3085 - 30, 3085));
        launched(federation);
        terms.token = IERC20(MALLORY); // no contract at all
        federation = rounds.createFederation("nothing", terms);
        refuse(abi.encodeWithSelector(ITrainingRounds.EscrowNotReceived.selector, MALLORY, 0, 3085));
        launched(federation);
        RoundTerms memory free = roundTerms();
        (free.rewardPerMilli, free.bond, free.attestationFee) = (0, 0, 0);
        rounds.launchRound(federation, BASE, free); // an escrow of nothing asks for no token
    }
}

/// @dev Every refusal of an update, a settlement and a verdict.
contract RoundsTest is Scene {
    RoundId private immutable unknown = RoundId.wrap(keccak256("unknown"));

    function refuseUnknown() private {
        refuse(abi.encodeWithSelector(ITrainingRounds.UnknownRound.selector, unknown));
    }

    function test_UnknownRounds() external {
        refuseUnknown();
        rounds.submitUpdate(unknown, DIGEST, 0);
        refuseUnknown();
        rounds.submitUpdates(unknown, new SignedUpdate[](0));
        refuseUnknown();
        rounds.updateTypedDataHash(unknown, BOB, DIGEST, 0);
        Settlement memory nothing;
        refuseUnknown();
        rounds.settle(unknown, nothing);
        refuseUnknown();
        rounds.attest(unknown, NEXT, WITNESS);
        refuseUnknown();
        rounds.reveal(unknown, NEXT, DERIVED, 0, 0);
        refuseUnknown();
        rounds.claim(unknown, BOB, 1, new bytes32[](0));
        refuseUnknown();
        rounds.claimByTime(unknown, BOB);
        refuseUnknown();
        rounds.claimAttestationFee(unknown, BOB);
        refuseUnknown();
        rounds.withdraw(unknown);
        refuseUnknown();
        rounds.forfeit(unknown);
        assert(rounds.getRound(unknown).phase == Phase.None && rounds.withdrawable(unknown) == 0);
        (uint40 millis, bool submitted, bool paid) = rounds.getUpdate(unknown, BOB);
        assert(millis == 0 && !submitted && !paid);
        (bool attested, bool feePaid) = rounds.hasAttested(unknown, BOB);
        assert(!attested && !feePaid && rounds.votes(unknown, NEXT) == 0);
    }

    function refusePhase(RoundId round, Phase actual, Phase required) private {
        refuse(abi.encodeWithSelector(ITrainingRounds.WrongPhase.selector, round, actual, required));
    }

    // --- updates ---

    function test_NoUpdateAtOrAfterTheDeadline() external {
        RoundId round = launched(created(2, 3, 0));
        uint256 deadline = rounds.getRound(round).trainingEnds;
        vm.warp(deadline - 1);
        submit(round, BOB, 0);
        vm.warp(deadline);
        refusePhase(round, Phase.Settlement, Phase.Training);
        submit(round, CAROL, 0);
        SignedUpdate memory update = signed(round, KEY, alice, 0);
        refusePhase(round, Phase.Settlement, Phase.Training);
        rounds.submitUpdateFor(round, update);
        refusePhase(round, Phase.Settlement, Phase.Training);
        rounds.submitUpdates(round, new SignedUpdate[](0));
    }

    function testFuzz_MillisAreBounded(uint40 millis, uint8 elapsed) external {
        RoundId round = launched(created(2, 3, 0));
        vm.warp(rounds.getRound(round).launchedAt + elapsed % 100);
        uint256 most = elapsed % 100 == 0 ? 0 : 1000;
        if (millis > most) refuse(abi.encodeWithSelector(ITrainingRounds.TooManyMillis.selector, round, millis, most));
        submit(round, BOB, millis);
    }

    function test_OneUpdateOfSomething() external {
        RoundId round = launched(created(2, 3, 0));
        refuse(abi.encodeWithSelector(ITrainingRounds.ZeroDigest.selector, round));
        rounds.submitUpdate(round, 0, 0);
        submit(round, BOB, 0);
        refuse(abi.encodeWithSelector(ITrainingRounds.AlreadySubmitted.selector, round, BOB));
        submit(round, BOB, 0);
        submit(round, CAROL, 0);
        submit(round, alice, 0);
        refuse(abi.encodeWithSelector(ITrainingRounds.RoundFull.selector, round, 3));
        submit(round, MALLORY, 0);
        assert(rounds.getRound(round).phase == Phase.Settlement);
    }

    function test_ASignatureIsTheClients() external {
        RoundId round = launched(created(2, 3, 0));
        SignedUpdate memory update = signed(round, KEY + 1, alice, 0);
        refuse(abi.encodeWithSelector(ITrainingRounds.InvalidSignature.selector, round, alice));
        rounds.submitUpdateFor(round, update);
        rounds.submitUpdateFor(round, signed(round, KEY, alice, 0));
        (, bool submitted,) = rounds.getUpdate(round, alice);
        assert(submitted);
    }

    /// @dev A batch passes over what is bad, and takes what is left.
    function test_ABatchTakesTheGood() external {
        FederationId federation = created(2, 3, 0);
        RoundId round = launched(federation);
        SignedUpdate[] memory updates = new SignedUpdate[](9);
        for (uint256 i; i < updates.length; ++i) {
            updates[i] = signed(round, KEY + i, vm.addr(KEY + i), 0);
        }
        updates[1] = updates[0]; // already submitted
        updates[2].digest = 0;
        updates[3].millis = 1;
        updates[4].signature = updates[5].signature;
        rounds.submitUpdates(round, updates); // 0, 5 and 6 fill the round
        assert(rounds.getRound(round).updates == 3);
        for (uint256 i; i < updates.length; ++i) {
            (, bool submitted,) = rounds.getUpdate(round, vm.addr(KEY + i));
            assert(submitted == (i == 0 || i == 5 || i == 6));
        }
        refuse(abi.encodeWithSelector(ITrainingRounds.RoundFull.selector, round, 3));
        rounds.submitUpdates(round, updates);
    }

    function test_ABatchPassesOverWhoHasNotJoined() external {
        RoundId round = launched(created(2, 3, NEXT));
        SignedUpdate[] memory updates = new SignedUpdate[](1);
        updates[0] = signed(round, KEY, alice, 0);
        rounds.submitUpdates(round, updates);
        assert(rounds.getRound(round).updates == 0);
    }

    // --- settlement ---

    function test_ASettlementComesInItsWindow() external {
        FederationId federation = created(2, 3, 0);
        RoundId round = launched(federation);
        Settlement memory said = settlement(round);
        refusePhase(round, Phase.Training, Phase.Settlement);
        rounds.settle(round, said);
        vm.warp(rounds.getRound(round).trainingEnds);
        refusePhase(round, Phase.Void, Phase.Settlement);
        rounds.settle(round, said);
        round = trained(federation);
        vm.warp(rounds.getRound(round).settlementEnds);
        refusePhase(round, Phase.Abandoned, Phase.Settlement);
        rounds.settle(round, said);
        round = settled(federation);
        refusePhase(round, Phase.Challenge, Phase.Settlement);
        rounds.settle(round, said);
    }

    function test_ASettlementIsOfThisRoundAndCovered() external {
        RoundId round = trained(created(2, 3, 0));
        Settlement memory said = settlement(round);
        bytes32 required = said.updatesHash;
        said.updatesHash = BASE;
        refuse(abi.encodeWithSelector(ITrainingRounds.StaleUpdates.selector, round, BASE, required));
        rounds.settle(round, said);
        (said.updatesHash, said.model) = (required, 0);
        refuse(abi.encodeWithSelector(ITrainingRounds.ZeroModel.selector));
        rounds.settle(round, said);
        (said.model, said.rewardsTotal) = (NEXT, 3001);
        refuse(abi.encodeWithSelector(ITrainingRounds.InvalidRewards.selector, round, said.rewardsRoot, 3001, 3000));
        rounds.settle(round, said);
        said.rewardsTotal = 0;
        refuse(abi.encodeWithSelector(ITrainingRounds.InvalidRewards.selector, round, said.rewardsRoot, 0, 3000));
        rounds.settle(round, said);
        (said.rewardsTotal, said.rewardsRoot) = (1, 0);
        refuse(abi.encodeWithSelector(ITrainingRounds.InvalidRewards.selector, round, 0, 1, 3000));
        rounds.settle(round, said);
        said.rewardsTotal = 0;
        rounds.settle(round, said);
    }

    // --- verdicts ---

    function test_OneVerdictOfEachNamedAuditorInTime() external {
        FederationId federation = created(2, 3, 0);
        RoundId round = trained(federation);
        refusePhase(round, Phase.Settlement, Phase.Challenge);
        attest(round, 0, NEXT);
        rounds.settle(round, settlement(round));
        refuse(abi.encodeWithSelector(ITrainingRounds.NotAuditor.selector, federation, auditor(3)));
        attest(round, 3, NEXT);
        refuse(abi.encodeWithSelector(ITrainingRounds.ZeroResult.selector, round));
        attest(round, 0, 0);
        attest(round, 0, NEXT);
        refuse(abi.encodeWithSelector(ITrainingRounds.AlreadyAttested.selector, round, auditor(0)));
        attest(round, 0, NEXT);
        assert(rounds.votes(round, NEXT) == 1);
        vm.warp(rounds.getRound(round).challengeEnds);
        refusePhase(round, Phase.Unconfirmed, Phase.Challenge);
        attest(round, 1, NEXT);
    }

    function test_ARevealOpensTheQuorumsResultInTime() external {
        FederationId federation = created(2, 3, 0);
        RoundId round = confirmed(federation);
        refusePhase(round, Phase.Final, Phase.Rejected);
        rounds.reveal(round, OTHER, DERIVED, 0, 0);
        federation = created(2, 3, 0);
        round = rejected(federation, NEXT, 9);
        bytes32 hash = resultHash(round, OTHER, NEXT, 9);
        assert(rounds.getRound(round).quorumHash == hash);
        bytes32 wrong = resultHash(round, OTHER, NEXT, 8);
        refuse(abi.encodeWithSelector(ITrainingRounds.RevealMismatch.selector, round, wrong, hash));
        rounds.reveal(round, OTHER, DERIVED, NEXT, 8);
        rounds.reveal(round, OTHER, DERIVED, NEXT, 9);
        assert(rounds.getRound(round).revealed && rounds.getRound(round).rewardsTotal == 9);
        refuse(abi.encodeWithSelector(ITrainingRounds.AlreadyRevealed.selector, round));
        rounds.reveal(round, OTHER, DERIVED, NEXT, 9);
    }

    function test_ARevealComesInTimeAndIsCovered() external {
        RoundId round = rejected(created(2, 3, 0), NEXT, 3001);
        refuse(abi.encodeWithSelector(ITrainingRounds.InvalidRewards.selector, round, NEXT, 3001, 3000));
        rounds.reveal(round, OTHER, DERIVED, NEXT, 3001);
        uint256 deadline = rounds.getRound(round).revealEnds;
        vm.warp(deadline);
        refuse(abi.encodeWithSelector(ITrainingRounds.RevealTooLate.selector, round, deadline, deadline));
        rounds.reveal(round, OTHER, DERIVED, NEXT, 3001);
        assert(rounds.getRound(round).basis == PayBasis.Time);
    }
}

/// @dev Every refusal of a payment, and the money of every outcome to the last base unit.
contract PaymentsTest is Scene {
    function refusePay(RoundId round, PayBasis actual, PayBasis required) private {
        refuse(abi.encodeWithSelector(ITrainingRounds.NotPayable.selector, round, actual, required));
    }

    function batch(address client, RoundClaim item, bytes32[] memory siblings)
        private
        pure
        returns (ClientClaims[] memory claims)
    {
        claims = new ClientClaims[](1);
        claims[0] = ClientClaims(client, new RoundClaim[](1), siblings);
        claims[0].rounds[0] = item;
    }

    function word(uint256 index, uint256 levels, uint256 amount) private pure returns (RoundClaim) {
        return RoundClaim.wrap((index << 104) | (levels << 96) | amount);
    }

    function test_WhatIsNotDecidedIsNotPaid() external {
        FederationId federation = created(2, 3, 0);
        RoundId round = settled(federation);
        refusePay(round, PayBasis.Undecided, PayBasis.Result);
        rounds.claim(round, BOB, 500, proof(round, 1));
        refusePay(round, PayBasis.Undecided, PayBasis.Time);
        rounds.claimByTime(round, BOB);
        refusePay(round, PayBasis.Undecided, PayBasis.Result);
        rounds.claimBatch(federation, batch(BOB, word(1, 1, 500), proof(round, 1)));
        refuse(abi.encodeWithSelector(ITrainingRounds.UnknownRound.selector, rounds.roundId(federation, 2)));
        rounds.claimBatch(federation, batch(BOB, word(2, 1, 500), proof(round, 1)));
        assert(rounds.withdraw(round) == 0);
    }

    function test_WrongClaimsByResult() external {
        RoundId round = confirmed(created(2, 3, 0));
        bytes32[] memory siblings = proof(round, 1);
        refuse(abi.encodeWithSelector(ITrainingRounds.NoUpdate.selector, round, CAROL));
        rounds.claim(round, CAROL, 500, siblings);
        refuse(abi.encodeWithSelector(ITrainingRounds.AmountAboveRecord.selector, round, BOB, 1001, 1000));
        rounds.claim(round, BOB, 1001, siblings);
        refuse(abi.encodeWithSelector(ITrainingRounds.AmountAboveRemaining.selector, round, 801, 800));
        rounds.claim(round, BOB, 801, siblings);
        bytes32 root = rounds.getRound(round).rewardsRoot;
        refuse(abi.encodeWithSelector(ITrainingRounds.InvalidProof.selector, root, leaf(round, BOB, 499)));
        rounds.claim(round, BOB, 499, siblings);
        refuse(abi.encodeWithSelector(ITrainingRounds.InvalidProof.selector, root, leaf(round, BOB, 0)));
        rounds.claim(round, BOB, 0, siblings);
        rounds.claim(round, BOB, 500, siblings);
        refuse(abi.encodeWithSelector(ITrainingRounds.AlreadyPaid.selector, round, BOB));
        rounds.claim(round, BOB, 500, siblings);
        refusePay(round, PayBasis.Result, PayBasis.Time);
        rounds.claimByTime(round, BOB);
    }

    function test_ABatchNeedsAllSiblings() external {
        FederationId federation = created(2, 3, 0);
        RoundId round = confirmed(federation);
        refuse(abi.encodeWithSelector(ITrainingRounds.SiblingsMissing.selector, round, 0, 1));
        rounds.claimBatch(federation, batch(BOB, word(1, 1, 500), new bytes32[](0)));
        rounds.claimBatch(federation, batch(BOB, word(1, 1, 500), proof(round, 1)));
        rounds.claimBatch(federation, batch(BOB, word(1, 1, 500), proof(round, 1))); // passed over
        assert(token.balanceOf(BOB) == 500);
    }

    function test_FeesAreForAttestationsAndOnce() external {
        RoundId round = confirmed(created(2, 3, 0));
        refuse(abi.encodeWithSelector(ITrainingRounds.NotAttested.selector, round, auditor(2)));
        rounds.claimAttestationFee(round, auditor(2));
        rounds.claimAttestationFee(round, auditor(1));
        refuse(abi.encodeWithSelector(ITrainingRounds.FeeAlreadyPaid.selector, round, auditor(1)));
        rounds.claimAttestationFee(round, auditor(1));
        (bool attested, bool feePaid) = rounds.hasAttested(round, auditor(1));
        assert(attested && feePaid && token.balanceOf(auditor(1)) == 5);
    }

    function test_FinalPaysByResult() external {
        FederationId federation = created(2, 3, 0);
        RoundId round = confirmed(federation);
        refuse(abi.encodeWithSelector(ITrainingRounds.NothingForfeited.selector, round, Phase.Final));
        rounds.forfeit(round);
        rounds.claim(round, alice, 300, proof(round, 0));
        rounds.claim(round, BOB, 500, proof(round, 1));
        rounds.claimAttestationFee(round, auditor(0));
        rounds.claimAttestationFee(round, auditor(1));
        assert(rounds.withdraw(round) == 3085 - 800 - 15); // the third auditor may still earn its fee
        vm.warp(rounds.getRound(round).challengeEnds);
        assert(rounds.withdraw(round) == 5 && rounds.withdraw(round) == 0);
        assert(token.balanceOf(address(rounds)) == 0);
        assert(rounds.getFederation(federation).head == NEXT);
    }

    function test_UnauditedIsFinalByTime() external {
        FederationId federation = created(0, 0, 0);
        RoundId round = settled(federation);
        assert(rounds.getRound(round).phase == Phase.Challenge);
        vm.warp(rounds.getRound(round).challengeEnds);
        assert(rounds.getRound(round).phase == Phase.Final);
        rounds.claimBatch(federation, batch(BOB, word(1, 1, 500), proof(round, 1)));
        rounds.withdraw(round);
        assert(token.balanceOf(address(rounds)) == 300);
    }

    /// @dev Unconfirmed, Abandoned, and Rejected without a reveal: 400 of each second, by claim and by batch.
    function paysByTime(FederationId federation, RoundId round) private {
        refuse(abi.encodeWithSelector(ITrainingRounds.NoUpdate.selector, round, CAROL));
        rounds.claimByTime(round, CAROL);
        rounds.claimByTime(round, alice);
        refuse(abi.encodeWithSelector(ITrainingRounds.AlreadyPaid.selector, round, alice));
        rounds.claimByTime(round, alice);
        rounds.claimBatch(federation, batch(BOB, word(1, 0, 0), new bytes32[](0)));
        refusePay(round, PayBasis.Time, PayBasis.Result);
        rounds.claim(round, BOB, 500, new bytes32[](0));
        assert(token.balanceOf(alice) == 400 && token.balanceOf(BOB) == 400);
        assert(rounds.getRound(round).paidClients == 800);
        rounds.withdraw(round);
    }

    function test_UnconfirmedPaysByTimeAndMovesTheHead() external {
        FederationId federation = created(2, 3, 0);
        RoundId round = settled(federation);
        vm.warp(rounds.getRound(round).challengeEnds);
        assert(rounds.getRound(round).phase == Phase.Unconfirmed);
        paysByTime(federation, round);
        assert(token.balanceOf(address(rounds)) == 0 && rounds.getFederation(federation).head == NEXT);
    }

    function losesItsBond(RoundId round) private {
        assert(token.balanceOf(address(rounds)) == 70);
        rounds.forfeit(round);
        refuse(abi.encodeWithSelector(ITrainingRounds.AlreadyForfeited.selector, round));
        rounds.forfeit(round);
        assert(token.balanceOf(TREASURY) == 70 && rounds.getRound(round).forfeited == 70);
    }

    function test_AbandonedPaysByTimeAndLosesTheBond() external {
        FederationId federation = created(2, 3, 0);
        RoundId round = trained(federation);
        vm.warp(rounds.getRound(round).settlementEnds);
        assert(rounds.getRound(round).phase == Phase.Abandoned);
        paysByTime(federation, round);
        losesItsBond(round);
        assert(rounds.getFederation(federation).head == BASE);
    }

    function test_RejectedPaysByTimeWhereNobodyReveals() external {
        FederationId federation = created(2, 3, 0);
        RoundId round = rejected(federation, NEXT, 9);
        rounds.claimAttestationFee(round, auditor(0));
        rounds.claimAttestationFee(round, auditor(1));
        vm.warp(rounds.getRound(round).revealEnds);
        paysByTime(federation, round);
        losesItsBond(round);
        assert(rounds.getFederation(federation).head == BASE);
    }

    function test_RejectedPaysByWhatIsRevealed() external {
        FederationId federation = created(2, 3, 0);
        RoundId round = trained(federation);
        rounds.settle(round, settlement(round));
        bytes32 root = leaf(round, BOB, 7);
        bytes32 hash = resultHash(round, OTHER, root, 7);
        attest(round, 1, hash);
        attest(round, 2, hash);
        refusePay(round, PayBasis.Undecided, PayBasis.Result);
        rounds.claim(round, BOB, 7, new bytes32[](0));
        rounds.reveal(round, OTHER, DERIVED, root, 7);
        rounds.claim(round, BOB, 7, new bytes32[](0));
        vm.warp(rounds.getRound(round).challengeEnds);
        rounds.withdraw(round);
        assert(token.balanceOf(address(rounds)) == 70 + 10);
    }

    function test_VoidOwesNothing() external {
        FederationId federation = created(2, 3, 0);
        RoundId round = launched(federation);
        vm.warp(rounds.getRound(round).trainingEnds);
        refusePay(round, PayBasis.Nothing, PayBasis.Result);
        rounds.claim(round, BOB, 1, new bytes32[](0));
        assert(rounds.withdraw(round) == 3085 && token.balanceOf(address(rounds)) == 0);
        launched(federation);
    }
}
