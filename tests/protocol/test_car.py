"""CAR: Kubo's bytes (vectors, and the real one where it is), what is written reads back, and every broken file is named."""

from __future__ import annotations

import hashlib
import io
import json
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.local_tree import import_path
from protocol.car import MAX_ROOTS, encode_car, encode_car_block, encode_car_header, read_car_blocks, read_car_header
from protocol.cid import DAG_PB, MAX_BLOCK, RAW, Cid, block_cid
from protocol.errors import BlockCorrupt, InvalidInput, NotCanonical
from protocol.types import Digest
from protocol.unixfs import Block, child_cids
from protocol.varint import encode_varint
from tests.network.ipfs_command import IpfsCommand
from tests.network.kubo import IPFS, NO_IPFS
from tests.protocol.blocks import Blocks
from tests.protocol.content_patterns import write_tree

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent.parent / "vectors/car.json").read_text())
needs_ipfs = pytest.mark.skipif(IPFS is None, reason=NO_IPFS)
WHERE = "round-3.car"


def raw(data: bytes) -> Block:
    return Block(block_cid(RAW, data), data)


ALICE, BOB = raw(b"alice's update"), raw(b"bob's update")
HEADER = encode_car_header([ALICE.cid])
CAR = HEADER + encode_car_block(ALICE) + ALICE.data
cids = st.builds(Cid, st.sampled_from([RAW, DAG_PB]), st.binary(min_size=32, max_size=32).map(Digest))
blocks = st.builds(
    lambda codec, data: Block(block_cid(codec, data), data), st.sampled_from([RAW, DAG_PB]), st.binary(max_size=300)
)


def write(roots: Sequence[Cid], content: Sequence[Block]) -> bytes:
    return b"".join(encode_car(roots, content))


def read(data: bytes) -> tuple[tuple[Cid, ...], list[Block]]:
    stream = io.BytesIO(data)
    return read_car_header(stream, WHERE), list(read_car_blocks(stream, WHERE))


def cbor_head(major: int, value: int) -> bytes:
    """DAG-CBOR's shortest head of a major type (https://www.rfc-editor.org/rfc/rfc8949#section-3)."""
    if value < 24:
        return bytes([major << 5 | value])
    width = next(width for width in (1, 2, 4) if value < 256**width)
    return bytes([major << 5 | 23 + width.bit_length()]) + value.to_bytes(width, "big")


def header(roots: Sequence[bytes], version: bytes = b"\x01", array: bytes | None = None) -> bytes:
    """A header put together by the specification, independently of the writer's constants."""
    tagged = b"".join(b"\xd8\x2a" + cbor_head(2, len(cid) + 1) + b"\x00" + cid for cid in roots)
    array = cbor_head(4, len(roots)) if array is None else array
    body = cbor_head(5, 2) + cbor_head(3, 5) + b"roots" + array + tagged + cbor_head(3, 7) + b"version" + version
    return encode_varint(len(body)) + body


# What is refused


@pytest.mark.parametrize("length", range(len(CAR)))
def test_a_file_that_is_cut_anywhere_is_refused_or_ends_at_a_block(length: int) -> None:
    if length == len(HEADER):
        assert read(CAR[:length]) == ((ALICE.cid,), [])
        return
    with pytest.raises(NotCanonical, match=WHERE):
        read(CAR[:length])


ROOT = ALICE.cid.to_bytes()
BODY = HEADER[1:]


