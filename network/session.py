"""What every command starts with: settings in, the outside systems out."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from network.settings import Settings
from protocol.errors import InvalidInput, SettingsError

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from network.chain import Chain
    from network.store import ContentStore


def open_chain(settings: Settings, *, with_key: bool) -> Chain:
    """Connect to the contract (the configured one, else this version's), with the configured account where ``with_key``.

    Raises:
        SettingsError: The keystore is not configured; or the contract is not, and the chain has none of this version.
        KeyError_: The keystore cannot be opened.
        InvalidInput, ChainError: The node does not answer, or has no such contract at the configured address.
    """
    from network.address_book import AddressBook
    from network.evm_chain import connect

    return connect(
        settings.chain_url,
        settings.contract,
        open_key(settings) if with_key else None,
        confirmations=settings.confirmations,
        first_block=settings.contract_block,
        book=AddressBook(settings.home),
        accept_other_code=settings.accept_other_code,
    )


def open_key(settings: Settings) -> LocalAccount:
    """Open the configured keystore. Raises: SettingsError where none is configured, KeyError_."""
    from network.keys import open_keystore, passphrase

    return open_keystore(settings.require_keystore(), passphrase(_ask_passphrase))


def open_content(settings: Settings) -> ContentStore:
    """Open the configured content store. Raises: StoreUnavailable; SettingsError where the setting names none."""
    from network.store import open_store

    try:
        return open_store(settings.store)
    except InvalidInput as error:
        raise SettingsError(f"The setting store is wrong: {error.what}", error.why, error.do) from error


def _ask_passphrase() -> str:
    import getpass

    return getpass.getpass("Passphrase of the keystore: ")


def stop_on_signal() -> Callable[[], bool]:
    """Catch SIGINT and SIGTERM from now on; the returned function says whether one came.

    A worker that asks between steps ends cleanly, and one that is killed in the middle of a step starts again from the
    chain: both are safe, this one is quieter. A second signal of the same kind ends the process at once.
    """
    received: list[int] = []

    def receive(number: int, _frame: object) -> None:
        received.append(number)
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, receive)
    return lambda: bool(received)
