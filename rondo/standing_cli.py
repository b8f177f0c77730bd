"""``rondo standing``: what the rounds so far say of clients, from chain and reports alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from protocol.report import Derived
    from protocol.standing import ClientRecord
    from protocol.state import FederationState, State
    from protocol.task import Task
    from protocol.types import Address


def standing(
    who: Annotated[
        str | None,
        typer.Argument(metavar="[ADDRESS]", help="A client's address, or its keystore file; all by default."),
    ] = None,
    federation: Annotated[
        str | None, typer.Option(metavar="ID", help="The federation's id; the configured one by default.")
    ] = None,
    rounds: Annotated[bool, typer.Option("--rounds", help="Show each round's verdict too.")] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file; ./rondo.toml by default.")] = None,
    json_mode: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Show the standing that clients of the federation would have in a round launched now, best first.

    It follows from chain and reports alone; no update is read. Each of the last rounds that were decided by a result (the
    task's window) gives an accepted update its agreement with the merged change, in thousandths of the cosine, and one
    that was refused, or whose bytes were never there, -1000; older rounds count for less (the task's decay). A client
    that is in no record has 0, whoever it was before under another address.

    factor is what a task that weighs by standing multiplies the client's weight by, of 16; 8 is neutral.
    """
    from network.console import Output
    from network.keys import named_address
    from network.session import open_chain, open_content
    from network.settings import load_settings
    from network.standing import load_records
    from network.transfer import fetch
    from protocol.reference import resolve_federation
    from protocol.standing import client_records
    from protocol.task import MAX_TASK_BYTES, decode_task
    from protocol.types import FederationId, bytes32

    output, settings = Output(json_mode), load_settings(config)
    account = None if who is None else named_address(who)
    chosen = settings.require_federation() if federation is None else FederationId(bytes32(federation))
    state = open_chain(settings, with_key=False).state()
    found, store = resolve_federation(state, chosen), open_content(settings)
    task = decode_task(fetch(store, found.terms.task, MAX_TASK_BYTES))
    records = load_records(store, state, found, task.standing)
    clients = _chosen(client_records(records, task.standing), account)
    history = _history(state, records, account) if rounds else None
    output.result(
        _document(found, task, state, records, clients, history), lambda: _rendered(task, records, clients, history)
    )


def _chosen(clients: list[ClientRecord], account: Address | None) -> list[ClientRecord]:
    """All, or the record of one account, which is an empty one where no round names it."""
    from protocol.standing import ClientRecord

    if account is None:
        return clients
    return [one for one in clients if one.client == account] or [ClientRecord(account)]


def _history(state: State, records: Sequence[Derived], account: Address | None) -> list[dict[str, Any]]:
    """Every verdict that counts, oldest round first."""
    from protocol.standing import points

    return [
        {
            "round": state.rounds[record.round].index,
            "client": one.client,
            "verdict": one.verdict,
            "rule": one.rule,
            "agreement": one.agreement,
            "points": points(one),
        }
        for record in records
        for one in record.updates
        if account in (None, one.client)
    ]


def _document(
    federation: FederationState,
    task: Task,
    state: State,
    records: Sequence[Derived],
    clients: Sequence[ClientRecord],
    history: list[dict[str, Any]] | None,
) -> dict[str, Any]:
    from dataclasses import asdict

    from processor.standing import weight_factor
    from protocol.types import hex32

    terms = task.standing
    document: dict[str, Any] = {
        "federation": hex32(federation.id),
        "use": terms.use,
        "decay": str(terms.decay),
        "window": terms.window,
        "least": terms.least if terms.use == "admit" else None,
        "rounds": [state.rounds[record.round].index for record in records],
        "clients": [
            {
                **asdict(one),
                "factor": weight_factor(one.standing),
                "admitted": terms.use != "admit" or one.standing >= terms.least,
            }
            for one in clients
        ],
    }
    return document if history is None else {**document, "history": history}


def _rendered(
    task: Task, records: Sequence[Derived], clients: Sequence[ClientRecord], history: list[dict[str, Any]] | None
) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from processor.standing import weight_factor

    table = Table("client", title=f"Standing after {len(records)} of at most {task.standing.window} rounds")
    for name in ("rounds", "accepted", "unavailable", "agreement", "standing", "factor"):
        table.add_column(name, justify="right")
    table.add_column("refused")
    for one in clients:
        counted = (one.rounds, one.accepted, one.unavailable, one.agreement, one.standing, weight_factor(one.standing))
        refused = ", ".join(f"{rule} {count}" for rule, count in one.refused.items())
        table.add_row(one.client, *map(str, counted), refused or "-")
    parts: list[RenderableType] = [table]
    if history is not None:
        verdicts = Table("round", "client", "verdict", "rule", "agreement", "points")
        for row in history:
            verdicts.add_row(*(str(row[key]) or "-" for key in row))
        parts.append(verdicts)
    return Group(*parts, Text(_use(task)))


def _use(task: Task) -> str:
    """What the task makes of standing, for people."""
    return {
        "record": "recorded only: this task neither weighs nor admits by it",
        "weight": "this task multiplies weights by the factor; 0 leaves an update out of the merge",
        "admit": f"this task refuses clients whose standing is below {task.standing.least}",
    }[task.standing.use]