@pytest.mark.parametrize(
    "data",
    {
        "nothing": b"",
        "no CAR": b"PK\x03\x04 some other file",
        "an empty header": b"\x00",
        "version 0": header([ROOT], b"\x00"),
        "version 2": header([ROOT], b"\x02"),
        "version 2 as files of version 2 begin": bytes.fromhex("0aa16776657273696f6e02"),
        "version 1 in two bytes": header([ROOT], b"\x18\x01"),
        "version 1 as a float": header([ROOT], b"\xfb\x3f\xf0\x00\x00\x00\x00\x00\x00"),
        "no version": encode_varint(len(BODY) - 9) + b"\xa1" + BODY[1:-9],
        "no roots": b"\x0a\xa1\x67version\x01",
        "version before roots": encode_varint(len(BODY)) + b"\xa2" + BODY[-9:] + BODY[1:-9],
        "a third field": encode_varint(len(BODY) + 4) + b"\xa3" + BODY[1:] + b"\x62ab\x01",
        "bytes after the map": encode_varint(len(BODY) + 1) + BODY + b"\x00",
        "a map without end": encode_varint(len(BODY) + 1) + b"\xbf" + BODY[1:] + b"\xff",
        "an array without end": header([ROOT], array=b"\x9f"),
        "an array that promises more": header([ROOT], array=b"\x82"),
        "an array that promises less": header([ROOT, ROOT], array=b"\x81"),
        "a count in two bytes too many": header([ROOT], array=b"\x98\x01"),
        "a root that is CIDv0": header([ROOT[2:]]),
        "a root with an identity hash": header([b"\x01\x55\x00\x04root"]),
        "a root of another codec": header([b"\x01\x71" + ROOT[2:]]),
        "a root of another hash": header([ROOT[:2] + b"\x16\x20" + ROOT[4:]]),
        "a root without its prefix": HEADER.replace(b"\x58\x25\x00", b"\x58\x25\x01"),
        "a root of another tag": HEADER.replace(b"\xd8\x2a", b"\xd8\x2b"),
        "a root that is text": HEADER.replace(b"\x58\x25", b"\x78\x25"),
        "255 roots with a count of two bytes": header([ROOT] * 255, array=b"\x99\x00\xff"),
        "more roots than any round has": header([ROOT] * (MAX_ROOTS + 1)),
        "a length in two bytes too many": b"\xba\x00" + BODY,
        "a length of 11 KiB": encode_varint(11 * 1024) + BODY,
        "a length of 2 GiB": encode_varint(2**31) + BODY,
        "a length without end": b"\xff" * 20,
    }.items(),
    ids=lambda pair: pair[0],
)
def test_other_headers_are_refused(data: tuple[str, bytes]) -> None:
    with pytest.raises(NotCanonical, match=f"{WHERE} cannot be read as a CAR"):
        read_car_header(io.BytesIO(data[1] + b"trailing" * 2000), WHERE)


def entry(cid: bytes, data: bytes) -> bytes:
    return encode_varint(len(cid) + len(data)) + cid + data


@pytest.mark.parametrize(
    "more",
    {
        "a length of 0": b"\x00",
        "only zeros": bytes(64),
        "less than a CID": encode_varint(35) + ROOT,
        "over 2 MiB": entry(ROOT, bytes(MAX_BLOCK + 1)),
        "a length that is cut": b"\x80",
        "a length in three bytes where two do": b"\xb2\x80\x00" + ROOT + ALICE.data,
        "a length of 2**28": b"\x80\x80\x80\x80\x01" + ROOT,
        "a length without end": b"\xff" * 50,
        "CIDv0": entry(ROOT[2:], b"alice's update"),
        "an identity hash": entry(b"\x01\x55\x00\x20" + b"i" * 32, b""),
        "an identity hash with bytes after it": entry(b"\x01\x55\x00\x04abcd", bytes(40)),
        "another codec": entry(b"\x01\x71" + ROOT[2:], ALICE.data),
        "another hash": entry(ROOT[:2] + b"\x16\x20" + ROOT[4:], ALICE.data),
        "a header once more": HEADER,
    }.items(),
    ids=lambda pair: pair[0],
)
def test_other_blocks_are_refused_after_those_before_them(more: tuple[str, bytes]) -> None:
    stream = io.BytesIO(CAR + more[1])
    read_car_header(stream, WHERE)
    found = read_car_blocks(stream, WHERE)
    assert next(found) == ALICE
    with pytest.raises(NotCanonical, match=WHERE):
        next(found)


def test_a_block_that_is_another_is_refused_by_name() -> None:
    forged = HEADER + encode_car_block(ALICE) + b"mallory update"
    with pytest.raises(BlockCorrupt, match=f"{ALICE.cid} in {WHERE}"):
        read(forged)


