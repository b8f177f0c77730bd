"""The two protobuf messages of an IPFS tree, in their one canonical encoding: dag-pb nodes that hold UnixFS data.

    PBNode  { repeated PBLink Links = 2; bytes Data = 1 }                       (Links are written first)
    PBLink  { bytes Hash = 1; string Name = 2; uint64 Tsize = 3 }              (all three always written)
    UnixFS  { enum Type = 1; bytes Data = 2; uint64 filesize = 3; repeated uint64 blocksizes = 4 }

Sizes stand in file nodes only, unpacked; Data stands in symbolic links only, which are written but never read.

Sources: https://ipld.io/specs/codecs/dag-pb/spec/ and https://specs.ipfs.tech/unixfs/. Mode, mtime, inline data, hash
type and fan-out do not occur in the profile ``unixfs-v1-2025``, so a node that has one is not canonical.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from protocol.cid import RAW, Cid, cid_from_bytes
from protocol.errors import InvalidInput, NotCanonical
from protocol.types import Digest
from protocol.varint import encode_varint

_VARINT, _BYTES = 0, 2  # protobuf wire types
_MAX_VARINT = 2**64 - 1
_MAX_VARINT_BYTES = 10
MAX_LINKS = 1024  # of a node; the profile's width
MAX_DIRECTORY_BYTES = 256 * 1024  # a directory whose node would be larger is hashed (HAMT) in the profile
MAX_DIRECTORY_LINKS = MAX_DIRECTORY_BYTES // 45  # as many as names of one byte leave room for
_SYMLINK = 4  # UnixFS type
_LINK_HEAD = bytes((1 << 3 | _BYTES, 36))  # a CID's 36 bytes follow
_LEAST_LINK = 45  # bytes of a link without a name
_NAME_AT = 2 + 36 + 1  # where a link says how long its name is
_REMEMBERED = 128  # nodes: whoever opens an artifact needs each of them several times
_LONGEST_REMEMBERED = 16 * 1024  # bytes of such a node: files of up to 300 MiB have one
_ANY_CID = Cid(RAW, Digest(bytes(32)))  # all are of one length
_DO = "Import the content again with the profile unixfs-v1-2025."


class Kind(enum.IntEnum):
    """The UnixFS types that artifacts use; leaves are raw blocks and have none."""

    DIRECTORY = 1
    FILE = 2


@dataclass(frozen=True, slots=True)
class PbLink:
    """One link of a node: ``name`` is empty inside files, ``total_size`` is Tsize: all bytes of all blocks below."""

    cid: Cid
    name: str
    total_size: int


@dataclass(frozen=True, slots=True)
class Node:
    """A directory, or an inner node of a file: then ``sizes`` are the content bytes below each link."""

    kind: Kind
    links: tuple[PbLink, ...]
    sizes: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Content bytes below this node; 0 for a directory."""
        return sum(self.sizes)


def encode_node(node: Node) -> bytes:
    """Return the block of ``node``."""
    is_small = sum(_LEAST_LINK + len(link.name) for link in node.links) <= _LONGEST_REMEMBERED
    return _remembered_encoding(node) if is_small else _encode(node)


def _encode(node: Node) -> bytes:
    unixfs = bytearray(_number(1, node.kind))
    if node.kind is Kind.FILE:
        unixfs += _number(3, node.size)
        for size in node.sizes:
            unixfs += _number(4, size)
    block = bytearray()
    for link in node.links:
        block += _string(2, _encode_link(link))
    return bytes(block + _string(1, bytes(unixfs)))


def encode_symlink(target: bytes) -> bytes:
    """Return the block of a symbolic link to the path ``target``."""
    return _string(1, _number(1, _SYMLINK) + _string(2, target))


def link_bytes(name: str, total_size: int) -> int:
    """Return how many bytes a link takes in its node."""
    return len(_string(2, _encode_link(PbLink(_ANY_CID, name, total_size))))


def decode_node(block: bytes, most: int = MAX_LINKS) -> Node:
    """Return the node that ``block`` encodes, which has at most ``most`` links.

    Whatever a lenient reader would pass over (unknown or repeated fields, another order, long varints, a file size that
    is not the sum) shows as a difference when the node is encoded again.

    Raises:
        NotCanonical: The block is not a node, has more than ``most`` links or 1024 sizes, or is not in its canonical
            encoding. Reading ends at the first field too many, so a hostile block costs no more than an honest one.
    """
    return (_remembered_node if len(block) <= _LONGEST_REMEMBERED else _decode)(block, most)


def forget_nodes() -> None:
    """Forget the nodes that were encoded and decoded."""
    _remembered_node.cache_clear()
    _remembered_encoding.cache_clear()


