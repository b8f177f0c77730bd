"""CIDs: one text and one binary form each, and nothing but CIDv1, raw or dag-pb, sha2-256, base32."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.cid import DAG_PB, RAW, Cid, block_cid, cid_from_bytes, directory_cid, parse_cid, verify_block
from protocol.errors import BlockCorrupt, InvalidInput
from protocol.types import Digest

EMPTY_FILE = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
EMPTY_DIRECTORY = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"

cids = st.builds(Cid, st.sampled_from([RAW, DAG_PB]), st.binary(min_size=32, max_size=32).map(Digest))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        EMPTY_FILE.upper(),
        EMPTY_FILE[:-1],
        EMPTY_FILE + "a",
        EMPTY_FILE[:-1] + "v",  # the same bytes with other spare bits
        EMPTY_FILE[:-1] + "1",  # not a letter of base32
        "c" + EMPTY_FILE[1:],
        "é" + EMPTY_FILE[1:],
        "b" + "é" + EMPTY_FILE[2:],
        f"ipfs://{EMPTY_FILE}",
        f"/ipfs/{EMPTY_FILE}",
        f" {EMPTY_FILE}",
        f"{EMPTY_FILE}\n",
        "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn",  # CIDv0
        "bafyreigaknpexyvxt76zgkitavbwx6ejgfheup5oybpm77f3pxzrvwpfdi",  # dag-cbor
        "bafkqabtimvwgy3yk",  # identity hash
        "bafkrwiduykq6twwecs26acmhg7xfyvfkmcwlgcgnq75ltvkbyftjyfuz7u",  # another hash function
    ],
)
def test_refuses_every_other_spelling(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a CID that Rondo uses"):
        parse_cid(text)


@pytest.mark.parametrize(
    "data", [b"", bytes(36), bytes([1, 0x71, 0x12, 32]) + bytes(32), b"\x01\x55\x12\x20" + bytes(31)]
)
def test_refuses_other_binary_forms(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        cid_from_bytes(data)


@pytest.mark.parametrize(("codec", "length"), [(0x71, 32), (0, 32), (RAW, 31), (DAG_PB, 33)])
def test_makes_no_other_cid(codec: int, length: int) -> None:
    with pytest.raises(InvalidInput, match="No CID has codec"):
        Cid(codec, Digest(bytes(length)))


def test_known_cids() -> None:
    assert str(block_cid(RAW, b"")) == EMPTY_FILE
    assert str(block_cid(DAG_PB, b"\x0a\x02\x08\x01")) == EMPTY_DIRECTORY
    assert parse_cid(EMPTY_FILE) == Cid(RAW, Digest(hashlib.sha256(b"").digest()))
    assert str(directory_cid(parse_cid(EMPTY_DIRECTORY).digest)) == EMPTY_DIRECTORY


@given(cids)
def test_both_forms_round_trip(cid: Cid) -> None:
    assert parse_cid(str(cid)) == cid
    assert cid_from_bytes(cid.to_bytes()) == cid
    assert len(cid.to_bytes()) == 36


@given(st.text(max_size=70) | st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=58, max_size=58).map("b".__add__))
def test_what_is_accepted_is_what_is_printed(text: str) -> None:
    try:
        cid = parse_cid(text)
    except InvalidInput:
        return
    assert str(cid) == text


def test_verify_block_refuses_other_bytes() -> None:
    cid = block_cid(RAW, b"alice's update")
    verify_block(cid, b"alice's update")
    with pytest.raises(BlockCorrupt, match=str(cid)) as caught:
        verify_block(cid, b"alice's Update", "mallory's node")
    assert caught.value.cid == str(cid)
    assert "mallory's node" in str(caught.value)