def test_no_more_is_read_than_a_block_may_have() -> None:
    class Endless(io.RawIOBase):
        """A CAR of one block that says it is 2 GiB - 1, the most that four bytes can say; it counts what is taken."""

        def __init__(self) -> None:
            self.start, self.taken = io.BytesIO(HEADER + b"\xff\xff\xff\x7f"), 0

        def read(self, size: int = -1) -> bytes:
            data = self.start.read(size) or bytes(size)
            self.taken += len(data)
            return data

    stream = Endless()
    read_car_header(stream, WHERE)
    with pytest.raises(NotCanonical, match="too large"):
        next(read_car_blocks(stream, WHERE))
    assert stream.taken == len(HEADER) + 4


def test_writing_refuses_what_reading_would() -> None:
    with pytest.raises(InvalidInput, match=f"{MAX_ROOTS + 1} roots"):
        encode_car_header([ALICE.cid] * (MAX_ROOTS + 1))
    large = raw(bytes(MAX_BLOCK + 1))
    with pytest.raises(InvalidInput, match=str(large.cid)):
        write([large.cid], [large])
    largest = raw(bytes(MAX_BLOCK))
    assert read(write([largest.cid], [largest])) == ((largest.cid,), [largest])


@given(st.binary(max_size=200))
def test_anything_else_is_refused_by_name(data: bytes) -> None:
    for whole in (data, HEADER + data, CAR + data):
        try:
            roots, content = read(whole)
        except (NotCanonical, BlockCorrupt):
            continue
        assert write(roots, content) == whole


@given(st.data())
def test_a_changed_byte_is_refused_or_names_another_root(data: st.DataObject) -> None:
    at, byte = data.draw(st.integers(0, len(CAR) - 1)), data.draw(st.integers(0, 255))
    changed = CAR[:at] + bytes([byte]) + CAR[at + 1 :]
    if changed == CAR:
        return
    try:
        roots, content = read(changed)
    except (NotCanonical, BlockCorrupt):
        return
    assert write(roots, content) == changed
    assert (roots, content) != ((ALICE.cid,), [ALICE])


# What is written and read


@pytest.mark.parametrize("count", [0, 1, 2, 23, 24, 100, 255, 256, 65_535, 65_536])
def test_headers_are_the_specifications(count: int) -> None:
    roots = [block_cid(RAW, b"%d" % number) for number in range(count)]
    expected = header([root.to_bytes() for root in roots])
    assert encode_car_header(roots) == expected
    stream = io.BytesIO(expected + b"rest")
    assert read_car_header(stream, WHERE) == tuple(roots)
    assert stream.read() == b"rest", "not a byte more is taken"
    assert count <= MAX_ROOTS


@given(st.lists(cids, max_size=30), st.lists(blocks, max_size=8))
def test_what_is_written_reads_back(roots: list[Cid], content: list[Block]) -> None:
    assert read(write(roots, content)) == (tuple(roots), content)


@given(st.lists(blocks, max_size=4), st.integers(1, 40))
def test_short_reads_make_no_difference(content: list[Block], most: int) -> None:
    class Pipe(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, most))

    stream = Pipe(write([ALICE.cid], content))
    assert read_car_header(stream, WHERE) == (ALICE.cid,)
    assert list(read_car_blocks(stream, WHERE)) == content


def test_blocks_come_one_at_a_time_and_are_not_copied() -> None:
    content = [raw(bytes([number]) * 1024 * 1024) for number in range(12)]
    data = write([ALICE.cid], content)
    parts = list(encode_car([ALICE.cid], content))
    assert all(any(part is block.data for part in parts) for block in content), "data are handed on as they are"
    stream = io.BytesIO(data)
    read_car_header(stream, WHERE)
    tracemalloc.start()
    for number, block in enumerate(read_car_blocks(stream, WHERE)):
        assert block.cid == content[number].cid
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.2 * 1024 * 1024, "the block in hand and the one being read"


# Kubo's


def tree(vector: dict[str, Any], place: Path) -> Path:
    """What a vector's CAR is of: a lone file itself, anything else the directory."""
    made = write_tree(place, vector["entries"])
    return made / min(vector["entries"]) if len(vector["entries"]) == 1 else made


