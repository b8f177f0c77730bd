"""Typed reading of JSON values: each field's type and range is fixed by a schema, and a refusal names the field's path."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from eth_utils.address import to_checksum_address

from protocol.canonical_json import MAX_INTEGER
from protocol.cid import Cid, directory_cid, parse_cid
from protocol.errors import InvalidInput, WrongField
from protocol.types import Address, Digest, Hash

MAX_AMOUNT = (1 << 96) - 1  # the contract's uint96

_PLAIN = re.compile(r"[!-~]{1,64}")
_ASCII = re.compile(r"[ -~]*")
# Controls and the marks that reorder text, so that a name cannot rewrite the terminal or page that shows it.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_RATIONAL = re.compile(r"-?[0-9]{1,30}(/[0-9]{1,30})?")
_AMOUNT = re.compile(r"0|[1-9][0-9]{0,28}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_HASH = re.compile(r"0x[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Field:
    """One JSON value and where it stands, such as ``task.json: training.epochs``."""

    value: object
    path: str

    def refusal(self, expected: str) -> WrongField:
        """Return the error that says that this field should be ``expected``."""
        shown = repr(self.value) if not isinstance(self.value, list | dict) else type(self.value).__name__
        return WrongField(f"{self.path} is {shown[:100]}.", f"Expected {expected}.", "Correct this field.")

    def _child(self, name: str, value: object) -> Field:
        return Field(value, self._beginning() + _shown(name))

    def _beginning(self) -> str:
        """Return with what the paths of this field's children begin."""
        return f"{self.path}{'.' if ': ' in self.path else ': '}"

    def object(self, names: Collection[str]) -> dict[str, Field]:
        """Return the fields of an object that has exactly ``names``."""
        found = self.mapping(len(names) + 1000)
        for name in names:
            if name not in found:
                missing = self._child(name, None)
                raise WrongField(f"{missing.path} is missing.", "Every field is required.", "Add it.")
        for name, extra in found.items():
            if name not in names:
                raise WrongField(f"{extra.path} is unknown.", f"Known: {', '.join(sorted(names))}.", "Remove it.")
        return found

    def mapping(self, limit: int) -> dict[str, Field]:
        """Return the fields of an object of free names, at most ``limit``."""
        if not isinstance(self.value, dict) or len(self.value) > limit:
            raise self.refusal(f"an object of at most {limit} fields")
        path = self._beginning()
        return {name: Field(value, path + _shown(name)) for name, value in self.value.items()}

    def array(self, limit: int) -> list[Field]:
        """Return the items of an array of at most ``limit``."""
        if not isinstance(self.value, list) or len(self.value) > limit:
            raise self.refusal(f"an array of at most {limit} items")
        path = self._beginning()
        return [Field(value, f"{path}{position}") for position, value in enumerate(self.value)]

    def integer(self, low: int = 0, high: int = MAX_INTEGER) -> int:
        """Return an integer, ``low`` and ``high`` included; true and false are none."""
        if not isinstance(self.value, int) or isinstance(self.value, bool) or not low <= self.value <= high:
            raise self.refusal(f"an integer from {low} to {high}")
        return self.value

    def flag(self) -> bool:
        """Return true or false."""
        if not isinstance(self.value, bool):
            raise self.refusal("true or false")
        return self.value

    def choice(self, options: Collection[str]) -> str:
        """Return one of ``options``."""
        if not isinstance(self.value, str) or self.value not in options:
            raise self.refusal(f"one of {', '.join(options)}")
        return self.value

    def text(self, limit: int, least: int = 0) -> str:
        """Return Unicode text of ``least`` to ``limit`` characters, without controls or marks that reorder text."""
        if not isinstance(self.value, str) or not least <= len(self.value) <= limit or _UNSAFE.search(self.value):
            raise self.refusal(f"text of {least} to {limit} printable characters")
        return self.value

    def ascii(self, limit: int) -> str:
        """Return text of at most ``limit`` printable ASCII characters."""
        text = self.text(limit)
        if not _ASCII.fullmatch(text):
            raise self.refusal("printable ASCII text")
        return text

    def rational(self, low: Fraction | int, high: Fraction | int) -> Fraction:
        """Return a rational spelled "num/den" in lowest terms, or "num" where den is 1; bounds included."""
        text = self.value
        if not isinstance(text, str) or not _RATIONAL.fullmatch(text):
            raise self.refusal('a rational such as "1/10"')
        try:
            number = Fraction(text)
        except ZeroDivisionError:
            raise self.refusal("a rational whose denominator is not 0") from None
        if str(number) != text:
            raise self.refusal(f'a rational in lowest terms, "{number}"')
        if not low <= number <= high:
            raise self.refusal(f"a rational from {low} to {high}")
        return number

    def amount(self) -> int:
        """Return an amount in base units of a token (uint96), spelled as a decimal string."""
        text = self.value
        if not isinstance(text, str) or not _AMOUNT.fullmatch(text) or int(text) > MAX_AMOUNT:
            raise self.refusal("a decimal string below 2^96, without leading zeros")
        return int(text)

    def hash(self) -> Hash:
        """Return 32 bytes spelled 0x and 64 lower-case hex digits."""
        if not isinstance(self.value, str) or not _HASH.fullmatch(self.value):
            raise self.refusal("0x and 64 lower-case hex digits")
        return Hash(bytes.fromhex(self.value[2:]))

    def address(self) -> Address:
        """Return an address in its checksummed spelling (EIP-55)."""
        text = self.value
        if not isinstance(text, str) or not _ADDRESS.fullmatch(text) or _checksummed(text) != text:
            raise self.refusal("a checksummed address")
        return Address(text)

    def cid(self) -> str:
        """Return a CID in its one spelling (CIDv1, sha2-256, base32)."""
        return str(self._cid())

    def digest(self) -> Digest:
        """Return the digest of an artifact directory, spelled as its CID."""
        cid = self._cid()
        if cid != directory_cid(cid.digest):
            raise self.refusal("the CID of a directory (dag-pb)")
        return cid.digest

    def _cid(self) -> Cid:
        try:
            return _parsed_cid(self.text(100))  # which takes the one spelling only
        except InvalidInput:
            raise self.refusal("a CIDv1 in base32") from None


def _shown(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else ascii(name[:64])


# A round's files name the same clients and the same base over and over; spelling either takes longer than all else of them.
_checksummed = lru_cache(1024)(to_checksum_address)
_parsed_cid = lru_cache(64)(parse_cid)
