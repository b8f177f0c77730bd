"""The organization's worker: launches rounds, settles them, and takes back what returns. Everything it knows is on chain,
so it can be stopped or killed at any line and started again."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import replace

from network.chain import Chain
from network.pins import Keeper
from network.progress import Watch, unwatched
from network.store import ContentStore
from organization.collect import Collection, collect
from organization.launch import check_organization, launch_round, load_task
from organization.money import recover
from organization.retry import until_done
from organization.settle import Evaluator, prepare_settlement
from organization.student import Student, require_student
from protocol.errors import BlockCorrupt, BlockMissing, InvalidInput, RondoError, UnknownRound
from protocol.model import Model
from protocol.reference import resolve_federation
from protocol.replay import FederationState, RoundState, State
from protocol.retention import ROUNDS_KEPT
from protocol.task import Task
from protocol.terms import PayBasis, Phase, RoundTerms
from protocol.types import Digest, FederationId, Hash, RoundId, hex32


class OrganizationWorker:
    """Keeps one federation's rounds going.

    Args:
        chain: Opened with the organization's key.
        terms: Terms of the rounds to launch; ``consolidate`` is decided for each round. None launches nothing.
        evaluate: Measures every resulting model for the report's statement.
        say: Takes one line of progress; the same line about a round is not said twice in a row.
        rounds_kept: How many settled rounds stay auditable from the store.
        watch: Shows how far large fetches are.
        student: Makes the models that we state, where the task leaves them to our word.
    """

    def __init__(
        self,
        chain: Chain,
        store: ContentStore,
        federation: FederationId,
        *,
        terms: RoundTerms | None = None,
        evaluate: Evaluator | None = None,
        say: Callable[[str], None] = lambda text: None,
        rounds_kept: int = ROUNDS_KEPT,
        watch: Watch = unwatched,
        student: Student | None = None,
    ) -> None:
        self.chain, self.store, self.federation = chain, store, federation
        self.terms, self.evaluate, self.student = terms, evaluate, student
        self._say, self._progress = say, watch
        self._last_said = ""
        self._task: Task | None = None
        self._have: set[Digest] = set()
        self._collected: dict[tuple[RoundId, Hash], Collection] = {}  # the last look at a round's updates
        self._live: RoundId | None = None  # the live round that was seen last
        self._keeper = Keeper(store, rounds_kept)
        self._tidied: tuple[RoundId, PayBasis] | None = None  # after which round, and what it was known to pay by

    def run(
        self,
        rounds: int,
        consolidate: Container[int] = (),
        *,
        pause: Callable[[], None],
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Step until the federation has had ``rounds`` rounds in all and they are over, or until ``stopped()``.

        Rounds are counted from the federation's first, so a worker that is started again goes on where it was.

        Args:
            consolidate: Indices of the rounds that renew importance and anchor.
            pause: Waits a little between steps, also after the outside did not answer.

        Raises:
            RondoError: What waiting cannot mend: see `organization.retry`.
        """
        self._until_done(lambda: self.step(rounds, consolidate), pause, stopped)

    def settle_when_possible(
        self,
        find: Callable[[State], RoundId],
        *,
        pause: Callable[[], None],
        stopped: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Try to settle one round until it is settled, or until ``stopped()``; which of the two.

        Args:
            find: Finds the round in the chain's state; asked until it answers.

        Raises:
            RondoError: What waiting cannot mend: see `settle` and `organization.retry`.
        """
        found: list[RoundId] = []

        def attempt() -> bool:
            if not found:
                found.append(find(self.chain.state()))
            return self.settle(found[0])

        return self._until_done(attempt, pause, stopped)

    def at_stake(self) -> bool:
        """Whether a round is live, as far as is known: then waiting is better than giving up, for a bond is at stake."""
        try:
            state = self.chain.state()
        except RondoError:
            return True
        federation = state.federations.get(self.federation)
        last = set(federation.rounds[-1:]) if federation else set()
        if self._live is not None:
            last.add(self._live)  # a node that does not know it is behind
        return any(one not in state.rounds or state.rounds[one].phase.is_live for one in last)

    def step(self, rounds: int = 0, consolidate: Container[int] = ()) -> bool:
        """Do what can be done now: settle the live round, take money back, launch the next of ``rounds``.

        Returns:
            Whether all is done: no round is live, none is to be launched, nothing can be taken back now.

        Raises:
            InvalidInput: The account is not the organization, or the terms are refused.
            InsufficientFunds, ArithmeticRefused: See `organization.launch`.
            ContentError, ChainError: The outside does not answer, or content that is needed is missing.
        """
        state = self.chain.state()
        federation = resolve_federation(state, self.federation)
        check_organization(self.chain, federation)
        last = state.rounds[federation.rounds[-1]] if federation.rounds else None
        self._watch(last)
        if last is not None and last.phase.is_live:
            self._advance(federation, last)
            return False
        if recover(self.chain, state, federation, self._report):
            return False
        if last is not None:
            self._tidy(state, last)
        if len(federation.rounds) < rounds:
            self._launch(state, federation, consolidate)
            return False
        return True

    def settle(self, round_id: RoundId) -> bool:
        """Settle one round where that is possible now; whether it is settled.

        Raises:
            UnknownRound: The node does not know it (yet).
            InvalidInput: The round is over without a settlement (no update came, or it is too late).
            ContentError, ChainError: As `step`.
        """
        state = self.chain.state()
        round_ = state.rounds.get(round_id)
        if round_ is None:
            raise UnknownRound(
                f"The contract has no round {hex32(round_id)}.", "", "Check the id, or wait for the node."
            )
        self._watch(round_)
        federation = resolve_federation(state, round_.federation)
        check_organization(self.chain, federation)
        if round_.settled is not None:
            return True
        if not round_.phase.is_live:
            raise InvalidInput(
                f"Round {round_.index} cannot be settled: it is {round_.phase.name.lower()}.",
                "No update came." if round_.phase is Phase.VOID else "Its settlement window is over.",
                "Take back what returns with `rondo org withdraw`, and launch the next round.",
            )
        return self._advance(federation, round_)

    def _advance(self, federation: FederationState, round_: RoundState) -> bool:
        """Settle a live round as soon as its updates allow it; whether it was settled."""
        name = f"round {round_.index}"
        if round_.phase is Phase.TRAINING:
            self._report(f"{name}: training until {round_.training_ends}, {len(round_.updates)} updates")
        if round_.phase is Phase.CHALLENGE:
            self._report(f"{name}: settled; {len(round_.attestations)} attestations")
        if round_.phase is not Phase.SETTLEMENT:
            return False
        self._task = self._task or load_task(self.store, federation)
        found = self._collect(round_, self._task)
        if not found.is_complete:
            self._report(
                f"{name}: waiting until {found.window_ends} for the bytes of {', '.join(sorted(found.missing))}"
            )
            return False
        prepared = prepare_settlement(
            self.chain, self.store, round_, self._task, found.missing, self._measure, self._progress, self.student
        )
        for client, why in prepared.derivation.refusals.items():
            self._report(f"{name}: {client} refused: {why}")
        for client in sorted(found.missing):
            self._report(f"{name}: {client} unavailable: its bytes were not published in time")
        self.chain.settle(round_.id, prepared.settlement)
        derived = prepared.derivation.derived
        metrics = "".join(f", {key} {hit}/{of}" for key, (hit, of) in sorted(prepared.statement.metrics.items()))
        self._report(
            f"{name}: settled, {derived.merged} of {len(round_.updates)} updates merged, "
            f"rewards {derived.rewards_total}{metrics}"
        )
        return True

    def _collect(self, round_: RoundState, task: Task) -> Collection:
        """Look for the updates' bytes; a look that was the last is not repeated where only the settlement failed."""
        key = (round_.id, round_.updates_hash)
        if key not in self._collected:
            found = collect(self.store, round_, task, self.chain.now(), self._have)
            if not found.is_complete:
                return found
            self._collected[key] = found
        return self._collected[key]

    def _watch(self, round_: RoundState | None) -> None:
        if round_ is not None and round_.phase.is_live:
            self._live = round_.id
        elif round_ is not None and round_.id == self._live:
            self._live = None
            self._collected.clear()

    def _measure(self, model: Model) -> Mapping[str, tuple[int, int]]:
        """The model's metrics. Nothing depends on them, but a bond and everybody's pay depend on settling in time."""
        try:
            return self.evaluate(model) if self.evaluate else {}
        except RondoError as error:
            self._report(f"not measured: {error}")
            return {}

    def _launch(self, state: State, federation: FederationState, consolidate: Container[int]) -> None:
        if self.terms is None:
            raise InvalidInput("There are no terms to launch a round with.", "", "Give the worker terms.")
        self._task = self._task or load_task(self.store, federation)
        require_student(self.store, federation.head, self._task, self.student)
        index = len(federation.rounds) + 1
        terms = replace(self.terms, consolidate=index in consolidate)
        round_id = launch_round(self.chain, self.store, state, self.federation, terms)
        self._live = round_id
        kind = " (consolidates)" if terms.consolidate else ""
        self._report(f"round {index}: launched{kind} {hex32(round_id)}")

    def _tidy(self, state: State, last: RoundState) -> None:
        """After a round: keep what is here and must stay, let go of the rest. It never stops a round; the next one tries again."""
        if self._tidied == (last.id, last.basis):
            return
        self._tidied = (last.id, last.basis)
        try:
            pins = self._keeper.repair(self._keeper.survey(state, [self.federation]), fetch=False)
            gone = self._keeper.release(pins)
        except RondoError as error:
            self._report(f"round {last.index}: what it no longer needs was not let go: {error}")
            return
        for pin in pins:
            if pin.is_fault and pin.reason is not None:
                self._report(f"round {last.index}: {pin.reason.text} {pin.cid} is not kept: {pin.why}")
        if gone:
            self._report(f"round {last.index}: let go of {len(gone)} artifacts that no round needs any more")

    def _until_done(self, step: Callable[[], bool], pause: Callable[[], None], stopped: Callable[[], bool]) -> bool:
        def careful() -> bool:
            try:
                return step()
            except (BlockMissing, BlockCorrupt):
                self._have.clear()  # what was there is no longer: look at everything again
                self._collected.clear()
                raise

        return until_done(careful, at_stake=self.at_stake, pause=pause, stopped=stopped, say=self._report)

    def _report(self, text: str) -> None:
        if text != self._last_said:
            self._last_said = text
            self._say(text)
