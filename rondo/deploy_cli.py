"""``rondo deploy``: this version's contract on a chain, once; or the check that an address is one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from network.console import Output
    from network.settings import Settings


def deploy(
    check: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Deploy nothing: only say whether this version is there.")
    ] = None,
    rpc: Annotated[str | None, typer.Option(metavar="URL", help="The node; the setting chain_url by default.")] = None,
    keystore: Annotated[
        Path | None, typer.Option(help="The key file of the account that pays; the setting keystore by default.")
    ] = None,
    chain_id: Annotated[
        int | None, typer.Option("--chain-id", min=1, help="What the chain must be; any by default.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file; ./rondo.toml by default.")] = None,
    json_mode: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Bring this version's contract to a chain. Safe to repeat, also after a kill: it is created once.

    The address is the same on every chain that has the deterministic deployment factory; a signed update still counts
    on one chain alone. Elsewhere the contract gets an address of its own, with a warning.
    """
    from network.console import Output
    from network.settings import load_settings

    output = Output(json_mode)
    named = {"chain_url": rpc, "keystore": keystore}
    settings = load_settings(config).model_copy(update={name: value for name, value in named.items() if value})
    if check is not None:
        _check(output, settings, check, chain_id)
    else:
        _deploy(output, settings, chain_id)


def _deploy(output: Output, settings: Settings, chain_id: int | None) -> None:
    from network.address_book import AddressBook
    from network.deployment import ensure_contract
    from network.session import open_key

    book = AddressBook(settings.home)
    done = ensure_contract(
        settings.chain_url,
        lambda: open_key(settings),
        book,
        chain_id=chain_id,
        confirmations=settings.confirmations,
        say=output.say,
    )
    if done.transaction is None:
        output.say("This version's contract is there already; nothing was created.")
    document: dict[str, Any] = {
        "chain_id": done.chain_id,
        "contract": done.contract,
        "deterministic": done.deterministic,
        "created": done.transaction is not None,
        "transaction": None if done.transaction is None else "0x" + done.transaction.hex(),
        "block": done.block,
        "gas_used": done.gas_used,
        "address_book": str(book.path),
    }
    output.result(document if output.json_mode else {key: _shown(value) for key, value in document.items()})


def _check(output: Output, settings: Settings, text: str, chain_id: int | None) -> None:
    from network.deployment import examine
    from network.factory import deterministic_address
    from protocol.types import address

    examined = examine(settings.chain_url, address(text), chain_id)
    document: dict[str, Any] = {
        "chain_id": examined.chain_id,
        "contract": examined.contract,
        "matches": examined.verdict.is_ours,
        "found": examined.verdict.kind.value,
        "why": examined.verdict.why or None,
        "deterministic": examined.contract == deterministic_address(),
    }
    output.result(document if output.json_mode else {key: _shown(value) for key, value in document.items()})
    examined.require()


def _shown(value: object) -> object:
    """A value as people read it in a line."""
    return {True: "yes", False: "no", None: "-"}[value] if value is None or isinstance(value, bool) else value
