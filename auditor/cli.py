"""``rondo audit``: one round, or follow a federation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from auditor.rederive import Audit

STATED = "model: stated by the organization, not recomputed"


def audit(
    round_reference: Annotated[
        str | None, typer.Argument(metavar="[ROUND]", help="Round id (0x…), or its index in the configured federation.")
    ] = None,
    attest: Annotated[bool, typer.Option("--attest", help="Say the result on chain, as a named auditor.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Audit every round of the federation as it is settled.")
    ] = False,
    rounds: Annotated[int, typer.Option(help="With --follow: stop after this many rounds; 0 never stops.")] = 0,
    report: Annotated[
        Path | None, typer.Option(help="Audit this folder's copy of the report instead of the published one.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file; ./rondo.toml by default.")] = None,
    json_mode: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Re-derive ROUND from the chain and the content store alone, and compare.

    Prints what differs and where. Exit code 0: everything matches; 1: something differs; 2: could not decide.
    """
    from auditor.session import audit_once, follow_federation
    from network.console import Output
    from protocol.errors import InvalidInput

    output = Output(json_mode)
    if follow == (round_reference is not None):
        raise InvalidInput(
            "Name a round, or --follow, not both.", "", "For example: rondo audit 3, or rondo audit --follow"
        )
    if follow:
        audits = follow_federation(config, attest=attest, rounds=rounds, say=output.say)
        output.result({"audits": [as_json(one) for one in audits]}, lambda: _summary(audits))
        raise typer.Exit(max((one.verdict.exit_code for one in audits), default=0))
    assert round_reference is not None  # noqa: S101 - decided above; tells the type checker
    result = audit_once(config, round_reference, attest=attest, report=report, say=output.say)
    output.result(as_json(result), lambda: _rendered(result))
    raise typer.Exit(result.verdict.exit_code)


def as_json(result: Audit) -> dict[str, Any]:
    """The audit as a JSON object: verdict, differences, and what an honest auditor attests."""
    return {
        "round": "0x" + result.round.hex(),
        "index": result.index,
        "verdict": str(result.verdict),
        "audited": result.audited,
        "reason": result.reason,
        "differences": [
            {"where": item.where, "said": item.said, "derived": item.derived} for item in result.differences
        ],
        "copied_attestations": list(result.copied),
        "model": _how_the_model_was_checked(result),
        "result_hash": None if result.result_hash is None else "0x" + result.result_hash.hex(),
    }


def _rendered(result: Audit) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    if result.result_hash is None:
        return Text(f"round {result.index}: undecided\n{result.reason}{_flag(result)}")
    if not result.differences:
        lines = [f"round {result.index}: match: merge, verdicts, credit and rewards follow from chain and content"]
        lines += [STATED] if result.stated else []
        lines += [result.reason] if result.reason else []
        lines += [f"{auditor} attested this without having recomputed it" for auditor in result.copied]
        return Text("\n".join(lines) + _flag(result))
    table = Table("where", "said", "follows from chain and content", title=None)
    for item in result.differences:
        table.add_row(item.where, item.said, item.derived)
    stated = f"\n{STATED}" if result.stated else ""
    return Group(
        Text(f"round {result.index}: mismatch in {len(result.differences)} places{stated}{_flag(result)}"), table
    )


def _how_the_model_was_checked(result: Audit) -> str | None:
    """ "recomputed", "stated" where the task leaves it to the organization's word, None where nothing was derived."""
    return None if result.stated is None else "stated" if result.stated else "recomputed"


def _flag(result: Audit) -> str:
    return (
        ""
        if result.audited
        else "\nUnaudited: the federation names no auditors; the organization's word alone decides pay."
    )


def _summary(audits: list[Audit]) -> RenderableType:
    from rich.text import Text

    return Text("\n".join(f"round {one.index}: {one.verdict}" for one in audits) or "no settled round")
