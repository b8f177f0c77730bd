"""Attack: mallory publishes a node of far more links than 1024, or a directory of far more files than 8, hoping that
reading it costs memory and time.

Verdict: decoding ends at the first link too many; nothing below is fetched.
"""

from __future__ import annotations

import pytest

from protocol import dag_pb
from protocol.cid import MAX_BLOCK
from protocol.dag_pb import Kind, Node, PbLink
from protocol.errors import NotCanonical
from protocol.unixfs import CHUNK
from tests.attacks.forged_dags import assert_refused, publish_forged
from tests.protocol.blocks import Blocks


@pytest.mark.parametrize("links", [1025, 5000, 40_000])
def test_a_node_that_is_too_wide(links: int, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = Blocks()
    leaf = blocks.leaf(bytes(CHUNK))
    top = blocks.node(Node(Kind.FILE, (leaf,) * links, (CHUNK,) * links))
    assert len(blocks.data[top.cid]) < MAX_BLOCK, "a store would hand it out"
    digest = publish_forged(blocks, top)
    decoded: list[int] = []
    honest = dag_pb._decode_link
    monkeypatch.setattr(dag_pb, "_decode_link", lambda data: decoded.append(1) or honest(data))
    assert_refused(blocks, digest, NotCanonical, "more than 1025 fields", fetched=2, limit=2**62)
    assert len(decoded) <= 1027, "one for the directory's, and none beyond the first too many"


@pytest.mark.parametrize("links", [9, 1024])
def test_a_directory_that_is_too_wide(links: int) -> None:
    blocks = Blocks()
    leaf = blocks.leaf(b"x")
    names = [f"{number:04}" for number in range(links)]
    digest = blocks.node(Node(Kind.DIRECTORY, tuple(PbLink(leaf.cid, name, 1) for name in names))).cid.digest
    assert_refused(blocks, digest, NotCanonical, f"{links} entries are more than 8", fetched=1)


def test_a_node_that_is_too_narrow() -> None:
    """Two half-full nodes where one full one belongs: a second name for the same bytes."""
    blocks = Blocks()
    leaf = blocks.leaf(bytes(CHUNK))
    half = blocks.node(Node(Kind.FILE, (leaf,) * 2, (2, 2)))
    top = blocks.node(Node(Kind.FILE, (half, half), (2 * CHUNK, 2 * CHUNK)))
    assert_refused(blocks, publish_forged(blocks, top), NotCanonical, "not divided as they must be", fetched=2)