def in_kubos_order(root: Cid, store: Blocks) -> Iterator[Block]:
    """Depth first, parents before children, each block once: the order of `ipfs dag export`."""
    waiting, seen = [root], set[Cid]()
    while waiting:
        cid = waiting.pop()
        if cid not in seen:
            seen.add(cid)
            yield Block(cid, store.data[cid])
            waiting += reversed(child_cids(Block(cid, store.data[cid])))


@pytest.mark.parametrize("vector", VECTORS["cars"], ids=lambda vector: vector["name"])
def test_our_car_of_a_tree_is_kubos_to_the_byte(vector: dict[str, Any], tmp_path: Path) -> None:
    store = Blocks()
    root = import_path(tree(vector, tmp_path / "tree"), store.emit)
    assert str(root.cid) == vector["cid"]
    ours = write([root.cid], list(in_kubos_order(root.cid, store)))
    if "car" in vector:
        assert ours.hex() == vector["car"]
    assert (len(ours), hashlib.sha256(ours).hexdigest()) == (vector["length"], vector["sha256"])


@pytest.mark.parametrize("vector", [one for one in VECTORS["cars"] if "car" in one], ids=lambda vector: vector["name"])
def test_kubos_car_is_read(vector: dict[str, Any], tmp_path: Path) -> None:
    store = Blocks()
    root = import_path(tree(vector, tmp_path / "tree"), store.emit)
    roots, content = read(bytes.fromhex(vector["car"]))
    assert roots == (root.cid,)
    assert {block.cid: block.data for block in content} == store.data
    assert content[0].cid == root.cid


@pytest.fixture(scope="module")
def ipfs(tmp_path_factory: pytest.TempPathFactory) -> IpfsCommand:
    return IpfsCommand(tmp_path_factory.mktemp("ipfs"))


@needs_ipfs
@pytest.mark.parametrize("vector", VECTORS["cars"], ids=lambda vector: vector["name"])
def test_this_kubo_writes_the_vectors(vector: dict[str, Any], tmp_path: Path, ipfs: IpfsCommand) -> None:
    words = ("add", "-r", "-Q", "--cid-version=1", "--raw-leaves", "--chunker=size-1048576", "--max-file-links=1024")
    cid = ipfs.run(*words, str(tree(vector, tmp_path / "tree"))).decode().strip()
    car = ipfs.run("dag", "export", "--progress=false", cid)
    assert (cid, hashlib.sha256(car).hexdigest()) == (vector["cid"], vector["sha256"])
    roots, content = read(car)
    assert [str(root) for root in roots] == [cid]
    assert all(block_cid(block.cid.codec, block.data) == block.cid for block in content)


@needs_ipfs
@pytest.mark.parametrize("count", [1, 23, 24, 255, 256, 1000])
def test_this_kubo_imports_ours(count: int, ipfs: IpfsCommand) -> None:
    leaves = [raw(f"{count}, {number}".encode()) for number in range(count)]
    car = write([leaf.cid for leaf in leaves], [*leaves, ALICE])
    said = ipfs.run("dag", "import", "--stats", stdin=car).decode()
    assert said.count("success") == count
    assert f"Imported {count + 1} blocks" in said
    for block in (ALICE, leaves[0], leaves[-1]):
        assert ipfs.run("block", "get", str(block.cid)) == block.data


@needs_ipfs
def test_this_kubo_reads_a_tree_that_came_as_our_car(tmp_path: Path, ipfs: IpfsCommand) -> None:
    entries = {"d/big": {"pattern": "counter", "size": 2 * 1024 * 1024 + 9}, "small": {"pattern": "counter", "size": 9}}
    place, store = write_tree(tmp_path / "tree", entries), Blocks()
    root = import_path(place, store.emit)
    leaf_first = [Block(cid, store.data[cid]) for cid in dict.fromkeys(store.order)]
    ipfs.run("dag", "import", stdin=write([root.cid], leaf_first))
    for name in entries:
        assert ipfs.run("cat", f"/ipfs/{root.cid}/{name}") == (place / name).read_bytes()
    assert ipfs.run("dag", "stat", "--progress=false", str(root.cid))
