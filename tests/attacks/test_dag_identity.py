"""Attack: mallory puts content inside the names themselves (CIDs with the identity hash, or nodes that carry file bytes
inline), so that a link is as long as she likes and no block has to be fetched, counted or hashed for it.

Verdict: only sha2-256 names exist here. Such a link is refused with the node that holds it, such a name wherever it is
read: from text, from bytes, from a CAR.
"""

from __future__ import annotations

import base64
import io

import pytest

from protocol.car import encode_car_header, read_car_blocks, read_car_header
from protocol.cid import DAG_PB, RAW, block_cid, cid_from_bytes, parse_cid
from protocol.dag_pb import Kind, PbLink
from protocol.errors import InvalidInput, NotCanonical
from protocol.unixfs import Block, child_cids
from protocol.varint import encode_varint
from tests.attacks.forged_dags import assert_refused, publish_forged
from tests.protocol.blocks import Blocks


def identity(data: bytes, codec: int = RAW) -> bytes:
    """The binary CID that is ``data`` itself (multihash 0x00)."""
    return bytes([1, codec, 0]) + encode_varint(len(data)) + data


def field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2]) + encode_varint(len(value)) + value


def node(kind: Kind, *targets: bytes, inline: bytes = b"") -> bytes:
    """A dag-pb node with links to any bytes that call themselves CIDs, and ``inline`` file bytes."""
    links = b"".join(field(2, field(1, target) + field(2, b"a") + b"\x18\x01") for target in targets)
    return links + field(1, bytes([8, kind]) + (field(2, inline) if inline else b""))


LENGTHS = [0, 1, 32, 1000, 1024 * 1024]


@pytest.mark.parametrize("length", LENGTHS)
def test_a_directory_whose_file_is_in_its_link(length: int) -> None:
    blocks = Blocks()
    data = node(Kind.DIRECTORY, identity(bytes(length)))
    top = block_cid(DAG_PB, data)
    blocks.data[top] = data
    assert_refused(blocks, top.digest, NotCanonical, "foreign CID", fetched=1)
    assert child_cids(Block(top, data)) == ()


@pytest.mark.parametrize("length", LENGTHS)
def test_a_file_whose_leaves_are_in_its_links(length: int) -> None:
    blocks = Blocks()
    data = node(Kind.FILE, identity(bytes(length)), identity(bytes(length)))
    file = block_cid(DAG_PB, data)
    blocks.data[file] = data
    assert_refused(blocks, publish_forged(blocks, PbLink(file, "", 2)), NotCanonical, "foreign CID", fetched=2)


def test_links_inside_links() -> None:
    """Each identity CID holds a node that holds an identity CID: a bomb that would open without a single fetch."""
    blocks = Blocks()
    data = node(Kind.FILE)
    for _ in range(200):
        data = node(Kind.FILE, identity(data, DAG_PB), identity(data, DAG_PB)) if len(data) < 2**18 else data
    file = block_cid(DAG_PB, data)
    blocks.data[file] = data
    assert_refused(blocks, publish_forged(blocks, PbLink(file, "", 2)), NotCanonical, "foreign CID", fetched=2)


def test_bytes_inside_a_node() -> None:
    """File bytes in the node's own data, as Kubo writes them without --raw-leaves: a second name for them."""
    blocks = Blocks()
    data = node(Kind.FILE, inline=b"alice's weights")
    file = block_cid(DAG_PB, data)
    blocks.data[file] = data
    assert_refused(blocks, publish_forged(blocks, PbLink(file, "", 15)), NotCanonical, "canonical encoding", fetched=2)


@pytest.mark.parametrize("length", LENGTHS)
def test_such_names_are_refused_wherever_they_are_read(length: int) -> None:
    cid = identity(bytes(length))
    with pytest.raises(InvalidInput, match="not a CID that Rondo uses"):
        cid_from_bytes(cid)
    with pytest.raises(InvalidInput, match="not a CID that Rondo uses") as refusal:
        parse_cid("b" + base64.b32encode(cid).decode().rstrip("=").lower())
    assert len(str(refusal.value)) < 500, "the message does not repeat a megabyte"
    honest = block_cid(RAW, b"alice")
    car = io.BytesIO(encode_car_header([honest]) + encode_varint(len(cid)) + cid)
    assert read_car_header(car, "mallory.car") == (honest,)
    with pytest.raises(NotCanonical, match=r"mallory\.car"):
        next(read_car_blocks(car, "mallory.car"))
