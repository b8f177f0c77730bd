"""`Chain` without a chain: the contract's rules in Python over replayed state, for tests and simulations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from network import memory_rules as rules
from network.chain import ClientClaims, Receipt, RewardClaim, RoundClaim
from network.memory_ledger import MemoryLedger
from network.signatures import is_by_key, sign_update, update_hash
from protocol import hashing, merkle
from protocol.errors import KeyError_, UnknownFederation, UnknownRound
from protocol.events import (
    AdmissionChanged,
    AttestationFeePaid,
    Attested,
    BondForfeited,
    EscrowReturned,
    Event,
    FederationCreated,
    Joined,
    Logged,
    OrganizationChanged,
    OrganizationOffered,
    QuorumReached,
    ResultRevealed,
    RewardPaid,
    RewardsPaid,
    RoundLaunched,
    RoundPayment,
    RoundSettled,
    TrainingClosed,
    UpdateSkipped,
    UpdateSubmitted,
)
from protocol.state import FederationState, RoundState, State
from protocol.terms import FederationTerms, PayBasis, Phase, RoundTerms, Settlement, SignedUpdate, SkipReason
from protocol.types import ZERO_ADDRESS, ZERO_HASH, Address, Digest, FederationId, Hash, RoundId, hex32

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount


class MemoryChain:
    """One account's view of a `MemoryLedger`; the same protocol as `EvmChain`.

    Args:
        ledger: What all accounts share.
        account: Who sends; None only reads.
        key: The account's key, where it signs updates for others to send; transactions need none here.
    """

    def __init__(self, ledger: MemoryLedger, account: Address | None = None, key: LocalAccount | None = None) -> None:
        self.ledger, self.account, self._key = ledger, account, key
        self.chain_id, self.contract = ledger.chain_id, ledger.contract

    # --- reading ---

    def now(self) -> int:
        return self.ledger.now

    def logs(self) -> list[Logged]:
        return list(self.ledger.logs)

    def state(self) -> State:
        return self.ledger.state()

    def balance_of(self, token: Address, account: Address) -> int:
        return self.ledger.balance_of(token, account)

    def gas_used(self, transaction: Hash) -> int:
        return 0

    def _sender(self) -> Address:
        if self.account is None:
            raise KeyError_("This chain was opened without an account.", "", "Open it with a key to send transactions.")
        return self.account

    def _federation(self, id: FederationId) -> FederationState:
        federation = self.state().federations.get(id)
        if federation is None:
            raise UnknownFederation(f"The contract knows no federation {hex32(id)}.")
        return federation

    def _round(self, id: RoundId) -> tuple[RoundState, FederationState]:
        state = self.state()
        if id not in state.rounds:
            raise UnknownRound(f"The contract knows no round {hex32(id)}.")
        return state.rounds[id], state.federations[state.rounds[id].federation]

    # --- federations ---

    def create_federation(self, salt: Hash, terms: FederationTerms) -> FederationId:
        with self.ledger.lock:
            id = hashing.federation_id(self.chain_id, self.contract, self._sender(), salt)
            if id in self.state().federations:
                rules.refuse("FederationExists", id)
            rules.check_federation(terms)
            self.ledger.commit(FederationCreated(id, self._sender(), salt, terms))
            return id

    def offer_organization(self, federation: FederationId, offered_to: Address) -> Receipt:
        with self.ledger.lock:
            rules.check_organization(self._federation(federation), self._sender())
            return self.ledger.commit(OrganizationOffered(federation, self._sender(), offered_to))

    def accept_organization(self, federation: FederationId) -> Receipt:
        with self.ledger.lock:
            found = self._federation(federation)
            if found.offered_to != self._sender():
                rules.refuse("NotOffered", federation, self._sender(), found.offered_to or ZERO_ADDRESS)
            return self.ledger.commit(OrganizationChanged(federation, found.organization, self._sender()))

    def set_admission(self, federation: FederationId, root: Hash) -> Receipt:
        with self.ledger.lock:
            rules.check_organization(self._federation(federation), self._sender())
            return self.ledger.commit(AdmissionChanged(federation, root))

    def join(self, federation: FederationId, client: Address, proof: Sequence[Hash]) -> Receipt:
        with self.ledger.lock:
            self._sender()
            found = self._federation(federation)
            root, leaf = found.admission_root, merkle.admission_leaf(client)
            if root == ZERO_HASH:
                rules.refuse("AdmissionIsOpen", federation)
            if (root, client) in found.joined:
                rules.refuse("AlreadyJoined", federation, root, client)
            if not merkle.verify(root, leaf, proof):
                rules.refuse("InvalidProof", root, leaf)
            return self.ledger.commit(Joined(federation, root, client))

    # --- a round ---

    def launch_round(self, federation: FederationId, expected_base: Digest, terms: RoundTerms) -> RoundId:
        with self.ledger.lock:
            state, found = self.state(), self._federation(federation)
            rules.check_organization(found, self._sender())
            last = state.rounds[found.rounds[-1]] if found.rounds else None
            if last is not None and last.phase.is_live:
                rules.refuse("RoundIsLive", last.id, last.phase)
            if expected_base != found.head:
                rules.refuse("StaleBase", federation, expected_base, found.head)
            rules.check_terms(terms, audited=found.terms.is_audited)
            return self._launch(found, terms)

    def _launch(self, federation: FederationState, terms: RoundTerms) -> RoundId:
        now, index = self.ledger.now, len(federation.rounds) + 1
        escrow = terms.escrow(len(federation.terms.auditors))
        rules.check_escrow(escrow)
        self.ledger.transfer(federation.terms.token, self._sender(), self.contract, escrow)
        launched = RoundLaunched(
            round=hashing.round_id(federation.id, index),
            federation=federation.id,
            index=index,
            base=federation.head,
            admission_root=federation.admission_root,
            terms=terms,
            terms_hash=hashing.terms_hash(terms),
            launched_at=now,
            training_ends=now + terms.training_seconds,
            settlement_ends=now + terms.training_seconds + terms.settlement_seconds,
            escrow=escrow,
        )
        self.ledger.commit(launched)
        return launched.round

    def submit_update(self, round: RoundId, digest: Digest, millis: int) -> Receipt:
        with self.ledger.lock:
            client, now = self._sender(), self.ledger.now
            found, federation = self._round(round)
            rules.check_update(found, federation, client, digest, millis, now=now)
            return self._take(found, [UpdateSubmitted(round, client, digest, millis)])

    def sign_update(self, round: RoundState, digest: Digest, millis: int) -> SignedUpdate:
        if self._key is None:
            raise KeyError_("This chain was opened without a key.", "", "Give it the account's key.")
        return sign_update(self._key, self.chain_id, self.contract, round, digest, millis)

    def submit_update_for(self, round: RoundId, update: SignedUpdate) -> Receipt:
        with self.ledger.lock:
            self._sender()
            found, federation = self._round(round)
            rules.check_update(found, federation, update.client, update.digest, update.millis, now=self.ledger.now)
            if not self._is_signed(found, update, by_wallet=True):
                rules.refuse("InvalidSignature", round, update.client)
            return self._take(found, [UpdateSubmitted(round, update.client, update.digest, update.millis)])

    def submit_updates(self, round: RoundId, updates: Sequence[SignedUpdate]) -> Receipt:
        with self.ledger.lock:
            self._sender()
            (found, federation), now = self._round(round), self.ledger.now
            rules.check_training(found, now)
            events: list[Event] = []
            taken: set[Address] = set()
            for one in updates:
                full = len(found.updates) + len(taken) == found.terms.max_updates
                reason = rules.skip_reason(
                    found, federation, one.client, one.digest, one.millis, now=now, taken=taken, full=full
                )
                if reason is None and not self._is_signed(found, one, by_wallet=False):
                    reason = SkipReason.INVALID_SIGNATURE
                if reason is None:
                    taken.add(one.client)
                    events.append(UpdateSubmitted(round, one.client, one.digest, one.millis))
                else:
                    events.append(UpdateSkipped(round, one.client, one.digest, reason))
            return self._take(found, events)

    def _is_signed(self, round: RoundState, update: SignedUpdate, *, by_wallet: bool) -> bool:
        hash = update_hash(self.chain_id, self.contract, round, update)
        if is_by_key(update.client, hash, update.signature):
            return True
        wallet = self.ledger.wallets.get(update.client)
        return by_wallet and wallet is not None and wallet(hash, update.signature)

    def _take(self, round: RoundState, events: list[Event]) -> Receipt:
        """Commit a transaction's events on updates of ``round``, and that training closes where they fill it."""
        count = len(round.updates) + sum(isinstance(event, UpdateSubmitted) for event in events)
        closed = [TrainingClosed(round.id, self.ledger.now)] if count == round.terms.max_updates else []
        return self.ledger.commit(*events, *closed)

    def settle(self, round: RoundId, settlement: Settlement) -> Receipt:
        with self.ledger.lock:
            found, federation = self._round(round)
            rules.check_organization(federation, self._sender())
            rules.check_settlement(found, settlement)
            result = rules.stated_hash(self.chain_id, self.contract, found, settlement)
            now = self.ledger.now
            ends = now + found.terms.challenge_seconds
            return self.ledger.commit(RoundSettled(round, settlement, result, now, ends))

    def attest(self, round: RoundId, result_hash: Hash, witness: Hash) -> Receipt:
        with self.ledger.lock:
            found, federation = self._round(round)
            rules.check_attestation(found, federation, self._sender(), result_hash, self.ledger.now)
            events: list[Event] = [Attested(round, self._sender(), result_hash, witness)]
            agreed = 1 + sum(result == result_hash for result, _ in found.attestations.values())
            if found.quorum_hash is None and agreed == federation.terms.quorum:
                events.append(QuorumReached(round, result_hash))
            return self.ledger.commit(*events)

    def reveal(
        self, round: RoundId, model: Digest, derived_hash: Hash, rewards_root: Hash, rewards_total: int
    ) -> Receipt:
        with self.ledger.lock:
            self._sender()
            found, _ = self._round(round)
            stated = Settlement(found.updates_hash, model, model, derived_hash, rewards_root, rewards_total)
            rules.check_reveal(found, rules.stated_hash(self.chain_id, self.contract, found, stated), self.ledger.now)
            rules.check_rewards(found, rewards_root, rewards_total)
            return self.ledger.commit(ResultRevealed(round, model, derived_hash, rewards_root, rewards_total))

    # --- money out ---

    def claim(self, round: RoundId, client: Address, amount: int, proof: Sequence[Hash]) -> Receipt:
        return self._pay(RewardClaim(round, client, amount, tuple(proof)), PayBasis.RESULT)

    def claim_by_time(self, round: RoundId, client: Address) -> Receipt:
        return self._pay(RewardClaim(round, client, 0), PayBasis.TIME)

    def _pay(self, claim: RewardClaim, basis: PayBasis) -> Receipt:
        with self.ledger.lock:
            self._sender()
            found, _ = self._round(claim.round)
            amount = rules.amount_due(found, claim, basis, found.paid_clients)
            self._send_out(claim.round, claim.client, amount)
            return self.ledger.commit(RewardPaid(claim.round, claim.client, amount, basis))

    def claim_batch(self, federation: FederationId, claims: Sequence[ClientClaims]) -> Receipt:
        """Pay all or none; what is already paid, before or within the batch, is passed over."""
        with self.ledger.lock:
            self._sender()
            self._federation(federation)
            events: list[RewardsPaid] = []
            spent: Counter[RoundId] = Counter()
            met: set[tuple[RoundId, Address]] = set()
            for one in claims:
                due = [
                    payment for each in one.rounds for payment in self._item(federation, one.client, each, met, spent)
                ]
                if due:
                    events.append(RewardsPaid(federation, one.client, tuple(due)))
            for event in events:
                for payment in event.payments:
                    self._send_out(hashing.round_id(federation, payment.index), event.client, payment.amount)
            return self.ledger.commit(*events)

    def _item(
        self,
        federation: FederationId,
        client: Address,
        claim: RoundClaim,
        met: set[tuple[RoundId, Address]],
        spent: Counter[RoundId],
    ) -> list[RoundPayment]:
        """Return the one payment of a batch's item, none where it is paid already."""
        round = hashing.round_id(federation, claim.index)
        found, _ = self._round(round)
        basis = found.basis if found.basis is PayBasis.TIME else PayBasis.RESULT
        update = found.update_of(client)
        if found.basis is basis and ((round, client) in met or (update is not None and update.paid is not None)):
            return []
        item = RewardClaim(round, client, claim.amount, claim.proof)
        amount = rules.amount_due(found, item, basis, found.paid_clients + spent[round])
        met.add((round, client))
        spent[round] += amount
        return [RoundPayment(claim.index, amount, basis)]

    def claim_attestation_fee(self, round: RoundId, auditor: Address) -> Receipt:
        with self.ledger.lock:
            self._sender()
            found, _ = self._round(round)
            if auditor not in found.attestations:
                rules.refuse("NotAttested", round, auditor)
            if auditor in found.paid_auditors:
                rules.refuse("FeeAlreadyPaid", round, auditor)
            self._send_out(round, auditor, found.terms.attestation_fee)
            return self.ledger.commit(AttestationFeePaid(round, auditor, found.terms.attestation_fee))

    def withdraw(self, round: RoundId) -> Receipt:
        with self.ledger.lock:
            self._sender()
            found, federation = self._round(round)
            if found.withdrawable == 0:
                return self.ledger.commit()
            self._send_out(round, federation.organization, found.withdrawable)
            return self.ledger.commit(EscrowReturned(round, federation.organization, found.withdrawable))

    def forfeit(self, round: RoundId) -> Receipt:
        with self.ledger.lock:
            self._sender()
            found, federation = self._round(round)
            if found.phase not in (Phase.REJECTED, Phase.ABANDONED):
                rules.refuse("NothingForfeited", round, found.phase)
            if self._has_forfeited(round):
                rules.refuse("AlreadyForfeited", round)
            self._send_out(round, federation.terms.forfeit_to, found.terms.bond)
            return self.ledger.commit(BondForfeited(round, federation.terms.forfeit_to, found.terms.bond))

    def _has_forfeited(self, round: RoundId) -> bool:
        events = (logged.event for logged in self.ledger.logs)
        return any(isinstance(event, BondForfeited) and event.round == round for event in events)

    def _send_out(self, round: RoundId, target: Address, amount: int) -> None:
        _, federation = self._round(round)
        self.ledger.transfer(federation.terms.token, self.contract, target, amount)
