"""Content identifiers: CIDv1, sha2-256, base32, of raw leaves and dag-pb nodes; no other kind exists here.

Binary form, 36 bytes (https://github.com/multiformats/cid): version 0x01, codec, hash function 0x12 (sha2-256), hash
length 0x20, digest. Text form: ``b`` and the lower-case base32 (RFC 4648) of those bytes without padding, 59 letters.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from protocol.errors import BlockCorrupt, InvalidInput
from protocol.types import Digest

RAW = 0x55  # a block of file bytes
DAG_PB = 0x70  # a directory, or the inner node of a file
MAX_BLOCK = 2 * 1024 * 1024  # bytes; no IPFS node carries a larger block to another one

_HEADS = {codec: bytes((0x01, codec, 0x12, 0x20)) for codec in (RAW, DAG_PB)}
_BINARY_LENGTH = 36
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"  # RFC 4648, in lower case
_TWO_LETTERS = [first + second for first in _LETTERS for second in _LETTERS]  # base64.b32encode takes ten times as long
_SHIFTS = range(280, -10, -10)


@dataclass(frozen=True, slots=True)
class Cid:
    """The name of one block: ``codec`` is ``RAW`` or ``DAG_PB``, ``digest`` its sha2-256.

    Raises:
        InvalidInput: Another codec, or a digest that is not 32 bytes.
    """

    codec: int
    digest: Digest

    def __post_init__(self) -> None:
        if self.codec not in _HEADS or len(self.digest) != 32:
            raise InvalidInput(
                f"No CID has codec {self.codec:#x} and a digest of {len(self.digest)} bytes.",
                "Only raw (0x55) and dag-pb (0x70) with sha2-256 (32 bytes) are used.",
                "Use parse_cid, block_cid or directory_cid.",
            )

    def __str__(self) -> str:
        number = int.from_bytes(self.to_bytes(), "big") << 2  # 288 bits, and two of padding, are 29 times two letters
        return "b" + "".join([_TWO_LETTERS[number >> shift & 1023] for shift in _SHIFTS])

    def to_bytes(self) -> bytes:
        """Return the binary form, 36 bytes."""
        return _HEADS[self.codec] + self.digest


def parse_cid(text: str) -> Cid:
    """Return the CID that ``text`` spells in its one canonical way.

    Raises:
        InvalidInput: It is anything else: CIDv0, another base, codec or hash, upper case, a path.
    """
    if text[:1] == "b" and len(text) == 59:
        try:
            cid = cid_from_bytes(base64.b32decode(text[1:].upper() + "=" * 6))
        except (binascii.Error, ValueError, InvalidInput):
            cid = None
        if cid is not None and str(cid) == text:
            return cid
    raise InvalidInput(
        f"{text[:80]!r} is not a CID that Rondo uses.",
        "It must be CIDv1 in base32 (59 letters from 'b'), codec raw or dag-pb, hash sha2-256.",
        "Convert others with `ipfs cid base32`, and drop any ipfs:// prefix or path.",
    )


def cid_from_bytes(data: bytes) -> Cid:
    """Return the CID whose binary form is ``data``.

    Raises:
        InvalidInput: It is not 36 bytes of version 1, raw or dag-pb, sha2-256 (so identity hashes are refused).
    """
    if len(data) == _BINARY_LENGTH and data[:4] in _HEADS.values():
        return Cid(data[1], Digest(data[4:]))
    raise InvalidInput(
        f"0x{data[:40].hex()} is not a CID that Rondo uses.",
        "It must be CIDv1, codec raw or dag-pb, hash sha2-256: 36 bytes.",
        "Import the content again with the profile unixfs-v1-2025.",
    )


def directory_cid(digest: Digest) -> Cid:
    """Return the CID of the artifact directory that a 32-byte ``digest`` on chain names.

    Raises:
        InvalidInput: The digest is not 32 bytes.
    """
    return Cid(DAG_PB, digest)


def block_cid(codec: int, data: bytes) -> Cid:
    """Return the CID of the block ``data``.

    Raises:
        InvalidInput: The codec is neither ``RAW`` nor ``DAG_PB``.
    """
    return Cid(codec, Digest(hashlib.sha256(data).digest()))


def verify_block(cid: Cid, data: bytes, where: str = "the content store") -> None:
    """Check that ``data`` is the block that ``cid`` names; ``where`` is for the message.

    Raises:
        BlockCorrupt: The sha2-256 of the bytes is another one.
    """
    if hashlib.sha256(data).digest() != cid.digest:
        raise BlockCorrupt(str(cid), where)


def check_block_size(cid: Cid, data: bytes) -> None:
    """Check that ``data``, the block ``cid``, is no larger than IPFS nodes carry (2 MiB).

    Raises:
        InvalidInput: It is.
    """
    if len(data) > MAX_BLOCK:
        raise InvalidInput(f"Block {cid} has {len(data)} bytes.", f"IPFS carries {MAX_BLOCK}.", "Import it in chunks.")
