"""Addresses as people write them: what is refused first."""

from __future__ import annotations

import pytest

from protocol.errors import InvalidInput
from protocol.types import address

RIGHT = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"  # from EIP-55


@pytest.mark.parametrize(
    "text", ["", "alice", RIGHT[2:], RIGHT[:-1], RIGHT + "0", RIGHT + "\n", "0x" + "g" * 40, 5, None, bytes(20)]
)
def test_what_is_no_address_is_refused(text: object) -> None:
    with pytest.raises(InvalidInput, match="0x and 40 hex digits"):
        address(text)  # type: ignore[arg-type]


@pytest.mark.parametrize("position", [3, 5, 11, 41])
def test_a_mistyped_digit_breaks_the_checksum(position: int) -> None:
    wrong = RIGHT[:position] + RIGHT[position].swapcase() + RIGHT[position + 1 :]
    assert wrong != RIGHT
    with pytest.raises(InvalidInput, match="checksum is wrong"):
        address(wrong)


@pytest.mark.parametrize("text", [RIGHT, RIGHT.lower(), "0x" + RIGHT[2:].upper(), RIGHT.replace("0x", "0X", 1)])
def test_spellings_without_a_checksum_are_taken(text: str) -> None:
    assert address(text) == RIGHT
