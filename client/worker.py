"""The client's worker. Every pass reads the chain, finds the one next thing to do, and does it.

    train -> write to the outbox -> commit the digest (or have a relay do it) -> (training closes) -> publish the bytes -> (round is decided)
    -> keep or restore the residual -> claim

Nothing is remembered between passes but what the outbox and the chain hold, so a pass may die anywhere and the next
one, in this process or another, goes on. Bytes are never public before training has closed: until then anybody could
commit a copy (SPECIFICATION U4).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from client.artifacts import Artifacts
from client.claims import Claimer
from client.data import Dataset
from client.feedback import FeedbackStore
from client.outbox import Entry, Outbox, Stage
from client.policy import (
    NotJoined,
    Policy,
    RoundRefused,
    admission_notice,
    check_base,
    check_federation,
    check_round,
    check_standing,
    pay_line,
)
from client.relay import Handover, RelayFailed
from client.trainer import TrainingFailed, seed_of, train
from client.update_builder import build_update
from network.chain import Chain
from network.pins import Keeper
from network.progress import Watch, unwatched
from network.store import ContentStore
from network.transfer import publish
from protocol.cid import directory_cid
from protocol.errors import (
    ArtifactRefused,
    ContentError,
    InsufficientFunds,
    KeyError_,
    NotCanonical,
    RondoError,
    TransactionReverted,
)
from protocol.reference import resolve_federation
from protocol.retention import ROUNDS_KEPT, Kind
from protocol.state import FederationState, RoundState, State
from protocol.task import Feedback, Task
from protocol.terms import Phase
from protocol.types import FederationId, RoundId, hex32

# This close to the end of training less pay is better than none: the next block may be too late.
LAST_CALL_SECONDS = 30


UNAUDITED = "warning: unaudited: the organization's word alone decides what is paid"


class NoFallback(InsufficientFunds):
    """The relay failed a client that cannot pay for its own transaction."""


class SecondClient(RondoError):
    """Another process commits updates with this account."""

    exit_code = 77


class ClientWorker:
    """One account's part in one federation.

    Args:
        chain: Opened with the account's key.
        dataset: The account's examples; they stay here.
        home: Folder of what must survive: outbox and residual, apart for each federation and account.
        policy: What the owner agreed to.
        rounds: Take part in this many rounds, 0 in all.
        claims: Whether pay is claimed as soon as it is due.
        relay: Where updates are handed in instead of sent, and when not to wait for it any longer; None sends at once.
        say: Takes one line of news that is not the result of a pass.
        should_stop: Asked between training steps.
        watch: Shows how far large fetches are.
        rounds_kept: How many settled rounds stay auditable, as far as this client's own update goes.

    Raises:
        KeyError_: The chain was opened without an account.
    """

    def __init__(
        self,
        chain: Chain,
        store: ContentStore,
        federation: FederationId,
        dataset: Dataset,
        home: Path,
        policy: Policy,
        *,
        rounds: int = 0,
        claims: bool = True,
        relay: Handover | None = None,
        say: Callable[[str], None] = lambda line: None,
        should_stop: Callable[[], bool] = lambda: False,
        rounds_kept: int = ROUNDS_KEPT,
        watch: Watch = unwatched,
    ) -> None:
        if chain.account is None:
            raise KeyError_("A client needs an account.", "The chain was opened without a key.", "Set keystore.")
        self.account = chain.account
        self._chain, self._store, self._federation, self._dataset = chain, store, federation, dataset
        self._home = home / federation.hex() / self.account
        self._policy, self._rounds, self._claims, self._relay = policy, rounds, claims, relay
        self._say, self._should_stop = say, should_stop
        self._artifacts = Artifacts(store, chain.chain_id, chain.contract, watch)
        self._claimer = Claimer(chain, self._artifacts, self.account)
        self._keeper = Keeper(store, rounds_kept)
        self._seen_through: frozenset[RoundId] = frozenset()  # when it last let go of what they had needed
        self.outbox = Outbox(self._home / "outbox")
        self.finished = 0  # rounds that this worker saw through
        self.awaiting_pay = 0  # of the rounds it worked on, those that may still pay; as of the last whole pass
        self._worked_on: set[RoundId] = set()
        self._refused: set[RoundId] = set()
        self._not_joined: set[RoundId] = set()
        self._handed_in: set[RoundId] = set()
        self._unpaid: set[RoundId] = set()  # neither relayed nor paid for by the account
        self._said: set[str] = set()

    def step(self) -> str | None:
        """One pass; returns what was done in one line, None where there is nothing to do now.

        Raises:
            RoundRefused, ArtifactRefused, TrainingFailed: This client takes no part in the running round; call again for the next.
            InvalidInput: The federation is not one that the owner agreed to, or the data do not fit its model.
            SecondClient: Another process commits updates with this account.
            NoFallback: Neither the relay nor the account pays for the update; said once, and tried until training closes.
            ChainError, ContentError: The outside fails; calling again goes on where this pass ended.
            TrainingStopped: ``should_stop`` said so.
        """
        state = self._chain.state()
        federation = resolve_federation(state, self._federation)
        open_entries = [
            (entry, state.rounds[entry.round])
            for entry in self.outbox.entries()
            if not entry.stage.is_done and entry.round in state.rounds  # a reorganised chain may have lost the round
        ]
        self._worked_on.update(round_.id for _, round_ in open_entries)
        for entry, round_ in open_entries:
            done = self._advance(entry, round_, federation)
            if done is not None:
                return done
        self._let_go(state)
        if self._rounds == 0 or self.finished + len(open_entries) < self._rounds:
            done = self._train(state, federation)
            if done is not None:
                return done
        return self._claim(state, federation) if self._claims else None

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do in the rounds that it was to take part in.

        Each has been seen through and, where this worker claims, has paid all that it owes this account.
        """
        return 0 < self._rounds <= self.finished and not self.awaiting_pay

    # --- an update that exists ---

    def _advance(self, entry: Entry, round_: RoundState, federation: FederationState) -> str | None:
        mine = round_.update_of(self.account)
        if entry.stage is Stage.PUBLISHED:
            return self._resolve(entry, round_, federation)
        if mine is None:
            if not entry.belongs_to(round_):
                self.outbox.discard(entry)
                return f"round {entry.index}: the chain was reorganised and has another round now; training again"
            return self._submit(entry, round_) if round_.phase is Phase.TRAINING else self._missed(entry)
        if mine.digest != entry.digest:
            self._finish(entry, Stage.FOREIGN)
            raise SecondClient(
                f"Round {entry.index} has the update {hex32(mine.digest)} of {self.account}, not {hex32(entry.digest)}.",
                "Another process uses the same key, with another home.",
                "Run one client for each account.",
            )
        if entry.round in self._handed_in:
            self._say_once(f"round {entry.index}: {directory_cid(entry.digest)} is on chain, {mine.millis} ms")
        return self._publish(entry) if round_.training_closed_at is not None else None

    def _submit(self, entry: Entry, round_: RoundState) -> str | None:
        millis = self._payable_millis(entry, round_)
        if millis is None:
            return None
        try:
            self.outbox.files(entry)  # a digest without its bytes would be a promise that cannot be kept
        except NotCanonical as error:
            self.outbox.discard(entry)
            return f"round {entry.index}: {error.what} Training again"
        if self._relay is None or millis < entry.millis or self._chain.now() >= self._relay.own_from(round_):
            return self._commit(entry, round_, millis)
        return self._hand_in(entry, round_, self._relay)

    def _hand_in(self, entry: Entry, round_: RoundState, relay: Handover) -> str | None:
        """Let the relay send the update. Whether it did is read on chain; its word is only shown."""
        if not relay.is_due(round_, self._chain.now()):
            return None
        update = self._chain.sign_update(round_, entry.digest, entry.millis)
        own = f"own transaction from chain second {relay.own_from(round_)}"
        try:
            said = relay.hand_in(round_, update)
        except RelayFailed as error:
            self._say_once(f"round {entry.index}: {error} Trying again; {own}")
            return None
        if entry.round in self._handed_in:
            self._say_once(f"round {entry.index}: the relay says {said}; {own}")
            return None
        self._handed_in.add(entry.round)
        cid = directory_cid(entry.digest)
        return (
            f"round {entry.index}: handed {cid} to the relay, {entry.examples} examples, {entry.millis} ms;"
            f" it says {said}; {own}"
        )

    def _commit(self, entry: Entry, round_: RoundState, millis: int) -> str | None:
        try:
            self._chain.submit_update(entry.round, entry.digest, millis)
        except InsufficientFunds as error:
            if self._relay is None:
                raise
            done = self._hand_in(entry, round_, self._relay)  # late, but all that is left
            if done is not None or entry.round in self._unpaid:
                return done
            self._unpaid.add(entry.round)
            raise NoFallback(
                f"Round {entry.index}: the relay has not put the update on chain, and the account cannot pay for its own"
                " transaction.",
                error.what,
                f"Send gas money to {self.account} before chain second {round_.training_ends}; both are tried until then.",
            ) from error
        except TransactionReverted as error:
            if error.name not in ("AlreadySubmitted", "WrongPhase", "RoundFull"):
                raise
            # The chain is ahead of what this pass saw, perhaps by our own transaction: what it shows next decides.
            self._say_once(
                f"round {entry.index}: {error.name}; waiting for the chain to show what became of the update"
            )
            return None
        cid = directory_cid(entry.digest)
        return f"round {entry.index}: committed {cid}, {entry.examples} examples, {millis} ms"

    def _payable_millis(self, entry: Entry, round_: RoundState) -> int | None:
        """What the contract takes: at most 1000 x (now - launch). None where waiting for the next block takes more.

        A chain's clock stands still between blocks, so a short training can end "before" the time it took.
        """
        now = self._chain.now()
        most = 1000 * (now - round_.launched_at)
        if entry.millis <= most:
            return entry.millis
        if now + LAST_CALL_SECONDS < round_.training_ends:
            self._say_once(f"round {entry.index}: trained for {entry.millis} ms; waiting for the chain's clock")
            return None
        self._say_once(f"round {entry.index}: trained for {entry.millis} ms, the contract takes {most}")
        return most

    def _missed(self, entry: Entry) -> str:
        self._finish(entry, Stage.MISSED)
        return f"round {entry.index}: closed before the update was on chain; the next round starts from the same data"

    def _publish(self, entry: Entry) -> str:
        try:
            files = self.outbox.files(entry)
        except NotCanonical as error:
            self._finish(entry, Stage.LOST)
            return f"round {entry.index}: {error}"
        publish(self._store, files)
        self.outbox.mark(entry, Stage.PUBLISHED)
        return f"round {entry.index}: published {directory_cid(entry.digest)}"

    def _resolve(self, entry: Entry, round_: RoundState, federation: FederationState) -> str | None:
        """Once a round is decided: its residual replaces the kept one where the update was merged, else that one stays."""
        if round_.phase.is_live:
            return None
        merged = self._artifacts.merged(round_, self.account, entry.digest)
        if merged:
            rule = self._artifacts.task(federation).feedback
            self._feedback(rule).commit(entry.index, self.outbox.residual(entry))
        self._finish(entry, Stage.MERGED if merged else Stage.NOT_MERGED)
        return f"round {entry.index}: {round_.phase.name.lower()}, the update was {'' if merged else 'not '}merged"

    def _finish(self, entry: Entry, stage: Stage) -> None:
        self.outbox.mark(entry, stage)
        self.finished += 1

    # --- a new one ---

    def _train(self, state: State, federation: FederationState) -> str | None:
        check_federation(federation, self._policy)
        self._say_once(None if federation.terms.is_audited else UNAUDITED)
        round_ = state.rounds[federation.rounds[-1]] if federation.rounds else None
        if round_ is None or round_.phase is not Phase.TRAINING:
            self._say_once(admission_notice(federation, self.account))
            return None
        if round_.id in self._refused:
            return None
        entry = self.outbox.get(round_.id)
        if entry is not None and entry.belongs_to(round_):
            return None
        if round_.update_of(self.account) is not None:
            self._say_once(f"round {round_.index}: this account's update is on chain, but not in {self._home}")
            return None
        try:
            task = self._artifacts.task(federation)
            check_round(round_, federation, task, self.account, len(self._dataset), self._policy)
            if task.standing.use == "admit":
                check_standing(round_, task, self._artifacts.standing(round_, state, task, self.account))
            self._say_once(f"round {round_.index}: training for {pay_line(round_, federation)}")
            return self._submit(self._work(round_, task), round_)
        except NotJoined:  # the one refusal that a client can mend while the round is open: asked again, said once
            if round_.id in self._not_joined:
                return None
            self._not_joined.add(round_.id)
            raise
        except (RoundRefused, ArtifactRefused, TrainingFailed):
            self._refused.add(round_.id)  # the same again would give the same
            raise

    def _work(self, round_: RoundState, task: Task) -> Entry:
        """Train, quantise and write to the outbox; on return the update survives anything."""
        base = self._artifacts.base(round_, task)
        check_base(base)
        self._keep_base(round_)
        trained = train(
            base,
            self._artifacts.anchor(base, task),
            task,
            self._dataset,
            seed=seed_of(round_.id, self.account),
            consolidate=round_.terms.consolidate,
            should_stop=self._should_stop,
        )
        most = round_.terms.max_millis
        if trained.millis > most:
            self._say(f"round {round_.index}: trained for {trained.millis} ms, the contract takes {most}")
        kept = self._feedback(task.feedback).kept(round_.index)
        built = build_update(round_, self.account, base, task, trained, kept)
        if built.clipped:
            self._say(f"round {round_.index}: {built.clipped} weights changed more than the update can hold: clipped")
        entry = Entry(
            round_.id,
            round_.index,
            round_.base,
            round_.terms_hash,
            built.digest,
            min(trained.millis, most),
            trained.examples,
            trained.steps,
        )
        self.outbox.put(entry, built.files, built.residual)
        return entry

    def _feedback(self, rule: Feedback) -> FeedbackStore:
        return FeedbackStore(self._home / "residual.npz", rule)

    # --- what is kept ---

    def _keep_base(self, round_: RoundState) -> None:
        """Others may need it from here when its publisher is away; read before, so it is no larger than the task allows."""
        try:
            self._store.keep(directory_cid(round_.base))
        except ContentError as error:
            self._say_once(f"round {round_.index}: its base model is not kept: {error}")

    def _let_go(self, state: State) -> None:
        """After a round: release the own updates and the bases that no round needs any more."""
        done = [entry for entry in self.outbox.entries() if entry.stage.is_done]
        rounds = frozenset(entry.round for entry in done)
        if rounds == self._seen_through:
            return
        self._seen_through = rounds
        mine = {directory_cid(entry.digest) for entry in done}
        try:
            spare = self._keeper.spare(state, [self._federation])
            self._keeper.release(pin for pin in spare if pin.cid in mine or pin.kind is not Kind.UPDATE)
        except RondoError as error:
            self._say_once(f"What past rounds no longer need was not let go: {error}")

    # --- pay ---

    def _claim(self, state: State, federation: FederationState) -> str | None:
        payments = self._claimer.take(self._claimer.due(state, federation.rounds), state.now)
        for error in self._claimer.problems.values():
            self._say_once(str(error))
        worked_on = (state.rounds[one] for one in self._worked_on if one in state.rounds)
        self.awaiting_pay = sum(not self._claimer.is_settled(round_) for round_ in worked_on)
        if not payments:
            return None
        rounds = ", ".join(str(payment.index) for payment in payments)
        return f"claimed {sum(payment.amount for payment in payments)} base units for round {rounds}"

    def _say_once(self, line: str | None) -> None:
        if line is not None and line not in self._said:
            self._said.add(line)
            self._say(line)
