"""What a client is owed, and taking it: one transaction for all rounds that pay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from client.artifacts import Artifacts
from network.chain import Chain, RewardClaim
from protocol.errors import RondoError, TransactionReverted
from protocol.merkle import leaf
from protocol.rewards import rewards_tree
from protocol.state import FederationState, RoundState, State
from protocol.terms import PayBasis
from protocol.types import Address, RoundId


@dataclass(frozen=True, slots=True)
class Payment:
    """What one round owes the account: ``claim.amount`` is 0 by time, as the contract takes it; ``amount`` never is."""

    index: int
    basis: PayBasis
    amount: int  # base units of the federation's token
    token: Address
    claim: RewardClaim


class Claimer:
    """Finds and takes the pay of one account.

    Args:
        chain: Sends; anyone may, the money goes to ``account``.
        account: Who is paid.
    """

    def __init__(self, chain: Chain, artifacts: Artifacts, account: Address) -> None:
        self._chain, self._artifacts, self._account = chain, artifacts, account
        self._nothing: set[RoundId] = set()  # decided, and nothing is due
        self.problems: dict[RoundId, RondoError] = {}

    def due(self, state: State, rounds: Iterable[RoundId]) -> list[Payment]:
        """Payments that can be taken now. A round whose rewards cannot be proved is left out, and is in ``problems``."""
        found = []
        for round_id in rounds:
            round_ = state.rounds[round_id]
            if round_id in self._nothing or not self._can_be_paid(round_):
                continue
            try:
                payment = self._payment(round_, state.federations[round_.federation])
            except RondoError as error:
                self.problems[round_id] = error
                continue
            self.problems.pop(round_id, None)
            if payment is None:
                self._nothing.add(round_id)
            else:
                found.append(payment)
        return found

    def take(self, payments: Sequence[Payment]) -> None:
        """Send one transaction for all of ``payments``; what somebody else claimed meanwhile is passed over.

        Raises:
            ChainError: It did not go through.
        """
        if len(payments) > 1:
            self._chain.claim_batch([payment.claim for payment in payments])
            return
        for payment in payments:
            claim = payment.claim
            try:
                if payment.basis is PayBasis.TIME:
                    self._chain.claim_by_time(claim.round, claim.client)
                else:
                    self._chain.claim(claim.round, claim.client, claim.amount, claim.proof)
            except TransactionReverted as error:
                if error.name != "AlreadyPaid":
                    raise

    def _can_be_paid(self, round_: RoundState) -> bool:
        mine = round_.update_of(self._account)
        return mine is not None and mine.paid is None and round_.basis in (PayBasis.RESULT, PayBasis.TIME)

    def _payment(self, round_: RoundState, federation: FederationState) -> Payment | None:
        mine, token = round_.update_of(self._account), federation.terms.token
        if mine is None:
            return None
        if round_.basis is PayBasis.TIME:
            amount = round_.terms.reward_per_milli * min(mine.millis, round_.terms.time_cap_millis)
            claim = RewardClaim(round_.id, self._account, 0)
            return Payment(round_.index, PayBasis.TIME, amount, token, claim) if amount else None
        rewards = self._artifacts.rewards(round_, federation)
        amount = dict(rewards).get(self._account, 0)
        if amount == 0:
            return None
        proof = rewards_tree(round_.id, rewards).proof(leaf(round_.id, self._account, amount))
        claim = RewardClaim(round_.id, self._account, amount, tuple(proof))
        return Payment(round_.index, PayBasis.RESULT, amount, token, claim)
