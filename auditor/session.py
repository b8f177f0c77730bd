"""The audits that ``rondo audit`` runs: settings and outside systems in, verdicts out."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from auditor.rederive import Audit, audit_round
from auditor.worker import AuditorWorker
from network.chain import Chain
from network.session import open_chain, open_content, stop_on_signal
from network.settings import Settings, load_settings
from protocol.errors import InvalidInput
from protocol.reference import resolve_round
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
    chain = open_chain(settings, with_key=attest)
    round_id = resolve_round(chain.state(), settings.federation, reference)
    result = audit_round(chain, open_content(settings), round_id, report_copy=report)
    if attest and result.result_hash is not None and chain.account is not None:
        if chain.account in chain.state().rounds[round_id].attestations:
            say(f"{chain.account} attested this round before; an attestation is once and for all")
        else:
            chain.attest(round_id, result.result_hash, result.witness_of(chain.account))
            say(f"attested {hex32(result.result_hash)}")
    return result


def follow_federation(config: Path | None, *, attest: bool, rounds: int, say: Callable[[str], None]) -> list[Audit]:
    """Audit the configured federation's rounds as they are settled, until ``rounds`` of them are done (0: for ever)."""
    settings = load_settings(config)
    chain = open_chain(settings, with_key=attest)
    worker = _worker(settings, chain, attest, say)
    stopped = stop_on_signal()
    while not stopped():
        done = worker.step()
        if rounds and done >= rounds:
            break
        time.sleep(settings.poll_seconds)
    return sorted(worker.audits.values(), key=lambda one: one.index)


def _worker(settings: Settings, chain: Chain, attest: bool, say: Callable[[str], None]) -> AuditorWorker:
    federation = settings.require_federation()
    return AuditorWorker(chain, open_content(settings), federation, settings.home / "auditor", attest=attest, say=say)
