"""What the commands of ``rondo org`` do: settings and outside systems in, JSON views out."""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any

from network.chain import Chain
from network.files import write_atomic
from network.keys import named_address
from network.progress import TransferProgress
from network.session import open_chain, open_content, stop_on_signal
from network.settings import Settings, load_settings
from organization.admission import Lists, join_all, read_list, set_admission
from organization.distil import Distiller
from organization.evaluation import load_held_out
from organization.examples import load_examples
from organization.federation import BURN_ADDRESS, create_federation, name_auditors
from organization.launch import check_organization, launch_round
from organization.money import recover
from organization.relay import Relay
from organization.settle import Evaluator
from organization.status import federation_view, round_view
from organization.student import Student
from organization.worker import OrganizationWorker
from protocol.admission import AdmissionList, counts_from
from protocol.cid import directory_cid
from protocol.errors import InvalidInput
from protocol.reference import latest_round, resolve_federation, resolve_round
from protocol.replay import State
from protocol.task import load_task_toml
from protocol.terms import RoundTerms
from protocol.types import ZERO_HASH, FederationId, Hash, RoundId, bytes32, hex32

Say = Callable[[str], None]

MOST_CONNECTIONS = 512


def create_from_files(
    config: Path | None,
    *,
    task: Path,
    model: Path,
    auditors: Sequence[str],
    quorum: int | None,
    unaudited: bool,
    forfeit_to: str | None,
    seed: int,
    salt: str | None,
    say: Say,
) -> dict[str, Any]:
    """Create a federation from a task file and a model file.

    Raises:
        SettingsError: Contract, token or keystore is not configured.
        UnsafeArchitecture, InvalidInput and others: See `organization.model_builder` and `organization.federation`.
    """
    # Words are checked first: a mistyped address should not cost the seconds that Keras takes to start.
    bench = name_auditors([named_address(one) for one in auditors], quorum, unaudited)
    receiver = BURN_ADDRESS if forfeit_to is None else named_address(forfeit_to)
    fixed_salt = None if salt is None else Hash(bytes32(salt))
    terms = load_task_toml(task)
    settings = load_settings(config)
    token = settings.require_token()
    chain = open_chain(settings, with_key=True)
    from organization.model_builder import load_model

    created = create_federation(
        chain,
        open_content(settings),
        settings.home,
        task=terms,
        model=load_model(model, seed),
        token=token,
        bench=bench,
        forfeit_to=receiver,
        salt=fixed_salt,
        fresh_salt=lambda: secrets.token_bytes(32),
    )
    if not created.terms.is_audited:
        say(
            "warning: unaudited: our word alone decides on pay, and clients refuse such federations unless told otherwise"
        )
    elif chain.account in created.terms.auditors:
        say("warning: the organization is one of its own auditors; clients may not trust such a federation")
    say(
        f'{"found" if created.existed else "created"}; put this in rondo.toml: federation = "{hex32(created.federation)}"'
    )
    return {
        "federation": hex32(created.federation),
        "existed": created.existed,
        "organization": chain.account,
        "task": str(directory_cid(created.terms.task)),
        "model": str(directory_cid(created.terms.model)),
        "audited": created.terms.is_audited,
        "auditors": list(created.terms.auditors),
        "quorum": created.terms.quorum,
        "forfeit_to": created.terms.forfeit_to,
    }


def launch_once(config: Path | None, terms: RoundTerms) -> dict[str, Any]:
    """Launch the next round; its view. Raises: see `organization.launch.launch_round`."""
    settings, chain, federation = _open(config)
    state = chain.state()
    round_id = launch_round(chain, open_content(settings), state, federation, terms)
    state = chain.state()
    # With confirmations to wait for, the state may not have it yet; the transaction is in a block all the same.
    return _round_view(state, round_id) if round_id in state.rounds else {"round": hex32(round_id)}


