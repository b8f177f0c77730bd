"""dag-pb and UnixFS: one encoding a node; every other encoding of the same node is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import dag_pb
from protocol.cid import DAG_PB, RAW, Cid
from protocol.dag_pb import Kind, Node, PbLink, decode_node, encode_node
from protocol.errors import NotCanonical
from protocol.types import Digest

HASH = bytes([1, RAW, 0x12, 0x20]) + bytes(range(32))
LINK = b"\x0a\x24" + HASH + b"\x12\x01a\x18\x05"
DIRECTORY = b"\x12" + bytes([len(LINK)]) + LINK + b"\x0a\x02\x08\x01"
FILE_LINK = b"\x0a\x24" + HASH + b"\x12\x00\x18\x05"
FILE = b"\x12" + bytes([len(FILE_LINK)]) + FILE_LINK + b"\x0a\x06\x08\x02\x18\x05\x20\x05"

cids = st.builds(Cid, st.sampled_from([RAW, DAG_PB]), st.binary(min_size=32, max_size=32).map(Digest))
sizes = st.integers(0, 2**62)
links = st.lists(
    st.builds(PbLink, cids, st.text(st.characters(exclude_categories=["Cs"]), max_size=9), sizes), max_size=9
)
directories = links.map(lambda all_: Node(Kind.DIRECTORY, tuple(all_)))
files = st.tuples(links, st.lists(st.integers(0, 2**50), max_size=9)).map(
    lambda pair: Node(Kind.FILE, tuple(pair[0]), tuple(pair[1]))
)


def node(unixfs: bytes, *links: bytes) -> bytes:
    return b"".join(b"\x12" + bytes([len(link)]) + link for link in links) + b"\x0a" + bytes([len(unixfs)]) + unixfs


@pytest.mark.parametrize(
    ("why", "block"),
    {
        "nothing": b"",
        "no unixfs data": DIRECTORY[:-4],
        "data before links": DIRECTORY[-4:] + DIRECTORY[:-4],
        "data twice": DIRECTORY + DIRECTORY[-4:],
        "an unknown field": DIRECTORY + b"\x18\x00",
        "a field of another wire type": DIRECTORY + b"\x0d\x00\x00\x00\x00",
        "cut in a length": DIRECTORY[:1],
        "cut in a value": DIRECTORY[:-1],
        "a long varint": DIRECTORY[:-4] + b"\x0a\x82\x00\x08\x01",
        "a varint without end": b"\x80" * 11,
        "a varint over 64 bits": node(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
        "a length beyond everything": b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        "unixfs type 0, raw": node(b"\x08\x00\x12\x01x\x18\x01"),
        "unixfs type 4, symlink": node(b"\x08\x04\x12\x01x"),
        "unixfs type 5, hashed directory": node(b"\x08\x05\x28\x22\x30\x80\x02"),
        "unixfs without type": node(b"\x18\x05\x20\x05", FILE_LINK),
        "inline data": node(b"\x08\x02\x12\x01x\x18\x01"),
        "a mode": node(b"\x08\x01\x38\xa4\x03"),
        "an mtime": node(b"\x08\x01\x42\x02\x08\x01"),
        "packed sizes": node(b"\x08\x02\x18\x05\x22\x01\x05", FILE_LINK),
        "size that is not the sum": node(b"\x08\x02\x18\x06\x20\x05", FILE_LINK),
        "no size": node(b"\x08\x02\x20\x05", FILE_LINK),
        "sizes in a directory": node(b"\x08\x01\x18\x05\x20\x05", LINK),
        "a link without hash": node(b"\x08\x01", b"\x12\x01a\x18\x05"),
        "a link without name": node(b"\x08\x01", b"\x0a\x24" + HASH + b"\x18\x05"),
        "a link without size": node(b"\x08\x01", b"\x0a\x24" + HASH + b"\x12\x01a"),
        "a link with fields in another order": node(b"\x08\x01", b"\x12\x01a\x0a\x24" + HASH + b"\x18\x05"),
        "a link with an unknown field": node(b"\x08\x01", LINK + b"\x20\x00"),
        "a link whose name is a number": node(b"\x08\x01", b"\x0a\x24" + HASH + b"\x10\x01\x18\x05"),
        "a name that is not utf-8": node(b"\x08\x01", b"\x0a\x24" + HASH + b"\x12\x01\xff\x18\x05"),
        "CIDv0": node(b"\x08\x01", b"\x0a\x22" + HASH[2:] + b"\x12\x01a\x18\x05"),
        "an identity hash": node(b"\x08\x01", b"\x0a\x05\x01\x55\x00\x01x\x12\x01a\x18\x01"),
        "dag-cbor": node(b"\x08\x01", LINK.replace(HASH, b"\x01\x71" + HASH[2:])),
    }.items(),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refuses(why: str, block: bytes) -> None:
    with pytest.raises(NotCanonical):
        decode_node(block)


MILLION = 1_000_000


@pytest.mark.parametrize(
    "block",
    {
        "sizes": b"\x0a\x84\x89\x7a\x08\x02\x18\x00" + b"\x20\x00" * MILLION,
        "types": b"\x0a\x82\x89\x7a" + b"\x08\x02" * (MILLION + 1),
        "links": (b"\x12" + bytes([len(FILE_LINK)]) + FILE_LINK) * 40_000,
        "datas": b"\x0a\x00" * MILLION,
        "fields of a link": b"\x12\x80\x89\x7a" + b"\x18\x00" * MILLION,
    }.items(),
    ids=lambda pair: pair[0],
)
def test_a_hostile_block_is_refused_after_its_first_fields(
    block: tuple[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    honest = dag_pb._read_varint
    monkeypatch.setattr(dag_pb, "_read_varint", lambda data, start: read.append(start) or honest(data, start))
    with pytest.raises(NotCanonical, match="more than"):
        decode_node(block[1])
    assert 0 < len(read) < 20_000  # of up to two million


def test_the_widest_node_is_read() -> None:
    links = tuple(PbLink(Cid(RAW, Digest(bytes(32))), "", 5) for _ in range(1024))
    widest = Node(Kind.FILE, links, (5,) * 1024)
    assert decode_node(encode_node(widest)) == widest
    for wider in (replace(widest, links=(*links, links[0])), replace(widest, sizes=(5,) * 1025)):
        with pytest.raises(NotCanonical, match="more than"):
            decode_node(encode_node(wider))


def test_golden_bytes() -> None:
    cid = Cid(RAW, Digest(bytes(range(32))))
    directory = Node(Kind.DIRECTORY, (PbLink(cid, "a", 5),))
    file = Node(Kind.FILE, (PbLink(cid, "", 5),), (5,))
    assert (encode_node(directory), encode_node(file)) == (DIRECTORY, FILE)
    assert (decode_node(DIRECTORY), decode_node(FILE)) == (directory, file)
    assert (directory.size, file.size) == (0, 5)


@given(directories | files)
def test_round_trip(value: Node) -> None:
    assert decode_node(encode_node(value)) == value


@given(st.binary(max_size=200))
def test_anything_else_is_refused_by_name(data: bytes) -> None:
    try:
        value = decode_node(data)
    except NotCanonical:
        return
    assert encode_node(value) == data


@given(st.data())
def test_a_changed_byte_is_another_node_or_refused(data: st.DataObject) -> None:
    at, byte = data.draw(st.integers(0, len(FILE) - 1)), data.draw(st.integers(0, 255))
    changed = FILE[:at] + bytes([byte]) + FILE[at + 1 :]
    try:
        value = decode_node(changed)
    except NotCanonical:
        return
    assert encode_node(value) == changed


def test_a_hostile_node_is_not_remembered() -> None:
    dag_pb.forget_nodes()
    large = encode_node(Node(Kind.DIRECTORY, (PbLink(Cid(RAW, Digest(bytes(32))), "n" * 200_000, 0),)))

    decode_node(large)
    assert dag_pb._remembered_node.cache_info().currsize == dag_pb._remembered_encoding.cache_info().currsize == 0
    decode_node(encode_node(Node(Kind.DIRECTORY, ())))
    assert dag_pb._remembered_node.cache_info().currsize == 1
