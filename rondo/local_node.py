"""``rondo node``: a local chain with the contract and a test token on it, for development and the demo."""

from __future__ import annotations

import json
import os
import secrets
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from network.address_book import AddressBook
from network.console import Output
from network.deployment import ensure_contract, examine
from network.evm_chain import deploy_test_token, fund_gas, transfer_token
from network.files import make_directory, write_atomic
from network.keys import keystore_address, named_address, new_keystore, open_keystore
from network.node import LocalNode, is_listening
from network.session import stop_on_signal
from network.settings import load_settings
from network.settings_file import update_settings
from protocol.errors import InvalidInput
from protocol.types import Address

TOKEN_UNIT = 10**18  # the test token has 18 decimals
TEST_SUPPLY = 10**9 * TOKEN_UNIT
GAS_MONEY_WEI = 100 * 10**18
RECORD = "node.json"
SAVING_SECONDS = 20


@dataclass(frozen=True)
class Deployment:
    """What is deployed on a local chain, as ``node.json`` keeps it."""

    chain_url: str
    contract: Address
    token: Address


def new_account(keystore: Path) -> Address:
    """Make a keystore with a random passphrase in a file beside it (``.pass``), for accounts of a local chain only."""
    passphrase_file = keystore.with_suffix(".pass")
    if keystore.exists():
        return keystore_address(keystore)
    make_directory(keystore.parent)
    write_atomic(passphrase_file, secrets.token_urlsafe(24).encode(), mode=0o600)
    return new_keystore(keystore, passphrase_file.read_text())


def ensure_deployed(node: LocalNode, directory: Path) -> Deployment:
    """Deploy contract and token once; a chain that was stopped and started keeps them.

    Killed between deployment and its record, the next start deploys a second token: the first one is simply not used.
    A chain of another version of Rondo gets this version's contract beside the one that it has.
    """
    kept = _read_record(directory)
    if kept and examine(node.url, kept.contract).verdict.is_ours:
        deployment = Deployment(node.url, kept.contract, kept.token)
    else:
        keystore = directory / "keys" / "deployer.json"
        node.fund(new_account(keystore), GAS_MONEY_WEI)
        key = open_keystore(keystore, keystore.with_suffix(".pass").read_text())
        contract = ensure_contract(node.url, lambda: key, AddressBook(directory / "home")).contract
        deployment = Deployment(
            node.url, contract, kept.token if kept else deploy_test_token(node.url, key, TEST_SUPPLY)
        )
    if deployment != kept:
        write_atomic(directory / RECORD, json.dumps(asdict(deployment), indent=2).encode())
    return deployment


def _read_record(directory: Path) -> Deployment | None:
    record = directory / RECORD
    return Deployment(**json.loads(record.read_text())) if record.exists() else None


def write_settings(directory: Path, deployment: Deployment, store: str) -> Path:
    """Write ``rondo.toml`` for this chain and the content store ``store``, and return its path.

    Where there is one, what the chain decides (URL, contract, token) is brought up to date, and everything else is left
    as it stands, comments included.

    Raises:
        SettingsError: The file that is there is no TOML; it is left as it is.
    """
    path = directory / "rondo.toml"
    of_chain = {"chain_url": deployment.chain_url, "contract": deployment.contract, "token": deployment.token}
    first = {"store": store, "home": str((directory / "home").resolve())}
    write_atomic(path, update_settings(path, of_chain, first).encode())
    return path


def run_node(directory: Path, port: int, json_mode: bool) -> None:
    """Run the node until SIGINT or SIGTERM; print where it is and what is on it.

    Args:
        port: RPC port; 0 takes that of the last start, at the first one a free one.

    Raises:
        InvalidInput: A node runs in ``directory`` already.
        ChainUnavailable: The port is in use, or the node did not start.
    """
    output = Output(json_mode)
    stopped = stop_on_signal()
    with _only_node(directory), LocalNode(directory / "chain", port=port or _kept_port(directory)) as node:
        deployment = ensure_deployed(node, directory)
        settings = write_settings(directory, deployment, f"dir:{(directory / 'store').resolve()}")
        output.result({**asdict(deployment), "settings": str(settings)})
        output.say(
            f"In other terminals: export RONDO_CONFIG={settings}   (Ctrl-C here stops the chain and keeps its state)"
        )
        while not stopped():
            node.check()
            time.sleep(0.5)


def _kept_port(directory: Path) -> int | None:
    """The port of the last start, waited for while the chain of a killed node still saves its state."""
    kept = _read_record(directory)
    port = urlsplit(kept.chain_url).port if kept else None
    deadline = time.monotonic() + SAVING_SECONDS
    while port is not None and is_listening(port) and time.monotonic() < deadline:
        time.sleep(0.1)
    return port


def _only_node(directory: Path) -> FileLock:
    """Hold the directory: two nodes on one would each write over the other's chain. A killed node lets go."""
    make_directory(directory)
    lock = FileLock(directory / "node.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InvalidInput(
            f"A node runs in {directory} already.",
            "Two on one directory would lose each other's chain.",
            "Use that one, stop it first, or name another directory with --dir.",
        ) from error
    return lock


def fund_account(directory: Path, to: str, tokens: int, json_mode: bool) -> None:
    """Give ``to`` gas money and ``tokens`` whole test tokens on the local chain of ``directory``.

    RONDO_CHAIN_URL names another local chain, which can give gas money alone and needs no directory.

    Raises:
        InvalidInput: There is no such node directory, ``to`` is not an address, or the tokens are on another chain.
        ChainUnavailable: The node does not answer, or is no local one.
    """
    recipient = named_address(to)
    kept, settings_file = _read_record(directory), directory / "rondo.toml"
    if kept is not None and settings_file.exists():
        url = load_settings(settings_file).chain_url
    elif os.environ.get("RONDO_CHAIN_URL") and not tokens:
        url = os.environ["RONDO_CHAIN_URL"]
    else:
        raise InvalidInput(
            f"{directory} is not a node's directory.",
            f"It has no {RECORD}.",
            "Start one: rondo node; or name it: --dir",
        )
    if tokens and kept is not None and url != kept.chain_url:
        raise InvalidInput(
            f"The test tokens of {directory} are not on the chain at {url}.",
            f"They are on its own, at {kept.chain_url}.",
            "Unset RONDO_CHAIN_URL, or ask for gas money alone.",
        )
    fund_gas(url, recipient, GAS_MONEY_WEI)
    if tokens and kept is not None:
        keystore = directory / "keys" / "deployer.json"
        key = open_keystore(keystore, keystore.with_suffix(".pass").read_text())
        transfer_token(url, key, kept.token, recipient, tokens * TOKEN_UNIT)
    Output(json_mode).result({"address": recipient, "gas_wei": str(GAS_MONEY_WEI), "tokens": tokens})
