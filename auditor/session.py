"""The audits that ``rondo audit`` runs: settings and outside systems in, verdicts out."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from auditor.availability import Availability
from auditor.rederive import Audit, audit_round
from auditor.worker import AuditorWorker
from network.progress import TransferProgress
from network.session import open_chain, open_content, stop_on_signal
from network.settings import load_settings
from protocol.errors import ChainError, ContentError, InvalidInput
from protocol.reference import resolve_federation, resolve_round
from protocol.types import hex32


def audit_once(
    config: Path | None, reference: str, *, attest: bool, report: Path | None, say: Callable[[str], None]
) -> Audit:
    """Audit the round that ``reference`` names, and attest where asked.

    Raises:
        UnknownRound: There is no such round.
        InvalidInput: ``attest`` is asked for a copy of a report.
        SettingsError, ChainError, KeyError_: The outside does not work as configured.
    """
    if attest and report is not None:
        raise InvalidInput(
            "--attest goes with the published report.", "A copy is not what was settled.", "Drop --report."
        )
    settings = load_settings(config)
    chain, store = open_chain(settings, with_key=attest), open_content(settings)
    round_id = resolve_round(chain.state(), settings.federation, reference)
    fetched = Availability(chain, store, settings.home / "auditor").fetched_in_time(round_id)
    result = audit_round(chain, store, round_id, report_copy=report, fetched_in_time=fetched, watch=TransferProgress)
    if attest and result.result_hash is not None and chain.account is not None:
        if chain.account in chain.state().rounds[round_id].attestations:
            say(f"{chain.account} attested this round before; an attestation is once and for all")
        else:
            chain.attest(round_id, result.result_hash, result.witness_of(chain.account))
            say(f"attested {hex32(result.result_hash)}")
    return result


def follow_federation(config: Path | None, *, attest: bool, rounds: int, say: Callable[[str], None]) -> list[Audit]:
    """Audit the configured federation's rounds as they are settled, until ``rounds`` of them are done (0: for ever).

    Rides out a node or a store that does not answer: a sleeping auditor costs clients their pay by result.
    """
    settings = load_settings(config)
    federation = settings.require_federation()
    chain = open_chain(settings, with_key=attest)
    resolve_federation(chain.state(), federation)  # a wrong id is no outage to be ridden out
    home = settings.home / "auditor"
    worker = AuditorWorker(
        chain,
        open_content(settings),
        federation,
        home,
        attest=attest,
        say=say,
        rounds_kept=settings.rounds_kept,
        watch=TransferProgress,
    )
    run_worker(worker, rounds, pause=lambda: time.sleep(settings.poll_seconds), stopped=stop_on_signal(), say=say)
    return sorted(worker.audits.values(), key=lambda one: one.index)


def run_worker(
    worker: AuditorWorker,
    rounds: int,
    *,
    pause: Callable[[], None],
    stopped: Callable[[], bool],
    say: Callable[[str], None],
) -> None:
    """Call ``worker.step`` until ``rounds`` rounds are done for good (0: never) or ``stopped`` says so."""
    trouble = ""
    while not stopped():
        try:
            done, now = worker.step(), ""
        except (ChainError, ContentError) as error:
            done, now = 0, f"{error} Trying again."
        if now and now != trouble:
            say(now)
        trouble = now
        if rounds and done >= rounds:
            return
        pause()
