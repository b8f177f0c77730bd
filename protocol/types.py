"""Identifiers as types of their own, not ``bytes`` and ``str``."""

from __future__ import annotations

import re
from typing import NewType

from eth_utils.address import to_checksum_address

from protocol.errors import InvalidInput

Address = NewType("Address", str)  # EIP-55 checksummed, 0x and 40 hex digits
Digest = NewType("Digest", bytes)  # 32 bytes: the sha2-256 of an artifact's dag-pb root
FederationId = NewType("FederationId", bytes)  # 32 bytes
RoundId = NewType("RoundId", bytes)  # 32 bytes
Hash = NewType("Hash", bytes)  # 32 bytes: any other keccak or sha-256

_ADDRESS = re.compile("0[xX][0-9a-fA-F]{40}")

ZERO_HASH = Hash(bytes(32))
ZERO_ADDRESS = Address("0x" + "0" * 40)


def address(text: str) -> Address:
    """Return ``text`` as a checksummed address; digits all of one case carry no checksum (EIP-55) and are taken.

    Raises:
        InvalidInput: It is not 0x and 40 hex digits, or its checksum is wrong.
    """
    if not isinstance(text, str) or not _ADDRESS.fullmatch(text):
        raise InvalidInput(
            f"{text!r} is not an address.", "An address is 0x and 40 hex digits.", "Check it for missing digits."
        )
    checksummed, digits = str(to_checksum_address(text)), text[2:]
    if digits != checksummed[2:] and digits not in (digits.lower(), digits.upper()):
        raise InvalidInput(
            f"{text!r} is not an address.", "Its checksum is wrong.", "Copy it again: a digit was mistyped."
        )
    return Address(checksummed)


def bytes32(text: str) -> bytes:
    """Return the 32 bytes that ``text`` (64 hex digits, 0x or not) spells.

    Raises:
        InvalidInput: It is anything else.
    """
    try:
        value = bytes.fromhex(text.removeprefix("0x"))
    except (ValueError, AttributeError):
        value = b""
    if len(value) != 32:
        raise InvalidInput(f"{text!r} is not 32 bytes in hex.", "Expected 64 hex digits.", "Copy the whole value.")
    return value


def hex32(value: bytes) -> str:
    """Return ``value`` as 0x and lower-case hex digits."""
    return "0x" + value.hex()