def _decode(block: bytes, most: int) -> Node:
    links: list[PbLink] = []
    unixfs = b""
    for number, value in _fields(block, most + 1):
        if number == 2 and isinstance(value, bytes):
            links.append(_decode_link(value))
        elif number == 1 and isinstance(value, bytes):
            unixfs = value
    kind, sizes = _decode_unixfs(unixfs)
    node = Node(kind, tuple(links), sizes)
    if encode_node(node) != block:
        raise NotCanonical(
            "A dag-pb node is not in its canonical encoding.", "Its bytes differ when encoded again.", _DO
        )
    return node


_remembered_node = lru_cache(_REMEMBERED)(_decode)
_remembered_encoding = lru_cache(_REMEMBERED)(_encode)


def may_link(block: bytes) -> bool:
    """Whether a lenient reader, such as an IPFS node, could find links in ``block``, in whatever form they are."""
    try:
        return any(number == 2 for number, _ in _fields(block, MAX_DIRECTORY_LINKS + 1))
    except NotCanonical:
        return True


def _encode_link(link: PbLink) -> bytes:
    name = link.name.encode("utf-8")
    return b"".join(
        (
            _LINK_HEAD,
            link.cid.to_bytes(),
            b"\x12",
            encode_varint(len(name)),
            name,
            b"\x18",
            encode_varint(link.total_size),
        )
    )


def _decode_link(data: bytes) -> PbLink:
    target, name, total_size = _canonical_fields(data) or _any_fields(data)
    if not (isinstance(target, bytes) and isinstance(name, bytes) and isinstance(total_size, int)):
        raise NotCanonical("A dag-pb link lacks its hash, name or size.", "All three are always written.", _DO)
    try:
        return PbLink(cid_from_bytes(target), name.decode("utf-8"), total_size)
    except InvalidInput as error:
        raise NotCanonical("A dag-pb link names a foreign CID.", str(error)) from error
    except UnicodeDecodeError as error:
        raise NotCanonical("The name of a dag-pb link is not UTF-8.", "Names are text.", _DO) from error


def _canonical_fields(data: bytes) -> tuple[bytes, bytes, int] | None:
    """Return hash, name and size of a link as `_encode_link` writes it, in a fraction of the time; None of any other."""
    at = _NAME_AT
    if len(data) <= at + 1 or data[:2] != _LINK_HEAD or data[at - 1] != 0x12 or data[at] > 0x7F:
        return None
    end = at + 1 + data[at]
    if len(data) <= end or data[end] != 0x18:
        return None
    total_size, after = _read_varint(data, end + 1)
    return (data[2 : at - 1], data[at + 1 : end], total_size) if after == len(data) else None


def _any_fields(data: bytes) -> tuple[int | bytes | None, int | bytes | None, int | bytes | None]:
    values = dict(_fields(data, 3))
    return values.get(1), values.get(2), values.get(3)


def _decode_unixfs(data: bytes) -> tuple[Kind, tuple[int, ...]]:
    kind = 0
    sizes: list[int] = []
    for number, value in _fields(data, MAX_LINKS + 2):
        if number == 1 and isinstance(value, int):
            kind = value
        elif number == 4 and isinstance(value, int):
            sizes.append(value)
    if kind not in (Kind.DIRECTORY, Kind.FILE):
        raise NotCanonical(
            f"A dag-pb node has UnixFS type {kind}.", "Only directories (1) and file nodes (2) are used.", _DO
        )
    return Kind(kind), tuple(sizes)


def _number(field: int, value: int) -> bytes:
    return encode_varint(field << 3 | _VARINT) + encode_varint(value)


def _string(field: int, value: bytes) -> bytes:
    return encode_varint(field << 3 | _BYTES) + encode_varint(len(value)) + value


def _fields(data: bytes, most: int) -> Iterator[tuple[int, int | bytes]]:
    """Yield (field number, value) of a message of at most ``most``; only varints and byte strings occur in ours."""
    at = 0
    for count in itertools.count(1):
        if at >= len(data):
            return
        if count > most:
            raise NotCanonical(f"A dag-pb message has more than {most} fields.", "Honest ones have not.", _DO)
        tag, at = _read_varint(data, at)
        value, at = _read_varint(data, at)
        if tag & 7 == _VARINT:
            yield tag >> 3, value
        elif tag & 7 == _BYTES and value <= len(data) - at:
            yield tag >> 3, data[at : at + value]
            at += value
        else:
            raise NotCanonical("A dag-pb node is cut short or of foreign wire type.", "It is not a node.", _DO)


def _read_varint(data: bytes, start: int) -> tuple[int, int]:
    """Return the number at ``start`` and the position after it."""
    if start < len(data) and data[start] < 0x80:  # nearly all are of one byte
        return data[start], start + 1
    value = 0
    for position, byte in enumerate(data[start : start + _MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * position
        if byte < 0x80 and value <= _MAX_VARINT:
            return value, start + position + 1
        if byte < 0x80:
            break
    raise NotCanonical("A dag-pb node holds a broken number.", "It is cut short or over 64 bits.", _DO)
