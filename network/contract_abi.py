"""The committed ABI and bytecode of our contracts, read once, and what the ABI names: events and custom errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_utils.abi import abi_to_signature, collapse_if_tuple
from eth_utils.crypto import keccak

from protocol.types import address


@dataclass(frozen=True)
class ContractFile:
    """One contract as the compiler left it.

    Attributes:
        abi: Its ABI as JSON.
        bytecode: Its creation bytecode in hex.
        runtime: The code that a deployment has, with zeros where its immutables go.
        immutables: Where in ``runtime`` the 32 bytes of each immutable begin, by its name in the source.
    """

    abi: list[dict[str, Any]]
    bytecode: str
    runtime: bytes
    immutables: Mapping[str, tuple[int, ...]]


@cache
def load_contract(name: str) -> ContractFile:
    """Return the contract ``name`` of ``network/abi``."""
    document = json.loads(files("network.abi").joinpath(f"{name}.json").read_text())
    places = {name: tuple(starts) for name, starts in document["immutables"].items()}
    return ContractFile(document["abi"], document["bytecode"], bytes.fromhex(document["runtime"][2:]), places)


def entries(abi: list[dict[str, Any]], kind: str) -> dict[bytes, dict[str, Any]]:
    """Return the ABI's entries of a ``kind`` ("event", "error") by the keccak256 of their signature."""
    chosen = (entry for entry in abi if entry["type"] == kind)
    return {bytes(keccak(text=abi_to_signature(entry))): entry for entry in chosen}  # type: ignore[arg-type]


def decode_values(inputs: list[dict[str, Any]], data: bytes) -> list[Any]:
    """Return ``data`` decoded by the ABI's ``inputs``: addresses checksummed (also in structs), the rest as eth_abi gives it.

    Raises:
        ValueError: The data are not an encoding of these types.
    """
    types = [collapse_if_tuple(item) for item in inputs]
    try:
        values = decode(types, data)
    except (DecodingError, OverflowError) as error:  # the latter by offsets that no memory has
        raise ValueError(f"{data.hex()} does not decode as ({','.join(types)})") from error
    return [_checksummed(item, value) for item, value in zip(inputs, values, strict=True)]


@lru_cache(maxsize=65536)
def _checksum(text: str) -> str:
    return address(text)


def _checksummed(item: dict[str, Any], value: Any) -> Any:
    match item["type"]:
        case "address":
            return _checksum(value)
        case "address[]":
            return tuple(_checksum(part) for part in value)
        case "tuple":
            return tuple(_checksummed(part, inner) for part, inner in zip(item["components"], value, strict=True))
    return value
