"""Where the contract is on each chain: deployments that everybody knows (committed), and the user's own (a cache).

Nothing here is believed: an address counts once the chain has this version's code there, a block once the chain has that
block's hash. So the user's file can be deleted at any time; what a factory created is found again without it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from filelock import FileLock

from network.files import make_directory, write_atomic
from protocol.canonical_json import is_nested_deeper
from protocol.errors import InvalidInput, SettingsError
from protocol.types import Address, Hash, address, bytes32, hex32

FILE = "deployments.json"
MAX_BYTES = 1 << 20  # a few hundred bytes a chain


@dataclass(frozen=True)
class Entry:
    """One deployment.

    Attributes:
        address: The contract.
        block: The block that has its creation, or any before it; None where unknown.
        block_hash: That block's hash, which tells apart chains with the same id; None exactly where ``block`` is.
    """

    address: Address
    block: int | None = None
    block_hash: Hash | None = None


class AddressBook:
    """The deployments in ``directory`` (the user's own) and in this package, by chain id.

    Args:
        directory: Where the user's own file is; need not exist.
        known: The text of the committed file; this package's by default.
    """

    def __init__(self, directory: Path, known: str | None = None) -> None:
        self.path = directory / FILE
        self._known = known

    def find(self, chain_id: int) -> list[Entry]:
        """Return what is written of a chain, the user's own first; addresses are not repeated.

        Raises:
            SettingsError: The user's file is no address book.
        """
        found = [self._own().get(chain_id), self._everybodys().get(chain_id)]
        return list({entry.address: entry for entry in reversed(found) if entry}.values())[::-1]

    def record(self, chain_id: int, entry: Entry) -> None:
        """Write ``entry`` as the user's own of a chain, durably and all or nothing; other chains' stay.

        Raises:
            SettingsError: The user's file is no address book. OSError: The file system says no.
        """
        make_directory(self.path.parent)
        with FileLock(self.path.with_suffix(".lock")):
            entries = self._own()
            if entries.get(chain_id) == entry:
                return
            entries[chain_id] = entry
            write_atomic(self.path, _encode(entries))

    def deploying(self, chain_id: int) -> FileLock:
        """Return the lock to hold while a contract is deployed: two runs at once would make two."""
        make_directory(self.path.parent)
        return FileLock(self.path.with_name(f"deploying-{chain_id}.lock"))

    def _own(self) -> dict[int, Entry]:
        try:
            with self.path.open("rb") as file:
                return _decode(file.read(MAX_BYTES + 1))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._unreadable(f"{error.strerror}.") from error
        except ValueError as error:
            raise self._unreadable(f"{error}.") from error

    def _everybodys(self) -> dict[int, Entry]:
        text = files("network").joinpath(FILE).read_text() if self._known is None else self._known
        return _decode(text.encode())

    def _unreadable(self, why: str) -> SettingsError:
        do = "Delete it: `rondo deploy` writes it anew, and finds what is deployed already."
        return SettingsError(f"{self.path} is no address book.", why, do)


def _encode(entries: dict[int, Entry]) -> bytes:
    document = {
        str(chain_id): {
            "address": entry.address,
            "block": entry.block,
            "block_hash": None if entry.block_hash is None else hex32(entry.block_hash),
        }
        for chain_id, entry in sorted(entries.items())
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def _decode(raw: bytes) -> dict[int, Entry]:
    if len(raw) > MAX_BYTES:
        raise ValueError(f"It has more than {MAX_BYTES} bytes")
    try:
        document = None if is_nested_deeper(raw, 2) else json.loads(raw)
    except ValueError as error:
        raise ValueError("It is no JSON") from error
    if not isinstance(document, dict):
        raise ValueError("It is no JSON object of entries")
    return {_chain_id(key): _entry(value) for key, value in document.items()}


def _chain_id(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 78):
        raise ValueError(f"{text[:80]!r} is no chain id")
    return int(text)


def _entry(value: Any) -> Entry:
    if not isinstance(value, dict) or set(value) != {"address", "block", "block_hash"}:
        raise ValueError("An entry is not an object of address, block and block_hash")
    block, hash = value["block"], value["block_hash"]
    if (block is None) != (hash is None) or not (block is None or (type(block) is int and block >= 0)):
        raise ValueError(f"{str(block)[:80]} with {str(hash)[:80]} is no block")
    try:
        return Entry(address(value["address"]), block, None if hash is None else Hash(bytes32(hash)))
    except InvalidInput as error:
        raise ValueError(error.what.removesuffix(".")) from error
