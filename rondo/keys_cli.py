"""``rondo keys``: keystore files (version 3, encrypted); a key itself is never printed, logged or taken as an argument."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)


@app.command()
def new(
    path: Annotated[Path, typer.Argument(help="The keystore file to write; an existing one is never overwritten.")],
    json_mode: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Make a key and write it, encrypted, to PATH.

    The passphrase comes from RONDO_PASSPHRASE, from the file RONDO_PASSPHRASE_FILE, or from a prompt.
    """
    from network.console import Output
    from network.keys import new_keystore, passphrase

    address = new_keystore(
        path, passphrase(lambda: typer.prompt("Passphrase", hide_input=True, confirmation_prompt=True))
    )
    Output(json_mode).result({"address": address, "keystore": str(path)})


@app.command()
def address(
    path: Annotated[Path, typer.Argument(help="A keystore file.")],
    json_mode: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Print the address of a keystore file, without opening it."""
    from network.console import Output
    from network.keys import keystore_address

    Output(json_mode).result({"address": keystore_address(path), "keystore": str(path)})
