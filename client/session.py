"""What the client's commands do: settings and outside systems in, a document out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from client.artifacts import Artifacts
from client.claims import Claimer, Payment
from client.data import load_dataset
from client.loop import run_worker
from client.policy import Policy
from client.relay import Handover, Relay
from client.worker import ClientWorker
from network.chain import Chain
from network.files import make_directory
from network.progress import TransferProgress
from network.session import open_chain, open_content, stop_on_signal
from network.settings import load_settings
from protocol.cid import directory_cid
from protocol.errors import InvalidInput, KeyError_
from protocol.reference import resolve_round
from protocol.types import Address, FederationId


def run_client(
    config: Path | None,
    data: Path,
    *,
    policy: Policy,
    rounds: int,
    once: bool,
    claims: bool,
    relay: str | None = None,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Run one account's client; returns a document of the rounds it took part in, now and before.

    Raises:
        InvalidInput: The data or the federation are refused, or a client with this home runs already.
        SettingsError, KeyError_, ChainError, ContentError: The outside does not work as configured.
    """
    from filelock import FileLock, Timeout

    settings = load_settings(config)
    handover = None if relay is None else Handover(Relay(relay), settings.relay_margin_seconds)
    dataset = load_dataset(data)
    chain, store = open_chain(settings, with_key=True), open_content(settings)
    stopped = stop_on_signal()
    home = settings.home / "client"
    make_directory(home)
    worker = ClientWorker(
        chain,
        store,
        settings.require_federation(),
        dataset,
        home,
        policy,
        rounds=rounds,
        claims=claims,
        relay=handover,
        say=say,
        should_stop=stopped,
        rounds_kept=settings.rounds_kept,
        watch=TransferProgress,
    )
    try:
        with FileLock(home / f"{worker.account}.lock", timeout=0):
            if once:
                done = worker.step()
                say(done or "nothing to do now")
            else:
                run_worker(worker, poll_seconds=settings.poll_seconds, stopped=stopped, say=say)
    except Timeout:
        raise InvalidInput(
            f"A client of {worker.account} runs already with the home {settings.home}.",
            "Two would train the same rounds.",
            "Stop it first, or use another account.",
        ) from None
    return _document(worker, chain, settings.require_federation())


def claim_rounds(config: Path | None, references: Sequence[str]) -> tuple[Address, list[Payment], list[str]]:
    """Claim what is due to the configured account: of the named rounds, or of all rounds on the contract.

    Returns:
        The account, what was claimed, and why a round that pays could not be claimed.

    Raises:
        UnknownRound: There is no such round. SettingsError, ChainError, KeyError_: The outside does not work.
        RondoError: Pay is due but none could be claimed; the first problem.
    """
    settings = load_settings(config)
    chain = open_chain(settings, with_key=True)
    if chain.account is None:
        raise KeyError_("Claiming needs an account.", "No keystore is configured.", "Set keystore.")
    state = chain.state()
    wanted = [resolve_round(state, settings.federation, text) for text in references] or list(state.rounds)
    claimer = Claimer(chain, Artifacts(open_content(settings), chain.chain_id, chain.contract), chain.account)
    payments = claimer.take(claimer.due(state, dict.fromkeys(wanted)), state.now)
    problems = list(claimer.problems.values())
    if problems and not payments:
        raise problems[0]
    return chain.account, payments, [str(problem) for problem in problems]


def _document(worker: ClientWorker, chain: Chain, federation_id: FederationId) -> dict[str, Any]:
    state = chain.state()
    federation = state.federations.get(federation_id)
    audited = federation is not None and federation.terms.is_audited
    rows = []
    for entry in worker.outbox.entries():
        round_ = state.rounds.get(entry.round)
        mine = round_.update_of(worker.account) if round_ is not None else None
        rows.append(
            {
                "round": "0x" + entry.round.hex(),
                "index": entry.index,
                "update": str(directory_cid(entry.digest)),
                "examples": entry.examples,
                "steps": entry.steps,
                "millis": entry.millis,
                "stage": str(entry.stage),
                "audited": audited,
                "paid": None if mine is None or mine.paid is None else str(mine.paid),
            }
        )
    return {"account": worker.account, "audited": audited, "rounds": rows}
