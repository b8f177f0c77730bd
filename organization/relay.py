"""The relay: takes clients' signed updates and sends them in batches at the organization's cost, so that clients need no gas.

Nothing here has to survive. What was taken and not yet sent is a cache: a client watches the chain, hands its update in
again, and sends its own transaction before the deadline where the relay did not. What was sent is on chain, and the
contract records nothing twice. Gas is spent only on what passed every check that can be made without it: see `Relay.accept`.

Signatures are checked by key alone. A wallet contract's answer (EIP-1271) can differ between the check and the block, and
costs up to 400,000 gas to ask for: such clients send their own transaction.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from network.chain import Chain
from network.signatures import SIGNATURE_BYTES, is_by_key, update_hash
from protocol.errors import ChainError, InsufficientFunds, InvalidInput, KeyError_, RondoError, UnknownRound
from protocol.events import UpdateSkipped
from protocol.state import FederationState, RoundState, State
from protocol.terms import Phase, SignedUpdate
from protocol.types import ZERO_HASH, Address, Digest, FederationId, Hash, RoundId, hex32

SEND_YOURSELF = "Send your own transaction: the client's worker does so before the deadline."


class RelayRefused(RondoError):
    """The relay will not send this update."""

    exit_code = 76


class NotPaidFor(RelayRefused):
    """The relay pays for other clients than this one."""


class RelayBusy(RelayRefused):
    """The relay can take nothing now."""

    exit_code = 69


class UnknownUpdate(RelayRefused):
    """The relay does not have this update, any more or yet."""

    exit_code = 66


class Progress(StrEnum):
    """How far a relayed update has come."""

    PENDING = "pending"  # waits for the next batch
    SENT = "sent"  # in a transaction; not seen on chain yet
    SUBMITTED = "submitted"  # on chain
    SKIPPED = "skipped"  # will not be sent (again); the reason says why


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds the relay's memory and spending.

    Args:
        batch: Updates in one transaction: 100 take about 3.5 million gas.
        wait_seconds: How long an update waits for others to share its transaction, on this machine's clock.
        capacity: Updates held in memory, of all rounds and states.
        closing_seconds: Chain seconds before the end of training from which on nothing is taken.
        last_send_seconds: Likewise, from which on nothing is sent: it would come too late and cost gas all the same.
        attempts: Transactions that one update may be part of.
        resend_seconds: After so long a transaction that is not seen on chain counts as lost.
        view_seconds: A view of the chain older than this answers nobody.
        rest_seconds: Pause after an account without gas money or a node without an answer.
    """

    batch: int = 100
    wait_seconds: float = 3.0
    capacity: int = 10_000
    closing_seconds: int = 30
    last_send_seconds: int = 10
    attempts: int = 3
    resend_seconds: float = 60.0
    view_seconds: float = 300.0
    rest_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Relayed:
    """One update as the relay last saw it. ``transaction`` is the relay's own, None where it sent none that is known."""

    round: RoundId
    client: Address
    digest: Digest
    progress: Progress
    transaction: Hash | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Totals:
    """What the relay did since it was started; ``problem`` is what keeps it from sending now."""

    pending: int
    submitted: int
    skipped: int
    transactions: int
    gas_used: int
    problem: str | None


@dataclass(slots=True)
class _Item:
    round: RoundId
    terms_hash: Hash  # tells the round from one that a reorganised chain puts in its place
    update: SignedUpdate
    since: float
    progress: Progress = Progress.PENDING
    transaction: Hash | None = None
    reason: str = ""
    attempts: int = 0
    sent_at: float = 0.0

    def view(self) -> Relayed:
        one = self.update
        return Relayed(self.round, one.client, one.digest, self.progress, self.transaction, self.reason)