def settle_round(
    config: Path | None,
    reference: str | None,
    *,
    test_data: Path | None,
    public_data: Path | None,
    wait: bool,
    say: Say,
) -> tuple[dict[str, Any], bool]:
    """Settle a round, once or as soon as possible; its view, and whether it is settled.

    Raises:
        UnknownRound: There is no such round.
        InvalidInput: It is over without a settlement. ContentError, ChainError: The outside does not answer.
    """
    settings, chain, federation = _open(config)
    worker = OrganizationWorker(
        chain,
        open_content(settings),
        federation,
        evaluate=_evaluator(test_data),
        say=say,
        watch=TransferProgress,
        student=_student(public_data, say),
    )
    named: list[RoundId] = []

    def find(state: State) -> RoundId:
        if reference is None:
            named.append(latest_round(resolve_federation(state, federation)))
        else:
            named.append(resolve_round(state, federation, reference))
        return named[-1]

    if wait:
        pause = partial(time.sleep, settings.poll_seconds)
        settled = worker.settle_when_possible(find, pause=pause, stopped=stop_on_signal())
    else:
        settled = worker.settle(find(chain.state()))
    return ({} if not named else _round_view(chain.state(), named[-1])), settled


def run_rounds(
    config: Path | None,
    terms: RoundTerms,
    *,
    rounds: int,
    consolidate: frozenset[int],
    test_data: Path | None,
    public_data: Path | None,
    say: Say,
) -> dict[str, Any]:
    """Run the worker until the federation has had ``rounds`` rounds, or a signal comes; the federation's view."""
    settings, chain, federation = _open(config)
    worker = OrganizationWorker(
        chain,
        open_content(settings),
        federation,
        terms=terms,
        evaluate=_evaluator(test_data),
        say=say,
        rounds_kept=settings.rounds_kept,
        watch=TransferProgress,
        student=_student(public_data, say),
    )
    worker.run(rounds, consolidate, pause=lambda: time.sleep(settings.poll_seconds), stopped=stop_on_signal())
    return _view(chain, federation)


def admit_clients(
    config: Path | None, file: Path | None, *, reopen: bool, proofs: Path | None, join: bool, say: Say
) -> dict[str, Any]:
    """Admit the clients that ``file`` lists, or everybody again; what counts now, and from which round.

    Safe to repeat: the list is kept before its root goes on chain, a root that is there already is not sent again, and
    nobody is joined twice.

    Raises:
        InvalidInput: Words that contradict each other, a line of the list that cannot be taken, or not our federation.
        SettingsError, KeyError_, ChainError: The outside does not work as configured.
    """
    if (file is None) != reopen or (reopen and (proofs is not None or join)):
        raise InvalidInput(
            "Name a list of clients, or --open, not both.",
            "Who may take part is a list, or everybody; without a list there is nothing to prove or to join.",
            "rondo org admit FILE [--proofs FILE] [--join], or rondo org admit --open",
        )
    admitted = AdmissionList.of(()) if file is None else read_list(file)
    settings, chain, federation_id = _open(config)
    state = chain.state()
    federation = resolve_federation(state, federation_id)
    check_organization(chain, federation)
    if file is not None:
        Lists(settings.home).keep(admitted)
    if proofs is not None:
        write_atomic(proofs, json.dumps(admitted.document(federation_id), indent=1).encode())
    changed = set_admission(chain, federation, admitted.root)
    joined = join_all(chain, federation, admitted, say) if join else []
    first = counts_from(state, federation, admitted.root)
    last = state.rounds[federation.rounds[-1]] if federation.rounds else None
    if last is not None and last.phase.is_live and first > last.index:
        say(f"round {last.index} is live and keeps the admission that it was launched with")
    if reopen:
        say("warning: open admission: anybody may take part, with as many accounts as they like")
    before = sum((admitted.root, client) in federation.joined for client in admitted.clients)
    return {
        "federation": hex32(federation_id),
        "open": reopen,
        "root": None if admitted.root == ZERO_HASH else hex32(admitted.root),
        "clients": len(admitted.clients),
        "joined": before + len(joined),
        "changed": changed,
        "counts_from_round": first,
        "proofs": None if proofs is None else str(proofs),
    }


def read_status(config: Path | None) -> dict[str, Any]:
    """The configured federation's view; needs no key."""
    settings = load_settings(config)
    federation = settings.require_federation()
    return _view(open_chain(settings, with_key=False), federation)


