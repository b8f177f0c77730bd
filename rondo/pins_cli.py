"""``rondo pins``: what a federation needs on IPFS and where it stands here; mends, lets go, collects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType

    from network.garbage import Collected
    from network.pins import Keeper, Pin
    from network.store import ContentStore
    from protocol.state import State
    from protocol.types import FederationId

FAULT_EXIT = 1


def pins(
    repair: Annotated[
        bool, typer.Option("--repair", help="Keep what is missing, fetching it where it can be.")
    ] = False,
    release: Annotated[bool, typer.Option("--release", help="Let go of what no federation needs any more.")] = False,
    collect: Annotated[
        bool, typer.Option("--collect", help="Then remove what nobody keeps from the embedded store.")
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", help="All federations of the contract, not the configured one.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Take the store's word for what it keeps; do not look at every block.")
    ] = False,
    grace: Annotated[
        float, typer.Option(min=0, help="With --collect: spare blocks put in the last so many seconds.")
    ] = 3600.0,
    config: Annotated[Path | None, typer.Option(help="Settings file; ./rondo.toml by default.")] = None,
    json_mode: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Show what the configured federation needs to be kept, why, and where it stands in the configured store.

    Kept are the task, the head model and the first, all reports, everything that audits of open rounds and of the last
    settled ones (setting rounds_kept) read, updates for as long as the task promises them, and what unclaimed pay is
    proved by. Pins that the federation's log does not name are never touched.

    Exit code 0: everything needed is kept (after --repair, where given); 1: something needed is missing or not pinned.
    """
    from network.console import Output
    from network.pins import Keeper
    from network.session import open_chain, open_content
    from network.settings import load_settings
    from protocol.reference import resolve_federation

    output, settings = Output(json_mode), load_settings(config)
    chosen = None if every else settings.require_federation()
    state = open_chain(settings, with_key=False).state()
    federations = list(state.federations) if chosen is None else [resolve_federation(state, chosen).id]
    store = open_content(settings)
    keeper = Keeper(store, settings.rounds_kept)
    if repair:
        found = keeper.mend(state, federations, fetch=True, deep=not quick, say=output.say)
    else:
        found = keeper.survey(state, federations, deep=not quick)
    gone = keeper.release(found) if release else []
    collected = _collect(output.say, keeper, store, state, grace) if collect else None
    output.result(
        _document(store.name, federations, found, gone, collected), lambda: _table(store.name, found, gone, collected)
    )
    raise typer.Exit(FAULT_EXIT if any(pin.is_fault for pin in found) else 0)


def _collect(
    say: Callable[[str], None], keeper: Keeper, store: ContentStore, state: State, grace: float
) -> Collected | None:
    """Collect in the embedded part of the store, if it has one; what any federation needs is spared, kept or not."""
    from network.garbage import collect_garbage
    from network.pins import embedded_part

    embedded = embedded_part(store)
    if embedded is None:
        say(f"{store.name} collects its own garbage: run `ipfs repo gc` there, or let its operator do so.")
        return None
    with keeper.lease(state, list(state.federations)):
        return collect_garbage(embedded, grace_seconds=grace)


def _document(
    store: str,
    federations: Sequence[FederationId],
    pins: Sequence[Pin],
    gone: Sequence[Pin],
    collected: Collected | None,
) -> dict[str, Any]:
    from dataclasses import asdict

    released = {pin.cid for pin in gone}
    return {
        "store": store,
        "federations": ["0x" + id.hex() for id in federations],
        "complete": not any(pin.is_fault for pin in pins),
        "pins": [
            {
                "cid": str(pin.cid),
                "kind": str(pin.kind),
                "needed_as": None if pin.reason is None else pin.reason.text,
                "standing": "released" if pin.cid in released else str(pin.standing),
                "fault": pin.is_fault,
                "why": pin.why or None,
            }
            for pin in pins
        ],
        "collected": None if collected is None else asdict(collected),
    }


def _table(store: str, pins: Sequence[Pin], gone: Sequence[Pin], collected: Collected | None) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table("needed as", "CID", "standing", title=f"Pins in {store}")
    released = {pin.cid for pin in gone}
    for pin in pins:
        reason = "-" if pin.reason is None else pin.reason.text
        table.add_row(reason, str(pin.cid), "released" if pin.cid in released else str(pin.standing))
    lines = [f"{pin.reason.text if pin.reason else pin.kind} {pin.cid}: {pin.why}" for pin in pins if pin.why]
    if collected is not None:
        lines.append(
            f"collected {collected.blocks} blocks, {collected.bytes} bytes;"
            f" {collected.remaining_blocks} blocks, {collected.remaining_bytes} bytes remain"
        )
    faults = sum(pin.is_fault for pin in pins)
    lines.append(f"{faults} needed artifacts are not kept" if faults else "everything needed is kept")
    return Group(table, Text("\n".join(lines)))