class Relay:
    """Relays for one federation. `accept`, `find` and `totals` answer from memory alone, in any thread; `step` does the rest.

    Args:
        chain: Opened with the account that pays: any account with gas money; it needs no role.
        federation: Whose clients are paid for.
        anyone: Also in rounds that anyone may take part in. There each new account is a stranger's to make, and up to
            the round's maximum of updates are paid for.
        clock: Seconds that pass on this machine.
        say: Takes one line of news.

    Raises:
        KeyError_: The chain was opened without an account.
    """

    def __init__(
        self,
        chain: Chain,
        federation: FederationId,
        *,
        anyone: bool = False,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        if chain.account is None:
            raise KeyError_("A relay needs an account.", "The chain was opened without a key.", "Name a keystore.")
        self.account, self.chain_id, self.contract = chain.account, chain.chain_id, chain.contract
        self.federation, self.anyone, self.limits = federation, anyone, limits or Limits()
        self._chain, self._clock, self._say = chain, clock, say
        self._lock = threading.Lock()  # guards all below; never held while the chain is asked
        self._items: dict[tuple[RoundId, Address], _Item] = {}
        self._seen: tuple[State, float] | None = None
        self._rests_until, self._problem = 0.0, ""
        self._transactions = self._gas_used = 0

    # --- asked by clients ---

    def accept(self, round_id: RoundId, update: SignedUpdate) -> Relayed:
        """Take an update to be sent; the same again changes nothing and returns how far it has come.

        Everything is checked that the contract would check, except that the clock may still have to reach ``millis``:
        until then the update waits. The cheapest checks come first, the signature (about 10 ms) last.

        Raises:
            UnknownRound: There is no such round, or the relay has not seen it yet.
            NotPaidFor: Another federation, a client that has not joined, or a round open to anyone without ``anyone``.
            RelayRefused: Training is over or nearly so, the round is full, or there is another update of this client.
            InvalidInput: A value is out of range, or the signature is not the client's for exactly this update.
            RelayBusy: The queue is full, the account has no gas money, or the chain was not seen for too long.
        """
        state, now = self._view()
        round_ = state.rounds.get(round_id)
        if round_ is None:
            raise UnknownRound(
                f"There is no round {hex32(round_id)}.", "", "Check the id; a new one is seen in seconds."
            )
        if round_.federation != self.federation:
            raise NotPaidFor(
                "The round is not of the federation that this relay pays for.",
                f"That is {hex32(self.federation)}.",
                SEND_YOURSELF,
            )
        known = self._known(round_, update)
        if known is not None:
            return known
        self._check_round(round_, now)
        self._check_admission(round_, state.federations[self.federation], update.client)
        self._check_values(round_, update)
        if not is_by_key(update.client, self._hash(round_, update), update.signature):
            raise InvalidInput(
                f"The signature is not by the key of {update.client} over this update of this round.",
                "It was made for another round, chain, contract, update or time, or by another key.",
                "Sign what GET /relay describes, with the client's own key.",
            )
        return self._queue(round_, update)

    def find(self, round_id: RoundId, client: Address) -> Relayed:
        """How far an update has come. Raises UnknownUpdate: It was never taken, or is forgotten."""
        with self._lock:
            item = self._items.get((round_id, client))
            if item is not None:
                return item.view()
        raise UnknownUpdate(
            f"The relay has no update of {client} in that round.",
            "It was never handed in, the relay was started again, or another round has begun.",
            "Look at the chain, and hand it in again where it is not there.",
        )

    def totals(self) -> Totals:
        """What the relay did since it was started."""
        with self._lock:
            counts = [item.progress for item in self._items.values()]
            waiting = counts.count(Progress.PENDING) + counts.count(Progress.SENT)
            submitted, skipped = counts.count(Progress.SUBMITTED), counts.count(Progress.SKIPPED)
            return Totals(waiting, submitted, skipped, self._transactions, self._gas_used, self._problem or None)

    def _view(self) -> tuple[State, int]:
        """The chain as last seen, and its time now, as far as this machine's clock tells. Raises RelayBusy."""
        with self._lock:
            seen, problem, rests = self._seen, self._problem, self._clock() < self._rests_until
        age = None if seen is None else self._clock() - seen[1]
        if seen is None or age is None or age > self.limits.view_seconds:
            raise RelayBusy("The relay does not see the chain.", "Its node does not answer.", SEND_YOURSELF)
        if rests:
            raise RelayBusy("The relay cannot send now.", problem, SEND_YOURSELF)
        return seen[0], seen[0].now + int(age)

    def _known(self, round_: RoundState, update: SignedUpdate) -> Relayed | None:
        mine = round_.update_of(update.client)
        with self._lock:
            item = self._items.get((round_.id, update.client))
            if item is not None and (item.update.digest, item.update.millis) == (update.digest, update.millis):
                return item.view()
        other = item.update.digest if item is not None else mine.digest if mine is not None else update.digest
        if item is not None or (mine is not None and mine.digest != update.digest):
            raise RelayRefused(
                f"There is another update of {update.client} in round {round_.index}: {hex32(other)}.",
                "A client has one update in a round.",
                "Run one client for each account.",
            )
        return None if mine is None else Relayed(round_.id, update.client, update.digest, Progress.SUBMITTED)

    def _check_round(self, round_: RoundState, now: int) -> None:
        if round_.phase is not Phase.TRAINING or now + self.limits.closing_seconds >= round_.training_ends:
            full = round_.training_closed_at is not None and round_.training_closed_at < round_.training_ends
            why = "It has all the updates that it takes." if full else f"Training ends at {round_.training_ends}."
            raise RelayRefused(f"It is too late for round {round_.index}.", why, SEND_YOURSELF)

    def _check_admission(self, round_: RoundState, federation: FederationState, client: Address) -> None:
        root = round_.admission_root
        if root == ZERO_HASH and not self.anyone:
            raise NotPaidFor(
                f"Round {round_.index} admits anyone, and this relay pays for admitted clients only.",
                "Anyone could make accounts and spend its gas.",
                SEND_YOURSELF,
            )
        if root != ZERO_HASH and (root, client) not in federation.joined:
            raise NotPaidFor(
                f"{client} has not joined the federation.", "The round admits listed clients only.", "Join first."
            )

    def _check_values(self, round_: RoundState, update: SignedUpdate) -> None:
        terms = round_.terms
        most = min(terms.max_millis, 1000 * terms.training_seconds)
        if not 0 <= update.millis <= most:
            raise InvalidInput(f"{update.millis} ms were recorded.", f"Round {round_.index} takes {most} at most.", "")
        if not any(update.digest):
            raise InvalidInput("The update's digest is zero.", "", "Name the update's directory.")
        if len(update.signature) != SIGNATURE_BYTES:
            raise InvalidInput(
                f"The signature has {len(update.signature)} bytes, and this relay takes {SIGNATURE_BYTES}.",
                "It checks signatures by keys; a wallet contract's could become invalid at the relay's cost.",
                "Send a wallet contract's update with submitUpdateFor.",
            )

    def _queue(self, round_: RoundState, update: SignedUpdate) -> Relayed:
        key, now = (round_.id, update.client), self._clock()
        with self._lock:
            item = self._items.get(key)
            if item is not None:  # of a request at the same moment; the first counts
                return item.view()
            if len(self._items) >= self.limits.capacity:
                raise RelayBusy(
                    "The relay's queue is full.", f"It holds {self.limits.capacity} updates.", SEND_YOURSELF
                )
            on_chain = {one.client for one in round_.updates}
            waiting = sum(one.round == round_.id and one.update.client not in on_chain for one in self._items.values())
            if len(on_chain) + waiting >= round_.terms.max_updates:
                raise RelayRefused(f"Round {round_.index} has all the updates that it takes.", "", SEND_YOURSELF)
            self._items[key] = _Item(round_.id, round_.terms_hash, update, now)
            return self._items[key].view()

    def _hash(self, round_: RoundState, update: SignedUpdate) -> Hash:
        return update_hash(self.chain_id, self.contract, round_, update)

    # --- done by the worker ---

    def run(self, stopped: threading.Event, poll_seconds: float = 1.0) -> None:
        """Step until ``stopped``; whatever fails is said once and tried again."""
        said = ""
        while not stopped.is_set():
            line, busy = "", False
            try:
                busy = self.step()
            except RondoError as error:
                line = str(error)
            except Exception as error:  # a relay that dies of one surprise would be silent for ever
                line = f"The relay failed: {type(error).__name__}: {error}"
            if line and line != said:
                self._say(f"relay: {line} Trying again.")
            said = line or said
            if not busy:
                stopped.wait(poll_seconds)

    def step(self) -> bool:
        """Look at the chain, say what became of what was sent, and send one batch if it is due; whether one was sent.

        Raises:
            ChainError: The chain cannot be read; what is waiting waits.
        """
        state = self._look()
        with self._lock:
            batch = self._due(state)
            for item in batch:
                item.progress, item.transaction, item.sent_at = Progress.SENT, None, self._clock()
                item.attempts += 1
        if not batch:
            return False
        self._send(batch)
        return True

    def _send(self, batch: list[_Item]) -> None:
        try:
            receipt = self._chain.submit_updates(batch[0].round, [item.update for item in batch])
        except ChainError as error:
            with self._lock:
                for item in batch:
                    item.progress, item.reason = Progress.PENDING, error.what
                    item.attempts -= isinstance(error, InsufficientFunds)  # nothing was sent
                self._problem, self._rests_until = str(error), self._clock() + self.limits.rest_seconds
            self._say(f"relay: {error} {len(batch)} updates wait.")
            return
        with self._lock:
            self._transactions += 1
            self._gas_used += receipt.gas_used
            self._problem = ""
            for item in batch:
                item.transaction = receipt.transaction
        self._say(f"relay: sent {len(batch)} updates in {hex32(receipt.transaction)}, {receipt.gas_used} gas")
        self._look()

    def _look(self) -> State:
        """Read the chain and move every update to where it is. Raises ChainError."""
        state = self._chain.state()
        with self._lock:
            sent = {item.transaction for item in self._items.values() if item.progress is Progress.SENT}
        skips = self._skips(sent - {None}) if sent else {}
        last = self._last_round(state)
        with self._lock:
            self._seen = (state, self._clock())
            for key, item in list(self._items.items()):
                round_ = state.rounds.get(item.round)
                if round_ is None or round_ is not last or item.terms_hash != round_.terms_hash:
                    del self._items[key]
                else:
                    self._resolve(item, round_, state.now, skips)
        return state

    def _last_round(self, state: State) -> RoundState | None:
        federation = state.federations.get(self.federation)
        return state.rounds[federation.rounds[-1]] if federation is not None and federation.rounds else None

    def _skips(self, transactions: Iterable[Hash | None]) -> Mapping[tuple[Hash, Address], str]:
        ours, found = set(transactions), {}
        for logged in self._chain.logs() if ours else ():
            if logged.transaction in ours and isinstance(logged.event, UpdateSkipped):
                found[logged.transaction, logged.event.client] = logged.event.reason.name.lower().replace("_", " ")
        return found

    def _resolve(self, item: _Item, round_: RoundState, now: int, skips: Mapping[tuple[Hash, Address], str]) -> None:
        mine = round_.update_of(item.update.client)
        if mine is not None:
            same = mine.digest == item.update.digest
            item.progress = Progress.SUBMITTED if same else Progress.SKIPPED
            item.reason = "" if same else "the client has another update on chain"
        elif item.progress is Progress.SKIPPED:
            return
        elif item.transaction is not None and (item.transaction, item.update.client) in skips:
            item.progress, item.reason = Progress.SKIPPED, skips[item.transaction, item.update.client]
        elif item.progress is Progress.SENT and self._clock() - item.sent_at < self.limits.resend_seconds:
            return
        elif item.attempts >= self.limits.attempts:
            item.progress = Progress.SKIPPED
            item.reason = f"not on chain after {item.attempts} attempts: {item.reason or 'no block took it'}"
        elif round_.phase is not Phase.TRAINING or now + self.limits.last_send_seconds >= round_.training_ends:
            item.progress, item.reason = Progress.SKIPPED, "training closed before it could be sent"
        else:
            item.progress = Progress.PENDING  # so far, or again: a reorganisation or a node lost its transaction

    def _due(self, state: State) -> list[_Item]:
        """The next batch, empty while waiting for more costs nobody anything."""
        round_ = self._last_round(state)
        if round_ is None or self._clock() < self._rests_until:
            return []
        elapsed = 1000 * (state.now - round_.launched_at)
        waiting = [one for one in self._items.values() if one.progress is Progress.PENDING and one.round == round_.id]
        payable = [item for item in waiting if item.update.millis <= elapsed]
        room = round_.terms.max_updates - len(round_.updates)
        if not payable or room == 0:
            return []
        waited = self._clock() - payable[0].since
        hurry = state.now + self.limits.closing_seconds >= round_.training_ends
        if hurry or waited >= self.limits.wait_seconds or len(payable) >= min(self.limits.batch, room):
            return payable[: min(self.limits.batch, room)]
        return []