def withdraw_all(config: Path | None, say: Say) -> dict[str, Any]:
    """Withdraw from all rounds that can; how many transactions it took, and what remains in each round."""
    _, chain, federation_id = _open(config)
    state = chain.state()
    federation = resolve_federation(state, federation_id)
    check_organization(chain, federation)
    done = recover(chain, state, federation, say)
    returned = sum(chain.state().rounds[one].returned for one in federation.rounds)
    return {"transactions": done, "returned_in_all": str(returned)}


def serve_forever(
    config: Path | None, host: str, port: int, say: Say, *, relay: Path | None = None, anyone: bool = False
) -> None:
    """Serve the JSON views until a signal comes, and relay clients' updates at the cost of the keystore ``relay``.

    Raises:
        InvalidInput: It cannot listen there, or words contradict each other.
        SettingsError, KeyError_, ChainError: The outside does not work as configured.
    """
    import uvicorn

    from organization.service import create_app

    if anyone and relay is None:
        raise InvalidInput("--relay-anyone needs a relay.", "Nobody would pay.", "Name its keystore with --relay.")
    settings = load_settings(config)
    sender = None if relay is None else _open_relay(settings, relay, anyone=anyone, say=say)
    chain, store = open_chain(settings, with_key=False), open_content(settings)
    app = create_app(chain, store, Lists(settings.home), sender)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise InvalidInput(f"Cannot listen on {host}:{port}.", str(error.strerror or error), "Use --port 0.") from None
    with listening:
        bound = listening.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        say(f"http://{shown}:{bound}")
        # Beyond so many connections new ones are answered 503, so that slow ones cannot fill the memory.
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", limit_concurrency=MOST_CONNECTIONS))
        with _running(sender, settings.poll_seconds):
            server.run(sockets=[listening])


def _open_relay(settings: Settings, keystore: Path, *, anyone: bool, say: Say) -> Relay:
    """The relay of the configured federation, over a connection of its own: readers of the service cannot hold it up."""
    federation = settings.require_federation()
    chain = open_chain(settings.model_copy(update={"keystore": keystore.expanduser()}), with_key=True)
    found = resolve_federation(chain.state(), federation)
    relay = Relay(chain, federation, anyone=anyone, say=say)
    if relay.account == found.organization:
        say("warning: the relay's key is the organization's own; one that holds gas money and nothing else is safer")
    if anyone:
        say("warning: the relay pays for anyone in rounds of open admission, up to each round's maximum of updates")
    elif found.admission_root == ZERO_HASH:
        say("warning: admission is open, and the relay pays for admitted clients only; --relay-anyone pays for all")
    say(f"relay: {relay.account} pays for updates of {hex32(federation)}")
    return relay


@contextmanager
def _running(relay: Relay | None, poll_seconds: float) -> Iterator[None]:
    """Run the relay beside the service. What it has not sent when the service ends, its clients send themselves."""
    if relay is None:
        yield
        return
    stopped = Event()
    thread = Thread(target=relay.run, args=(stopped, min(poll_seconds, 1.0)), name="relay", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(timeout=5)


def parse_indices(text: str) -> frozenset[int]:
    """The rounds that ``text``, such as "3,5", names. Raises: InvalidInput."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isascii() and part.isdigit() and 0 < int(part) < 2**63 for part in parts):
        raise InvalidInput(f"{text!r} is not a list of rounds.", "Rounds are counted from 1.", "Write 3,5.")
    return frozenset(map(int, parts))


def _open(config: Path | None) -> tuple[Settings, Chain, FederationId]:
    settings = load_settings(config)
    federation = settings.require_federation()
    return settings, open_chain(settings, with_key=True), federation


def _view(chain: Chain, federation: FederationId) -> dict[str, Any]:
    state = chain.state()
    return federation_view(state, resolve_federation(state, federation))


def _round_view(state: State, round_id: RoundId) -> dict[str, Any]:
    round_ = state.rounds[round_id]
    return round_view(round_, audited=state.federations[round_.federation].terms.is_audited)


def _student(public_data: Path | None, say: Say) -> Student | None:
    return None if public_data is None else Distiller(load_examples(public_data, "--public-data"), say=say)


def _evaluator(test_data: Path | None) -> Evaluator | None:
    return None if test_data is None else load_held_out(test_data)
