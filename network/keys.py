"""An account's key on disk: a version 3 keystore, as geth and every wallet read it. Keys are never printed or logged."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from network.files import make_directory, write_atomic
from protocol.errors import InvalidInput, KeyError_, SettingsError
from protocol.types import Address, address

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

SCRYPT_N = 2**18  # the standard cost: about a second and 256 MiB a guess


def new_keystore(path: Path, passphrase: str, scrypt_n: int = SCRYPT_N) -> Address:
    """Make a key, write it to ``path`` (mode 0600) sealed with ``passphrase``, and return its address.

    Args:
        path: Where; nothing is ever overwritten.
        passphrase: Not empty.
        scrypt_n: Cost of one guess, a power of two; less than the standard is for tests.

    Raises:
        KeyError_: There is a file already, the passphrase is empty, or the file cannot be written.
    """
    from eth_account import Account  # half a second to import

    if not passphrase:
        raise KeyError_(
            "A keystore needs a passphrase.", "It is empty.", "Set RONDO_PASSPHRASE_FILE to a file with one."
        )
    if path.exists():
        raise KeyError_(f"{path} exists already.", "A key is never overwritten.", "Choose another path.")
    account: LocalAccount = Account.create()
    sealed = Account.encrypt(account.key, passphrase, kdf="scrypt", iterations=scrypt_n)
    try:
        make_directory(path.parent)
        write_atomic(path, json.dumps(sealed).encode(), mode=0o600)
    except OSError as error:
        raise KeyError_(
            f"The keystore {path} cannot be written.", f"{error.strerror}.", "Choose another path."
        ) from error
    return Address(str(account.address))


def open_keystore(path: Path, passphrase: str) -> LocalAccount:
    """Return the account in the keystore ``path``.

    Raises:
        KeyError_: The file is missing, cannot be read, is no keystore, or has another passphrase.
    """
    from eth_account import Account

    sealed = _read(path)
    try:
        key = Account.decrypt(sealed, passphrase)
    except ValueError as error:
        raise KeyError_(
            f"The keystore {path} does not open.", "The passphrase is wrong.", "Check RONDO_PASSPHRASE or its file."
        ) from error
    except (KeyError, TypeError, NotImplementedError) as error:
        raise _no_keystore(path) from error
    account: LocalAccount = Account.from_key(key)
    return account


def keystore_address(path: Path) -> Address:
    """Return the address that the keystore ``path`` says it holds, without a passphrase. Raises KeyError_."""
    stated = str(_read(path).get("address", ""))
    try:
        return address("0x" + stated.removeprefix("0x"))
    except InvalidInput as error:
        raise _no_keystore(path) from error


def named_address(text: str) -> Address:
    """Return the account that ``text`` names: an address, or the path of a keystore file.

    Raises:
        InvalidInput: It is neither. KeyError_: The file is no keystore.
    """
    path = Path(text).expanduser()
    return keystore_address(path) if path.is_file() else address(text)


def passphrase(ask: Callable[[], str], environment: Mapping[str, str] | None = None) -> str:
    """Return RONDO_PASSPHRASE, or the first line of the file that RONDO_PASSPHRASE_FILE names, or what ``ask()`` says.

    Args:
        ask: Asks the person; called only where neither variable is set.
        environment: The variables; the process's own by default.

    Raises:
        SettingsError: Both are set.
        KeyError_: The file cannot be read.
    """
    environment = os.environ if environment is None else environment
    stated, file = environment.get("RONDO_PASSPHRASE"), environment.get("RONDO_PASSPHRASE_FILE")
    if stated is not None and file is not None:
        raise SettingsError(
            "RONDO_PASSPHRASE and RONDO_PASSPHRASE_FILE are both set.", "They can contradict each other.", "Unset one."
        )
    if file is None:
        return ask() if stated is None else stated
    try:
        lines = Path(file).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyError_(
            f"The passphrase file {file} cannot be read.", f"{type(error).__name__}.", "Check RONDO_PASSPHRASE_FILE."
        ) from error
    return lines[0] if lines else ""


def _read(path: Path) -> dict[str, object]:
    try:
        sealed = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise KeyError_(
            f"There is no keystore {path}.", "", "Make one with `rondo keys new`, or set RONDO_KEYSTORE."
        ) from error
    except (OSError, ValueError) as error:
        raise _no_keystore(path) from error
    if not isinstance(sealed, dict) or sealed.get("version") != 3:
        raise _no_keystore(path)
    return sealed


def _no_keystore(path: Path) -> KeyError_:
    return KeyError_(f"{path} is no keystore of version 3.", "It cannot be read as one.", "Check RONDO_KEYSTORE.")
