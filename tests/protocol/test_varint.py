"""LEB128: the shortest spelling of every number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.varint import encode_varint


@pytest.mark.parametrize("value", [-1, -128, -(2**70)])
def test_negative_numbers_have_none(value: int) -> None:
    with pytest.raises(ValueError, match=r"range|negative"):
        encode_varint(value)


@pytest.mark.parametrize(
    ("value", "spelled"),
    [
        (0, b"\x00"),
        (1, b"\x01"),
        (127, b"\x7f"),
        (128, b"\x80\x01"),
        (150, b"\x96\x01"),  # the example of protobuf's own documentation
        (300, b"\xac\x02"),
        (16383, b"\xff\x7f"),
        (16384, b"\x80\x80\x01"),
        (2**32, b"\x80\x80\x80\x80\x10"),
        (2**63 - 1, b"\xff" * 8 + b"\x7f"),
        (2**64 - 1, b"\xff" * 9 + b"\x01"),
    ],
)
def test_golden_bytes(value: int, spelled: bytes) -> None:
    assert encode_varint(value) == spelled


@given(st.integers(0, 2**70))
def test_spells_the_number_in_as_few_bytes_as_there_are(value: int) -> None:
    spelled = encode_varint(value)
    assert sum((byte & 0x7F) << 7 * index for index, byte in enumerate(spelled)) == value
    assert [byte >> 7 for byte in spelled] == [1] * (len(spelled) - 1) + [0]
    assert len(spelled) == max(1, -(-value.bit_length() // 7))
