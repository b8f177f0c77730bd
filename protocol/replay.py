"""The reference model of the contract: ``state = replay(logs, now)``, since time alone moves phases."""

from __future__ import annotations

from collections.abc import Iterable

from protocol import hashing
from protocol.errors import LogsIncomplete
from protocol.events import (
    AdmissionChanged,
    Event,
    FederationCreated,
    Joined,
    Logged,
    OrganizationChanged,
    OrganizationOffered,
    RewardsPaid,
    RoundLaunched,
)
from protocol.round_record import RoundRecord
from protocol.state import FederationState, RoundState, State, UpdateState
from protocol.types import ZERO_ADDRESS, Address, Digest, FederationId, Hash, RoundId, hex32

__all__ = ["FederationState", "Replay", "RoundState", "State", "UpdateState", "replay"]


class _Federation:
    """A federation as its events tell it."""

    def __init__(self, created: FederationCreated) -> None:
        self.created = created
        self.organization = created.organization
        self.offered_to: Address | None = None
        self.admission_root = created.terms.admission_root
        self.joined: set[tuple[Hash, Address]] = set()
        self.rounds: list[RoundRecord] = []
        self._frozen: frozenset[tuple[Hash, Address]] = frozenset()

    def take(self, event: Event) -> None:
        match event:
            case OrganizationOffered():
                self.offered_to = None if event.offered_to == ZERO_ADDRESS else event.offered_to
            case OrganizationChanged():
                self.organization, self.offered_to = event.organization, None
            case AdmissionChanged():
                self.admission_root = event.admission_root
            case Joined():
                self.joined.add((event.admission_root, event.client))

    def pay(self, event: RewardsPaid) -> None:
        for payment in event.payments:
            if not 0 < payment.index <= len(self.rounds):
                raise LogsIncomplete(
                    f"A payment names round {payment.index} of federation {hex32(event.federation)}, "
                    f"of which {len(self.rounds)} rounds are known."
                )
            self.rounds[payment.index - 1].pay(event.client, payment.amount)

    def head(self, now: int) -> Digest:
        """The model that the next round starts from: only the last round can have moved it since its launch."""
        if not self.rounds:
            return self.created.terms.model
        last = self.rounds[-1]
        if last.settled is not None and last.phase(now).moves_head:
            return last.settled.settlement.model
        return last.launched.base

    def at(self, now: int) -> FederationState:
        if len(self._frozen) != len(self.joined):
            self._frozen = frozenset(self.joined)
        return FederationState(
            id=self.created.federation,
            organization=self.organization,
            offered_to=self.offered_to,
            terms=self.created.terms,
            head=self.head(now),
            admission_root=self.admission_root,
            joined=self._frozen,
            rounds=tuple(record.launched.round for record in self.rounds),
        )


class Replay:
    """Replays a contract's events as they come. What they cannot follow from is refused, not guessed.

    Ids, hashes of terms and results, and the rolling hash of updates are computed again and compared, so an event
    that a node left out shows at the latest when its round is settled.

    Args:
        chain_id: The chain that the contract is on.
        contract: Its address.
    """

    def __init__(self, chain_id: int, contract: Address) -> None:
        self.chain_id, self.contract = chain_id, contract
        self._federations: dict[FederationId, _Federation] = {}
        self._rounds: dict[RoundId, RoundRecord] = {}
        self._last = (-1, -1)

    def feed(self, logs: Iterable[Logged]) -> None:
        """Take the events that follow those taken so far, in chain order.

        Raises:
            LogsIncomplete: An event names a federation or round that none before it began, contradicts those before
                it, or is out of order. The replay is then of no more use.
        """
        for logged in logs:
            place = (logged.block, logged.log_index)
            if place <= self._last:
                raise LogsIncomplete(f"Event {place[1]} of block {place[0]} came after {self._last}, out of order.")
            self._last = place
            self._take(logged.event)

    def at(self, now: int) -> State:
        """Return the state at ``now`` (chain seconds), not before the last event taken."""
        return State(
            now=now,
            federations={id: federation.at(now) for id, federation in self._federations.items()},
            rounds={id: record.at(now) for id, record in self._rounds.items()},
        )

    def _take(self, event: Event) -> None:
        match event:
            case FederationCreated():
                self._create(event)
            case RoundLaunched():
                self._launch(event)
            case OrganizationOffered() | OrganizationChanged() | AdmissionChanged() | Joined():
                self._federation(event.federation).take(event)
            case RewardsPaid():
                self._federation(event.federation).pay(event)
            case _:
                record = self._rounds.get(event.round)
                if record is None:
                    raise LogsIncomplete(f"An event names round {hex32(event.round)}, whose launch is missing.")
                record.take(event)

    def _federation(self, id: FederationId) -> _Federation:
        if id not in self._federations:
            raise LogsIncomplete(f"An event names federation {hex32(id)}, whose creation is missing.")
        return self._federations[id]

    def _create(self, event: FederationCreated) -> None:
        expected = hashing.federation_id(self.chain_id, self.contract, event.organization, event.salt)
        if event.federation != expected or event.federation in self._federations:
            raise LogsIncomplete(f"Federation {hex32(event.federation)} is of another chain, or created twice.")
        self._federations[event.federation] = _Federation(event)

    def _launch(self, event: RoundLaunched) -> None:
        federation = self._federation(event.federation)
        name = f"Round {hex32(event.round)}"
        if event.index != len(federation.rounds) + 1:
            raise LogsIncomplete(f"{name} has index {event.index} but follows {len(federation.rounds)} rounds.")
        if event.round != hashing.round_id(event.federation, event.index):
            raise LogsIncomplete(f"{name} is not the round of its federation and index.")
        if event.terms_hash != hashing.terms_hash(event.terms):
            raise LogsIncomplete(f"{name} states a hash of other terms.")
        if event.base != federation.head(event.launched_at) or event.admission_root != federation.admission_root:
            raise LogsIncomplete(f"{name} starts from another model or admission than its federation had.")
        record = RoundRecord(event, federation.created.terms, self.chain_id, self.contract)
        federation.rounds.append(record)
        self._rounds[event.round] = record


def replay(logs: Iterable[Logged], now: int, *, chain_id: int, contract: Address) -> State:
    """Return the state at ``now`` (chain seconds) of the ``contract`` whose events are ``logs``, in chain order.

    Raises:
        LogsIncomplete: The events do not follow from each other; see `Replay.feed`.
    """
    whole = Replay(chain_id, contract)
    whole.feed(logs)
    return whole.at(now)
