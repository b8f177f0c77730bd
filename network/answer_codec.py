"""Reads what an EVM node answers. Whoever answers is a stranger: every value is checked before anything is built on it.

Shapes are those of JSON-RPC 2.0 and of Ethereum's execution API (https://ethereum.github.io/execution-apis/).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from protocol.canonical_json import is_nested_deeper
from protocol.types import Address, Hash, address

T = TypeVar("T")
Log = dict[str, Any]  # topics (list of 32 bytes), data (bytes), blockNumber, logIndex (int), transactionHash (32 bytes)

_QUANTITY = re.compile("0x[0-9a-fA-F]{1,64}")
_BYTES = re.compile("0x(?:[0-9a-fA-F]{2})*")
_MAX_DEPTH = 32  # no answer that we ask for has more than five objects and lists in one another
_SHOWN = 80  # characters of a foreign value that an error shows


class Malformed(Exception):
    """The answer is not what the question's answers look like: most often another server's page."""


class NodeError(Exception):
    """The node answered with a JSON-RPC error object."""

    def __init__(self, code: int | None, message: str, data: object) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data


@dataclass(frozen=True, slots=True)
class Block:
    """The head of a block; ``timestamp`` in seconds, ``base_fee`` in wei per gas, None before EIP-1559."""

    number: int
    hash: Hash
    timestamp: int
    base_fee: int | None


@dataclass(frozen=True, slots=True)
class Mined:
    """The receipt of a transaction in a block; ``created`` is the contract that it created."""

    transaction: Hash
    block: int
    gas_used: int
    succeeded: bool
    created: Address | None
    logs: list[Log]


# --- the envelope ---


def json_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object that ``raw`` spells."""
    try:
        text = raw.decode()
        if is_nested_deeper(raw, _MAX_DEPTH):
            raise _malformed("nested too deeply", text)
        return _object(json.loads(text))
    except ValueError as error:  # also bytes that are no text, and numbers too long for an int
        raise _malformed("no JSON", raw.decode(errors="replace")) from error


def result(answer: dict[str, Any]) -> Any:
    """Return the result. Raises NodeError where it is an error."""
    error = answer.get("error")
    if error is None:
        if "result" not in answer:
            raise _malformed("neither result nor error", answer)
        return answer["result"]
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        raise _malformed("no JSON-RPC error", error)
    code = error.get("code")
    raise NodeError(code if isinstance(code, int) else None, error["message"], error.get("data"))


def revert_data(error: NodeError) -> bytes | None:
    """Return what a contract reverted with, empty without a reason; None where the error is no revert.

    Nodes word it differently: the data are ``error.data`` (Geth, Besu, Erigon, anvil), behind "Reverted " (Parity,
    Nethermind) or ``error.data.data`` (Hardhat).
    """
    data = error.data.get("data") if isinstance(error.data, dict) else error.data
    text = data.removeprefix("Reverted ") if isinstance(data, str) else ""
    if _BYTES.fullmatch(text) and len(text) >= 2 + 8:
        return bytes.fromhex(text[2:])
    return b"" if error.code == 3 or "revert" in error.message.lower() else None


# --- values ---


def quantity(value: object) -> int:
    """Return a number of up to 256 bits."""
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise _malformed("no quantity", value)
    return int(value, 16)


def data(value: object) -> bytes:
    """Return bytes of any number."""
    if not isinstance(value, str) or not _BYTES.fullmatch(value):
        raise _malformed("no bytes in hex", value)
    return bytes.fromhex(value[2:])


def hash32(value: object) -> Hash:
    """Return 32 bytes."""
    found = data(value)
    if len(found) != 32:
        raise _malformed("no 32 bytes", value)
    return Hash(found)


def account(value: object) -> Address:
    """Return an address."""
    if len(data(value)) != 20:
        raise _malformed("no address", value)
    return address(str(value).lower())


def optional(decode: Callable[[Any], T]) -> Callable[[Any], T | None]:
    """Return a decoder that also takes null, as None."""
    return lambda value: None if value is None else decode(value)


# --- records ---


def block(value: object) -> Block:
    """Return the head of a block that has been mined."""
    found = _object(value)
    base_fee = optional(quantity)(found.get("baseFeePerGas"))
    return Block(_quantity(found, "number"), hash32(found.get("hash")), _quantity(found, "timestamp"), base_fee)


def logs(value: object) -> list[Log]:
    """Return logs of blocks that have been mined."""
    return [_log(one) for one in _list(value)]


def receipt(value: object) -> Mined | None:
    """Return a receipt; None where the transaction is still in no block, which some nodes say by a receipt."""
    if value is None:
        return None
    found = _object(value)
    if "blockNumber" in found and found["blockNumber"] is None:
        return None
    return Mined(
        transaction=hash32(found.get("transactionHash")),
        block=_quantity(found, "blockNumber"),
        gas_used=_quantity(found, "gasUsed"),
        succeeded=_quantity(found, "status") == 1,
        created=optional(account)(found.get("contractAddress")),
        logs=logs(found.get("logs")),
    )


def is_known(value: object) -> bool:
    """Return whether the answer is a transaction and not null."""
    return value is not None and bool(_object(value))


def _log(value: object) -> Log:
    found = _object(value)
    return {
        "topics": [hash32(topic) for topic in _list(found.get("topics"))],
        "data": data(found.get("data")),
        "blockNumber": _quantity(found, "blockNumber"),
        "logIndex": _quantity(found, "logIndex"),
        "transactionHash": hash32(found.get("transactionHash")),
    }


def _quantity(found: dict[str, Any], field: str) -> int:
    try:
        return quantity(found.get(field))
    except Malformed as error:
        raise Malformed(f"{field} is {error}") from error


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _malformed("no object", value)
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise _malformed("no list", value)
    return value


def _malformed(what: str, value: object) -> Malformed:
    shown = value if isinstance(value, str) else repr(value)
    return Malformed(f"{what}: {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '…'}")
