"""What a client is owed, and taking it in few transactions: no round, federation or token keeps another's pay from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from client.artifacts import Artifacts
from client.problems import Problems
from network.chain import Chain, ClientClaims, RewardClaim, RoundClaim
from protocol.errors import ChainError, ChainUnavailable, RondoError, TransactionReverted
from protocol.merkle import leaf
from protocol.rewards import rewards_tree
from protocol.state import RoundState, State
from protocol.terms import PayBasis
from protocol.types import Address, FederationId, Hash, RoundId

# What one transaction may use: EIP-7825 allows four times as much, and 128 KiB, the most that nodes relay, hold it.
BATCH_GAS = 4_000_000
# More than a round of a batch uses (measured in tests/client/test_claims.py), the calldata at EIP-7623's price.
ROUND_GAS = 20_000
SIBLING_GAS = 1_300


class ClaimRefused(RondoError):
    """The contract will never pay what the round's result says."""

    exit_code = 76


class ClaimFailed(RondoError):
    """One round's claim did not go through."""

    exit_code = 76


@dataclass(frozen=True, slots=True)
class Payment:
    """What one round owes the account: ``claim.amount`` is 0 by time, as the contract takes it; ``amount`` never is."""

    index: int
    basis: PayBasis
    amount: int  # base units of the federation's token
    token: Address
    federation: FederationId
    claim: RewardClaim

    @property
    def gas(self) -> int:
        """What the payment adds to a batch, at most."""
        return ROUND_GAS + SIBLING_GAS * len(self.claim.proof)


