"""What every command starts with: settings in, the outside systems out."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from network.settings import Settings

if TYPE_CHECKING:
    from network.chain import Chain
    from network.store import ContentStore


def open_chain(settings: Settings, *, with_key: bool) -> Chain:
    """Connect to the configured contract, with the configured account where ``with_key``.

    Raises:
        SettingsError: The contract or the keystore is not configured.
        KeyError_: The keystore cannot be opened.
        ChainError: The node does not answer, or has no such contract.
    """
    from network.evm_chain import connect

    contract = settings.require_contract()
    key = None
    if with_key:
        from network.keys import open_keystore, passphrase

        key = open_keystore(settings.require_keystore(), passphrase(_ask_passphrase))
    return connect(
        settings.chain_url,
        contract,
        key,
        confirmations=settings.confirmations,
        first_block=settings.contract_block,
    )


def open_content(settings: Settings) -> ContentStore:
    """Open the configured content store. Raises: StoreUnavailable, SettingsError."""
    from network.store import open_store

    return open_store(settings.store)


def _ask_passphrase() -> str:
    import getpass

    return getpass.getpass("Passphrase of the keystore: ")


def stop_on_signal() -> Callable[[], bool]:
    """Catch SIGINT and SIGTERM from now on; the returned function says whether one came.

    A worker that asks between steps ends cleanly, and one that is killed in the middle of a step starts again from the
    chain: both are safe, this one is quieter.
    """
    received: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda signum, _frame: received.append(signum))
    return lambda: bool(received)
