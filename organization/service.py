"""The organization's service: a JSON view of federations, rounds and reports, read-only and without a key.

With a relay it also takes clients' signed updates; the relay's key pays gas and can do nothing else.
"""

from __future__ import annotations

from threading import Lock
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from network.chain import Chain
from network.store import ContentStore
from network.transfer import fetch
from organization.admission import Lists
from organization.gate import Gate
from organization.relay import NotPaidFor, Relay, RelayBusy, RelayRefused, UnknownUpdate
from organization.relay_views import RelayedView, RelayRequest, RelayView
from organization.views import AdmissionView, FederationView, Health, Problem, ReportView, RoundView, UpdateView
from protocol.admission import NotAdmitted, is_joined
from protocol.errors import (
    ArtifactRefused,
    ChainError,
    ContentError,
    InvalidInput,
    RondoError,
    UnknownFederation,
    UnknownRound,
)
from protocol.reference import resolve_federation, resolve_round
from protocol.replay import FederationState, RoundState, State
from protocol.report import MAX_REPORT_BYTES, decode_report
from protocol.types import Digest, FederationId, RoundId, address, bytes32, hex32

MAX_PAGE = 1000

Offset = Annotated[int, Query(ge=0, description="How many to pass over.")]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="How many to return at most.")]

# In this order: the first class that an error belongs to decides.
_STATUS: tuple[tuple[type[RondoError], int], ...] = (
    (UnknownFederation, 404),
    (UnknownRound, 404),
    (NotAdmitted, 404),
    (UnknownUpdate, 404),
    (NotPaidFor, 403),
    (RelayBusy, 503),
    (RelayRefused, 409),
    (InvalidInput, 400),
    (ArtifactRefused, 502),  # what the organization published is not what it must be
    (ChainError, 503),
    (ContentError, 503),
)
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The request is malformed."},
    404: {"model": Problem, "description": "There is no such thing."},
    503: {"model": Problem, "description": "The chain or the content store does not answer."},
}
_RELAY_PROBLEMS = _PROBLEMS | {
    403: {"model": Problem, "description": "The relay does not pay for this client."},
    408: {"model": Problem, "description": "The body took too long."},
    409: {"model": Problem, "description": "The relay will not send this update: it is too late, or there is another."},
    413: {"model": Problem, "description": "The body is too large."},
    429: {"model": Problem, "description": "Too many requests from one source."},
}
_REPORT_PROBLEMS = _PROBLEMS | {502: {"model": Problem, "description": "The published report is not a report."}}


class _Reader:
    """The chain and the store behind the service. Replay is not thread-safe and requests come in threads: one at a time."""

    def __init__(self, chain: Chain, store: ContentStore, lists: Lists | None) -> None:
        self.chain, self.store, self.lists = chain, store, lists
        self._lock = Lock()
        self._reports: dict[Digest, ReportView] = {}

    def state(self) -> State:
        with self._lock:
            return self.chain.state()

    def federation(self, text: str) -> tuple[State, FederationState]:
        state = self.state()
        return state, resolve_federation(state, FederationId(bytes32(text)))

    def round(self, text: str) -> tuple[State, RoundState]:
        state = self.state()
        return state, state.rounds[resolve_round(state, None, hex32(bytes32(text)))]

    def admission(self, text: str, client: str) -> AdmissionView:
        _, federation = self.federation(text)
        account = address(client)
        if self.lists is None:
            raise NotAdmitted("This service keeps no lists.", "", "Ask the organization for the list.")
        with self._lock:  # a list of many clients is read and hashed once
            proof = self.lists.proof(federation, account)
        return AdmissionView.of(proof, is_joined(federation, proof.root, account))

    def report(self, round_: RoundState) -> ReportView:
        if round_.settled is None:
            raise UnknownRound(
                f"Round {round_.index} has no report.",
                f"It is {round_.phase.name.lower()}.",
                "Ask again once it is settled.",
            )
        digest = round_.settled.settlement.report
        # A digest's content never changes; the last report is the one that is asked for again and again.
        if digest not in self._reports:
            self._reports = {digest: ReportView.of(*decode_report(fetch(self.store, digest, MAX_REPORT_BYTES)))}
        return self._reports[digest]


def create_app(chain: Chain, store: ContentStore, lists: Lists | None = None, relay: Relay | None = None) -> FastAPI:
    """Make the service over ``chain``, which may be read-only, ``store``, and the lists of admitted clients kept here.

    Args:
        relay: Takes clients' updates where it is given; whoever gives it also runs it.
    """
    app = FastAPI(
        title="Rondo",
        summary="Federations, rounds and reports, read from the chain and the content store.",
        version="1",
    )
    _add_problems(app)
    _add_routes(app, _Reader(chain, store, lists))
    if relay is not None:
        app.add_middleware(Gate)
        _add_relay(app, relay)
    return app


