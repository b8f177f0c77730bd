"""CAR, version 1: a stream of blocks in one file, which any IPFS node imports and exports.

    varint(length) header, then for each block: varint(36 + length of data) CID data

The header is the DAG-CBOR map {"roots": [CID, …], "version": 1}. Written and read is its one canonical form: keys in that
order, each CID as tag 42 over the byte 0x00 and its binary form (https://ipld.io/specs/transport/car/carv1/,
https://ipld.io/specs/codecs/dag-cbor/spec/).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from protocol.chunks import read_chunk
from protocol.cid import MAX_BLOCK, Cid, check_block_size, cid_from_bytes, verify_block
from protocol.errors import InvalidInput, NotCanonical
from protocol.unixfs import Block
from protocol.varint import encode_varint

MAX_ROOTS = 110_000  # more than the artifacts of the largest round, of 100,000 updates; 4.5 MB of header
_CID_BYTES = 36
_ROOTS = b"\xa2\x65roots"  # a map of two, the text "roots"
_CID_TAG = b"\xd8\x2a\x58\x25\x00"  # tag 42, 37 bytes, the multibase identity prefix
_VERSION = b"\x67version\x01"
_MAX_HEADER = len(_ROOTS) + 5 + MAX_ROOTS * (len(_CID_TAG) + _CID_BYTES) + len(_VERSION)
_DO = "Export the file again."


def encode_car_header(roots: Sequence[Cid]) -> bytes:
    """Return the beginning of a CAR of the trees of ``roots``, with its length before it.

    Raises:
        InvalidInput: More than ``MAX_ROOTS`` roots.
    """
    if len(roots) > MAX_ROOTS:
        raise InvalidInput(f"{len(roots)} roots are too many.", f"A CAR names at most {MAX_ROOTS}.", "Write several.")
    header = _ROOTS + _array_head(len(roots)) + b"".join(_CID_TAG + root.to_bytes() for root in roots) + _VERSION
    return encode_varint(len(header)) + header


def encode_car_block(block: Block) -> bytes:
    """Return what stands for ``block`` in a CAR, in front of its data; the data follows.

    Raises:
        InvalidInput: It has more than 2 MiB, which nobody would read.
    """
    check_block_size(block.cid, block.data)
    return encode_varint(_CID_BYTES + len(block.data)) + block.cid.to_bytes()


def encode_car(roots: Sequence[Cid], blocks: Iterable[Block]) -> Iterator[bytes]:
    """Yield the parts of a CAR of ``blocks``, to be written one after another; data are not copied.

    Raises:
        InvalidInput: As ``encode_car_header`` and ``encode_car_block``.
    """
    yield encode_car_header(roots)
    for block in blocks:
        yield encode_car_block(block)
        yield block.data


def read_car_header(stream: BinaryIO, where: str) -> tuple[Cid, ...]:
    """Read the header of the CAR in ``stream`` and return its roots; ``where`` names the file in messages.

    Raises:
        NotCanonical: It is no CAR of version 1, or its header is written in another way than the canonical one.
    """
    length = _read_length(stream, where)
    if length is None or length > _MAX_HEADER:
        raise _refused(where, "Its header is missing or too long.")
    header = _read_exactly(stream, length, where)
    each = len(_CID_TAG) + _CID_BYTES
    body = header[len(_ROOTS) : -len(_VERSION)]
    body = body[len(body) % each :]  # without the array's head, which is shorter than a root
    try:
        roots = tuple(cid_from_bytes(body[at + len(_CID_TAG) : at + each]) for at in range(0, len(body), each))
    except InvalidInput as error:
        raise _refused(where, "A root is no CID that Rondo uses.") from error
    if len(roots) > MAX_ROOTS or encode_car_header(roots) != encode_varint(length) + header:
        raise _refused(where, "Its header is not the one of a CAR of version 1.")
    return roots


def read_car_blocks(stream: BinaryIO, where: str) -> Iterator[Block]:
    """Yield the verified blocks that follow the header, as they come; memory is one block.

    Raises:
        NotCanonical: The stream is cut short, or a block is too large or no block that Rondo uses.
        BlockCorrupt: The bytes of a block are not those that its CID names.
    """
    while (length := _read_length(stream, where)) is not None:
        if not _CID_BYTES <= length <= _CID_BYTES + MAX_BLOCK:
            raise _refused(where, f"A CID and its block of {length} bytes together are too large or too small.")
        try:
            cid = cid_from_bytes(_read_exactly(stream, _CID_BYTES, where))
        except InvalidInput as error:
            raise _refused(where, "A block has a CID that Rondo does not use.") from error
        data = _read_exactly(stream, length - _CID_BYTES, where)
        verify_block(cid, data, where)
        yield Block(cid, data)


def _array_head(count: int) -> bytes:
    """Return how DAG-CBOR begins a list of ``count`` items: in the shortest form (RFC 8949, section 4.2.1)."""
    for first, size in ((0x98, 1), (0x99, 2), (0x9A, 4)):
        if count < 24:
            break
        if count < 1 << 8 * size:
            return bytes((first,)) + count.to_bytes(size, "big")
    return bytes((0x80 + count,))


def _read_length(stream: BinaryIO, where: str) -> int | None:
    """Read a varint of at most 4 bytes, in its shortest form; None at the end of the stream."""
    value = 0
    for index in range(4):
        byte = stream.read(1)
        if not byte:
            if index == 0:
                return None
            break
        value |= (byte[0] & 0x7F) << 7 * index
        if byte[0] < 0x80:
            if byte[0] == 0 and index:
                break
            return value
    raise _refused(where, "A length is cut short or too large.")


def _read_exactly(stream: BinaryIO, length: int, where: str) -> bytes:
    data = read_chunk(stream, length)
    if len(data) < length:
        raise _refused(where, "It is cut short.")
    return data


def _refused(where: str, why: str) -> NotCanonical:
    return NotCanonical(f"{where} cannot be read as a CAR.", why, _DO)
