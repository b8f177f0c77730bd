"""``rondo client`` and ``rondo claim``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from client.claims import Payment
    from client.policy import Policy

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

Config = Annotated[Path | None, typer.Option("--config", help="Settings file; ./rondo.toml by default.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.callback()
def client() -> None:
    """Client: train on private data and post updates."""


@app.command()
def run(
    data: Annotated[Path, typer.Option(help="Examples: a NumPy .npz file with arrays x and y; it stays here.")],
    rounds: Annotated[int, typer.Option(min=0, help="Stop after taking part in this many rounds; 0 never stops.")] = 0,
    once: Annotated[bool, typer.Option("--once", help="Do the next one thing and stop.")] = False,
    allow_unaudited: Annotated[
        bool, typer.Option("--allow-unaudited", help="Accept that the organization's word alone decides pay.")
    ] = False,
    trust_auditor: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS", help="An auditor that may decide pay: address or keystore file; repeat it, or say 'any'."
        ),
    ] = None,
    allow_unpaid: Annotated[
        bool, typer.Option("--allow-unpaid", help="Accept rounds whose terms can pay nothing.")
    ] = False,
    no_claim: Annotated[bool, typer.Option("--no-claim", help="Leave pay to `rondo claim`.")] = False,
    relay: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Hand updates to this relay, which pays the gas; own transaction relay_margin_seconds before the deadline.",
        ),
    ] = None,
    config: Config = None,
    json_mode: Json = False,
) -> None:
    """Take part in the configured federation: train, commit, publish, claim.

    Every round's update is on disk before its digest is on chain: stop or kill it at any moment and start it again.
    """
    from client.session import run_client
    from network.console import Output

    output = Output(json_mode)
    done = run_client(
        config,
        data,
        policy=_policy(trust_auditor or [], allow_unaudited=allow_unaudited, allow_unpaid=allow_unpaid),
        rounds=rounds,
        once=once,
        claims=not no_claim,
        relay=relay,
        say=output.say,
    )
    output.result(done, lambda: _rounds_table(done))


@app.command()
def join(
    proof: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Your admission proof, or all clients', as JSON.")
    ] = None,
    listed: Annotated[
        Path | None, typer.Option("--list", metavar="FILE", help="The organization's list: the proof is made from it.")
    ] = None,
    config: Config = None,
    json_mode: Json = False,
) -> None:
    """Join the configured federation, once for each list, where it admits listed clients only. Safe to repeat.

    Anybody may send this for anybody: where the organization did (`rondo org admit --join`), nothing is left to do.
    """
    from client.join import join_configured, prover_of
    from network.console import Output

    joined = join_configured(config, prover_of(proof, listed))
    Output(json_mode).result(joined, lambda: _joined_text(joined))


def claim(
    rounds: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ROUND]...", help="Round ids (0x…) or indices in the configured federation; all by default."
        ),
    ] = None,
    config: Config = None,
    json_mode: Json = False,
) -> None:
    """Claim what the configured account is owed, by result or by time, in as few transactions as go through.

    A round that cannot be claimed is named and holds up no other.
    """
    from client.session import claim_rounds
    from network.console import Output

    account, payments, problems = claim_rounds(config, rounds or [])
    output = Output(json_mode)
    for problem in problems:
        output.say(problem)
    document = {
        "account": account,
        "claims": [_payment_json(payment) for payment in payments],
        "problems": problems,
    }
    output.result(document, lambda: _payments_table(payments))


def _policy(trusted: list[str], *, allow_unaudited: bool, allow_unpaid: bool) -> Policy:
    from client.policy import Policy
    from network.keys import named_address

    auditors = None if "any" in trusted else frozenset(named_address(text) for text in trusted)
    return Policy(allow_unaudited, auditors, allow_unpaid)


def _payment_json(payment: Payment) -> dict[str, Any]:
    return {
        "round": "0x" + payment.claim.round.hex(),
        "index": payment.index,
        "basis": payment.basis.name.lower(),
        "amount": str(payment.amount),  # base units: beyond what JSON numbers hold
        "token": payment.token,
    }


def _payments_table(payments: list[Payment]) -> Any:
    from rich.table import Table
    from rich.text import Text

    if not payments:
        return Text("nothing to claim")
    table = Table("round", "by", "base units", "token")
    for payment in payments:
        table.add_row(str(payment.index), payment.basis.name.lower(), str(payment.amount), payment.token)
    return table


def _joined_text(joined: dict[str, Any]) -> Any:
    from rich.text import Text

    if joined["open"]:
        return Text("admission is open: anybody may take part, there is nothing to join")
    done = f"joined by transaction {joined['transaction']}" if joined["transaction"] else "joined before"
    return Text(f"{joined['account']}: {done}; it counts from round {joined['counts_from_round']}")


def _rounds_table(document: dict[str, Any]) -> Any:
    from rich.table import Table

    title = document["account"] if document["audited"] else f"{document['account']} (UNAUDITED federation)"
    table = Table("round", "update", "examples", "ms", "state", "paid", title=title)
    for row in document["rounds"]:
        paid = "-" if row["paid"] is None else row["paid"]
        table.add_row(str(row["index"]), row["update"], str(row["examples"]), str(row["millis"]), row["stage"], paid)
    return table
