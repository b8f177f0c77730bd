"""The command ``rondo``: a sub-command for each role, each in the role's own package.

Exit codes are those of ``protocol.errors``; ``rondo audit`` adds 1 (mismatch) and 2 (could not decide). Everything slow
(web3, TensorFlow, pydantic) is imported by the command that needs it, so ``--help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from auditor.cli import audit
from client.cli import app as client_app
from client.cli import claim
from organization.cli import app as organization_app
from rondo.car_cli import export, import_
from rondo.cid_cli import cid
from rondo.deploy_cli import deploy
from rondo.fetch_cli import fetch, put
from rondo.keys_cli import app as keys_app
from rondo.merge_cli import merge
from rondo.pins_cli import pins
from rondo.predict_cli import predict
from rondo.standing_cli import standing

app = typer.Typer(
    name="rondo",
    help="Federated learning whose rounds are ordered, paid and auditable on chain.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(organization_app, name="org", help="Organization: create a federation, launch and settle its rounds.")
app.add_typer(client_app, name="client", help="Client: train on private data and post updates.")
app.add_typer(keys_app, name="keys", help="Keystore files.")
app.command("claim", help="Claim the rewards of the configured account.")(claim)
app.command("cid")(cid)
app.command("fetch")(fetch)
app.command("put")(put)
app.command("predict")(predict)
app.command("pins")(pins)
app.command("standing")(standing)
app.command("export")(export)
app.command("import")(import_)
app.command("merge")(merge)
app.command("deploy")(deploy)
app.command("audit", help="Re-derive a round from chain and content store alone.")(audit)

USAGE_EXIT = 64
INTERRUPTED_EXIT = 130
OS_ERROR_EXIT = 74


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"rondo {version('rondo-fl')}")
        raise typer.Exit


@app.callback()
def rondo(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Federated learning whose rounds are ordered, paid and auditable on chain."""


@app.command()
def node(
    directory: Annotated[
        Path, typer.Option("--dir", help="Where the chain's state and the settings file live.")
    ] = Path(".rondo"),
    port: Annotated[int, typer.Option(help="RPC port; 0 takes a free one, and keeps it over restarts.")] = 0,
    json_mode: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, then run on.")] = False,
) -> None:
    """Run a local chain with the contract and a test token deployed; its state survives restarts."""
    from rondo.local_node import run_node

    run_node(directory, port, json_mode)


@app.command()
def fund(
    address: Annotated[str, typer.Argument(help="Who gets gas money and test tokens: an address, or a keystore file.")],
    tokens: Annotated[int, typer.Option(help="Whole test tokens.")] = 0,
    directory: Annotated[Path, typer.Option("--dir", help="The node's directory.")] = Path(".rondo"),
    json_mode: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Give an account of the local chain gas money and test tokens (never on a real chain)."""
    from rondo.local_node import fund_account

    fund_account(directory, address, tokens, json_mode)


@app.command()
def digits(
    directory: Annotated[Path, typer.Argument(help="Where client-1.npz … and held-out.npz are written.")],
    clients: Annotated[int, typer.Option(min=1, max=50)] = 5,
    seed: Annotated[int, typer.Option(min=0)] = 7,
    json_mode: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Write the demo's data: scikit-learn's digits, dealt to clients with skewed labels."""
    from network.console import Output
    from rondo.demo_data import write_digits

    shards, held_out = write_digits(directory, clients, seed)
    Output(json_mode).result({"clients": [str(shard) for shard in shards], "held_out": str(held_out)})


@app.command()
def demo(
    clients: Annotated[int, typer.Option(min=1, max=50)] = 5,
    rounds: Annotated[int, typer.Option(min=1, max=100)] = 5,
    seed: Annotated[int, typer.Option(min=0)] = 7,
    ipfs: Annotated[
        Literal["embedded", "kubo"],
        typer.Option(help="Content in one directory, or through two private Kubo nodes (`make kubo`)."),
    ] = "embedded",
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Where all files are left; a fresh temporary directory by default.")
    ] = None,
    json_mode: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Run a whole federation on this machine: node, organization, clients and auditor, each a process with its own key."""
    from rondo.demo import run_demo

    raise typer.Exit(
        run_demo(clients=clients, rounds=rounds, seed=seed, ipfs=ipfs, directory=directory, json_mode=json_mode)
    )


def main() -> NoReturn:
    """Run the command; print errors as what, why and what to do, and exit with their code. Never a traceback."""
    from network.console import print_error
    from protocol.errors import RondoError

    try:
        code = app(standalone_mode=False, prog_name="rondo")
    except typer.TyperException as error:
        # Words that name no command have been answered with the help already.
        print_error(RondoError(error.format_message() or "A command is missing.", "", "see rondo --help"))
        code = USAGE_EXIT
    except typer.Exit as stop:
        code = stop.exit_code
    except RondoError as error:
        print_error(error)
        code = error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED_EXIT
    except OSError as error:
        print_error(
            RondoError(f"The operating system refused: {error}.", "", "Check the path, its rights and the disk.")
        )
        code = OS_ERROR_EXIT
    except Exception as error:
        if os.environ.get("RONDO_DEBUG"):
            raise
        what = f"Internal error: {type(error).__name__}: {error}"
        print_error(
            RondoError(what, "This is a defect in Rondo.", "Run it again with RONDO_DEBUG=1 and report the traceback.")
        )
        code = RondoError.exit_code
    sys.exit(code if isinstance(code, int) else 0)