def _add_routes(app: FastAPI, reader: _Reader) -> None:
    @app.get("/health", responses={503: _PROBLEMS[503]})
    def health() -> Health:
        """Whether the service can read the chain."""
        state = reader.state()
        chain = reader.chain
        return Health(
            chain_id=chain.chain_id, contract=chain.contract, now=state.now, federations=len(state.federations)
        )

    @app.get("/federations", responses=_PROBLEMS)
    def federations(offset: Offset = 0, limit: Limit = 100) -> list[FederationView]:
        """All federations of the contract, in order of creation."""
        found = list(reader.state().federations.values())
        return [FederationView.of(one) for one in found[offset : offset + limit]]

    @app.get("/federations/{federation}", responses=_PROBLEMS)
    def federation(federation: str) -> FederationView:
        """One federation by its id."""
        return FederationView.of(reader.federation(federation)[1])

    @app.get("/federations/{federation}/admission/{client}", responses=_PROBLEMS)
    def admission(federation: str, client: str) -> AdmissionView:
        """The proof with which a client of the present list joins; 404 where it is not on it, or admission is open."""
        return reader.admission(federation, client)

    @app.get("/federations/{federation}/rounds", responses=_PROBLEMS)
    def rounds(federation: str, offset: Offset = 0, limit: Limit = 100) -> list[RoundView]:
        """The federation's rounds, first to last."""
        state, found = reader.federation(federation)
        return [RoundView.of(state.rounds[one], found) for one in found.rounds[offset : offset + limit]]

    @app.get("/rounds/{round}", responses=_PROBLEMS)
    def round_(round: str) -> RoundView:
        """One round by its id."""
        state, found = reader.round(round)
        return RoundView.of(found, state.federations[found.federation])

    @app.get("/rounds/{round}/updates", responses=_PROBLEMS)
    def updates(round: str, offset: Offset = 0, limit: Limit = 100) -> list[UpdateView]:
        """The round's updates in chain order."""
        return [UpdateView.of(one) for one in reader.round(round)[1].updates[offset : offset + limit]]

    @app.get("/rounds/{round}/report", responses=_REPORT_PROBLEMS)
    def report(round: str) -> ReportView:
        """The settled round's report, read from the content store."""
        return reader.report(reader.round(round)[1])


def _add_relay(app: FastAPI, relay: Relay) -> None:
    @app.get("/relay")
    def about() -> RelayView:
        """Whom the relay pays for, what a client signs, the limits, and what was done so far."""
        return RelayView.of(relay)

    @app.post("/relay/updates", status_code=202, responses=_RELAY_PROBLEMS)
    def hand_in(request: RelayRequest, response: Response) -> RelayedView:
        """Take a signed update; a batch of them goes to the chain within seconds. The same again changes nothing."""
        round_id, update = request.signed()
        response.headers["Location"] = f"/relay/updates/{request.round}/{update.client}"
        return RelayedView.of(relay.accept(round_id, update))

    @app.get("/relay/updates/{round}/{client}", responses=_PROBLEMS)
    def relayed(round: str, client: str) -> RelayedView:
        """How far an update has come. It is forgotten when the next round begins, or the relay is started again."""
        return RelayedView.of(relay.find(RoundId(bytes32(round)), address(client)))


def _add_problems(app: FastAPI) -> None:
    """Every failure has the same body: what, why, do."""

    @app.exception_handler(RondoError)
    def rondo_error(request: Request, error: RondoError) -> JSONResponse:
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
        return _problem(status, error.what, error.why, error.do)

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return _problem(400, f"{where}: {first['msg']}.", "The request is malformed.", "See /docs for what is taken.")

    @app.exception_handler(HTTPException)
    def http_error(request: Request, error: HTTPException) -> JSONResponse:
        what = f"{request.method} {request.url.path}: {error.detail}."
        return _problem(error.status_code, what, "The service has no such request.", "See /docs for what there is.")

    @app.exception_handler(Exception)
    def unexpected(request: Request, error: Exception) -> JSONResponse:
        return _problem(500, "The service failed.", "An error that was not foreseen; its log has it.", "Try again.")


def _problem(status: int, what: str, why: str, do: str) -> JSONResponse:
    return JSONResponse(Problem(what=what, why=why, do=do).model_dump(), status_code=status)
