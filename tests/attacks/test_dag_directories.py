"""Attack: mallory publishes an artifact whose entries are directories, of directories, of each other, hoping for a walk
that branches for ever.

Verdict: an artifact is flat. The first entry that is not a file is refused when its top node is seen; nothing below is
looked at. Directories that hold each other cannot be made at all (test_dag_cycle).
"""

from __future__ import annotations

import pytest

from protocol.cid import DAG_PB, block_cid
from protocol.dag_pb import Kind, Node, PbLink, encode_symlink
from protocol.errors import NotCanonical
from protocol.unixfs import CHUNK
from tests.attacks.forged_dags import assert_refused, publish_forged
from tests.protocol.blocks import Blocks


def bomb(blocks: Blocks, levels: int) -> PbLink:
    """Directories of eight entries, all of them the directory below: 8 ** levels paths in as many blocks as levels."""
    link = blocks.leaf(b"x")
    for _ in range(levels):
        links = tuple(PbLink(link.cid, f"{number}", link.total_size) for number in range(8))
        link = blocks.node(Node(Kind.DIRECTORY, links))
    return link


@pytest.mark.parametrize("levels", [2, 20])
def test_directories_of_directories(levels: int) -> None:
    blocks = Blocks()
    assert_refused(blocks, bomb(blocks, levels).cid.digest, NotCanonical, "directory where a file must be", fetched=2)


def test_a_directory_among_files() -> None:
    blocks = Blocks()
    file = blocks.node(Node(Kind.FILE, (blocks.leaf(bytes(CHUNK)), blocks.leaf(b"x")), (CHUNK, 1)))
    links = (PbLink(file.cid, "a", file.total_size), PbLink(blocks.node(Node(Kind.DIRECTORY, ())).cid, "b", 4))
    digest = blocks.node(Node(Kind.DIRECTORY, links)).cid.digest
    assert_refused(blocks, digest, NotCanonical, "directory where a file must be", fetched=3)


def test_a_directory_inside_a_file() -> None:
    blocks = Blocks()
    empty = blocks.node(Node(Kind.DIRECTORY, ()))
    file = blocks.node(Node(Kind.FILE, (empty, empty), (1024 * CHUNK, 1)))
    assert_refused(
        blocks, publish_forged(blocks, file), NotCanonical, "directory where a file", fetched=3, limit=2048 * CHUNK
    )


def test_a_file_in_the_artifacts_place() -> None:
    blocks = Blocks()
    file = blocks.node(Node(Kind.FILE, (blocks.leaf(bytes(CHUNK)), blocks.leaf(b"x")), (CHUNK, 1)))
    assert_refused(blocks, file.cid.digest, NotCanonical, "file where a directory must be", fetched=1)


@pytest.mark.parametrize(
    "data",
    [encode_symlink(b"/etc/passwd"), encode_symlink(b"."), b"\x0a\x07\x08\x05\x28\x22\x30\x80\x02"],
    ids=["a link out", "a link back", "a hashed directory"],
)
def test_kinds_of_nodes_that_no_artifact_has(data: bytes) -> None:
    blocks = Blocks()
    cid = block_cid(DAG_PB, data)
    blocks.data[cid] = data
    assert_refused(blocks, publish_forged(blocks, PbLink(cid, "", len(data))), NotCanonical, "UnixFS type", fetched=2)
    assert_refused(blocks, cid.digest, NotCanonical, "UnixFS type", fetched=1)