class Claimer:
    """Finds and takes the pay of one account.

    Args:
        chain: Sends; anyone may, the money goes to ``account``.
        account: Who is paid.
    """

    def __init__(self, chain: Chain, artifacts: Artifacts, account: Address) -> None:
        self._chain, self._artifacts, self._account = chain, artifacts, account
        self._nothing: set[tuple[RoundId, PayBasis, tuple[Hash, int] | None]] = set()  # decided so, nothing is due
        self._problems = Problems()

    @property
    def problems(self) -> dict[RoundId, RondoError]:
        """Rounds whose pay could not be proved or taken so far, and why."""
        return self._problems.errors

    def due(self, state: State, rounds: Iterable[RoundId]) -> list[Payment]:
        """Payments that the contract would make now, as far as anybody can tell beforehand.

        A round whose rewards cannot be proved, or are more than the contract pays, is left out and is in ``problems``;
        it is looked at again after a pause in chain time that doubles with each failure.
        """
        found = []
        for round_id in rounds:
            round_ = state.rounds[round_id]
            if not self._can_be_paid(round_):
                self._problems.clear(round_id)
                continue
            if _decision(round_) in self._nothing or self._problems.rests(round_id, state.now):
                continue
            try:
                payment = self._payment(round_, state)
            except RondoError as error:
                self._problems.add(round_id, error, state.now)
            except Exception as error:  # whatever strangers' bytes do to a reader, it is one round's problem
                self._problems.add(round_id, _unread(round_, error), state.now)
            else:
                if payment is None:
                    self._nothing.add(_decision(round_))
                    self._problems.clear(round_id)
                else:
                    found.append(payment)
        return found

    def take(self, payments: Sequence[Payment], now: int) -> list[Payment]:
        """Claim ``payments``, each federation's together as far as `BATCH_GAS` goes; return those that went through.

        Where the contract or the token refuses a batch, each half is claimed apart, down to the payments that are to
        blame: those are in ``problems`` and rest for a while from ``now``, chain seconds. What somebody else claimed
        meanwhile is passed over.

        Raises:
            KeyError_: The chain was opened without an account.
        """
        taken: list[Payment] = []
        for batch in _batches(payments):
            taken += self._take(batch, now)
        return taken

    def is_settled(self, round_: RoundState) -> bool:
        """Whether the account has its pay of ``round_``, or none is owed that the contract would pay.

        What is owed by a decided round is known once ``due`` has looked at it.
        """
        mine = round_.update_of(self._account)
        if mine is None or mine.paid is not None or round_.basis is PayBasis.NOTHING:
            return True
        return _decision(round_) in self._nothing or isinstance(self.problems.get(round_.id), ClaimRefused)

    # --- taking ---

    def _take(self, batch: Sequence[Payment], now: int) -> list[Payment]:
        try:
            paid = self._send(batch)
        except ChainUnavailable as error:  # asking once for each would only take longer
            self._note(batch, error, now)
            return []
        except ChainError as error:  # a hostile token can revert with any error's name
            if len(batch) == 1:
                self._note(batch, _failed(batch[0], error), now)
                return []
            half = len(batch) // 2  # a refusal is an estimate, mostly: it costs time, not gas
            return self._take(batch[:half], now) + self._take(batch[half:], now)
        for payment in batch:
            self._problems.clear(payment.claim.round)
        return list(batch) if paid else []

    def _send(self, batch: Sequence[Payment]) -> bool:
        """Send one transaction; False where somebody else has claimed the one payment of ``batch``."""
        payment = batch[0]
        claim = payment.claim
        if len(batch) > 1:
            rounds = tuple(RoundClaim(one.index, one.claim.amount, one.claim.proof) for one in batch)
            self._chain.claim_batch(payment.federation, [ClientClaims(claim.client, rounds)])
            return True
        try:
            if payment.basis is PayBasis.TIME:
                self._chain.claim_by_time(claim.round, claim.client)
            else:
                self._chain.claim(claim.round, claim.client, claim.amount, claim.proof)
        except TransactionReverted as error:
            if error.name != "AlreadyPaid":
                raise
            return False
        return True

    def _note(self, batch: Sequence[Payment], error: RondoError, now: int) -> None:
        for payment in batch:
            self._problems.add(payment.claim.round, error, now)

    # --- finding ---

    def _can_be_paid(self, round_: RoundState) -> bool:
        mine = round_.update_of(self._account)
        return mine is not None and mine.paid is None and round_.basis in (PayBasis.RESULT, PayBasis.TIME)

    def _payment(self, round_: RoundState, state: State) -> Payment | None:
        federation = state.federations[round_.federation]
        mine, token = round_.update_of(self._account), federation.terms.token
        if mine is None:
            return None
        if round_.basis is PayBasis.TIME:
            amount = round_.terms.reward_per_milli * min(mine.millis, round_.terms.time_cap_millis)
            claim = RewardClaim(round_.id, self._account, 0)
            return Payment(round_.index, PayBasis.TIME, amount, token, federation.id, claim) if amount else None
        rewards = self._artifacts.rewards(round_, state)
        amount = self._payable(round_, [one for client, one in rewards if client == self._account and one > 0])
        if amount == 0:
            return None
        proof = rewards_tree(round_.id, rewards).proof(leaf(round_.id, self._account, amount))
        claim = RewardClaim(round_.id, self._account, amount, tuple(proof))
        return Payment(round_.index, PayBasis.RESULT, amount, token, federation.id, claim)

    def _payable(self, round_: RoundState, amounts: Sequence[int]) -> int:
        """The largest of ``amounts`` that the contract pays, 0 where there are none.

        Raises:
            ClaimRefused: It pays none of them.
        """
        mine = round_.update_of(self._account)
        record = 0 if mine is None else round_.terms.reward_per_milli * mine.millis
        left = (round_.rewards[1] if round_.rewards else 0) - round_.paid_clients
        payable = [amount for amount in amounts if amount <= min(record, left)]
        if payable or not amounts:
            return max(payable, default=0)
        amount = min(amounts)
        limit = f"at most {record} by its milliseconds" if amount > record else f"no more than the {left} that are left"
        raise ClaimRefused(
            f"Round {round_.index} of {_short(round_)} promises {self._account} {amount} base units that the contract"
            " will not pay.",
            f"It pays {limit}: the result is wrong, and those who decide on it let it stand.",
            "Nobody can mend this round; think again before you train for this federation.",
        )


def _batches(payments: Sequence[Payment]) -> Iterator[list[Payment]]:
    by_federation: dict[FederationId, list[Payment]] = {}
    for payment in payments:
        by_federation.setdefault(payment.federation, []).append(payment)
    for alike in by_federation.values():
        batch, gas = [alike[0]], alike[0].gas
        for payment in alike[1:]:
            if gas + payment.gas > BATCH_GAS:
                yield batch
                batch, gas = [], 0
            batch.append(payment)
            gas += payment.gas
        yield batch


def _decision(round_: RoundState) -> tuple[RoundId, PayBasis, tuple[Hash, int] | None]:
    """What the round owes follows from this; a reorganised chain can decide otherwise."""
    return round_.id, round_.basis, round_.rewards


def _short(round_: RoundState) -> str:
    return f"federation 0x{round_.federation.hex()[:8]}…"


def _failed(payment: Payment, error: ChainError) -> ClaimFailed:
    return ClaimFailed(
        f"Round {payment.index}: {payment.amount} base units of token {payment.token} could not be claimed.",
        error.what,
        error.do or "Other rounds are not held up. Claim this one again later: unclaimed pay never expires.",
    )


def _unread(round_: RoundState, error: Exception) -> ClaimFailed:
    return ClaimFailed(
        f"The rewards of round {round_.index} of {_short(round_)} cannot be read.",
        f"{type(error).__name__}: {str(error)[:200]}",
        "Other rounds are not held up. Report this, with the round's id.",
    )
