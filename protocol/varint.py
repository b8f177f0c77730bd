"""Unsigned LEB128 numbers, which protobuf and CAR files begin their fields with."""

from __future__ import annotations

_SHORT = [bytes([value]) for value in range(0x80)]


def encode_varint(value: int) -> bytes:
    """Return the shortest encoding of ``value`` >= 0: seven bits a byte, lowest first, the top bit set in all but the last.

    Source: https://protobuf.dev/programming-guides/encoding/#varints
    """
    if 0 <= value <= 0x7F:  # nearly all are
        return _SHORT[value]
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
