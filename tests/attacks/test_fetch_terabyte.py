"""Attack: mallory names content of a terabyte, or says that it is small, so that clients fill their disks with it.

Verdict: the size is known and refused before a leaf is asked for, and no file is begun; what declares little is asked for
little, whatever its leaves are.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from network.download import download, download_file, download_tree
from network.transfer import fetch, fetch_file
from protocol.cid import DAG_PB, RAW, Cid, block_cid
from protocol.dag_pb import Kind, Node, PbLink, encode_node
from protocol.errors import ArtifactRefused, TooLarge
from protocol.unixfs import CHUNK, Block
from tests.attacks.hostile_node import HostileNode

LIMIT = 512 * 1024 * 1024  # and a few seconds, so that a defect fills no disk
GIB = 1024 * CHUNK


def put(node: HostileNode, made: Node) -> PbLink:
    data = encode_node(made)
    cid = block_cid(DAG_PB, data)
    node.emit(Block(cid, data))
    return PbLink(cid, "", len(data) + sum(link.total_size for link in made.links))


def terabyte(node: HostileNode) -> PbLink:
    """A canonical tree of a tebibyte of zeros, in three blocks."""
    leaf = Block(block_cid(RAW, bytes(CHUNK)), bytes(CHUNK))
    node.emit(leaf)
    gib = put(node, Node(Kind.FILE, (PbLink(leaf.cid, "", CHUNK),) * 1024, (CHUNK,) * 1024))
    return put(node, Node(Kind.FILE, (gib,) * 1024, (GIB,) * 1024))


def directory(node: HostileNode, *links: PbLink) -> Cid:
    named = tuple(PbLink(link.cid, f"file-{number}", link.total_size) for number, link in enumerate(links))
    return put(node, Node(Kind.DIRECTORY, named)).cid


def leaves_asked(node: HostileNode) -> int:
    return sum(count for name, count in node.asked.items() if name.startswith("bafkrei"))


@pytest.mark.parametrize("get", [download, download_file])
def test_a_file_of_a_terabyte(get: Callable[..., int], tmp_path: Path) -> None:
    node = HostileNode()
    cid = terabyte(node).cid
    with node.serve() as hostile:
        with pytest.raises(TooLarge, match=str(1024 * GIB)):
            get(hostile, cid, tmp_path / "model", limit=LIMIT, seconds=5)
        with pytest.raises(TooLarge):
            fetch_file(hostile, cid, LIMIT, seconds=5)
    assert leaves_asked(node) == 0 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("get", [download, download_tree])
def test_an_artifact_of_a_terabyte(get: Callable[..., int], tmp_path: Path) -> None:
    node = HostileNode()
    cid = directory(node, terabyte(node))
    with node.serve() as hostile:
        with pytest.raises(TooLarge, match=str(1024 * GIB)):
            get(hostile, cid, tmp_path / "model", limit=LIMIT, seconds=5)
        with pytest.raises(TooLarge):
            fetch(hostile, cid.digest, LIMIT, seconds=5)
    assert leaves_asked(node) == 0 and not list(tmp_path.iterdir())


def test_a_terabyte_that_is_said_to_be_small(tmp_path: Path) -> None:
    """Tsize is the directory's word alone: the file's own node decides."""
    node = HostileNode()
    small = PbLink(terabyte(node).cid, "", 100)
    cid = directory(node, small)
    with node.serve() as hostile, pytest.raises(TooLarge):
        download(hostile, cid, tmp_path / "model", limit=LIMIT, seconds=5)
    assert leaves_asked(node) == 0


def test_leaves_that_are_larger_than_the_directory_says(tmp_path: Path) -> None:
    """A raw file's length shows when it comes: one leaf each of at most eight, and the lie is refused."""
    node = HostileNode()
    links = []
    for number in range(8):
        data = bytes([number]) * CHUNK
        node.emit(Block(block_cid(RAW, data), data))
        links.append(PbLink(block_cid(RAW, data), "", 1))
    cid = directory(node, *links)
    with node.serve() as hostile:
        with pytest.raises(ArtifactRefused):
            download(hostile, cid, tmp_path / "model", limit=8)
        assert leaves_asked(node) == 1 and not (tmp_path / "model").exists()
        node.asked.clear()
        with pytest.raises(ArtifactRefused):
            fetch(hostile, cid.digest, 8)
    assert leaves_asked(node) <= 8


def test_a_tree_that_says_less_than_it_holds(tmp_path: Path) -> None:
    """The top declares two chunks and links to a terabyte: a node where a leaf must be."""
    node = HostileNode()
    link = terabyte(node)
    lying = put(node, Node(Kind.FILE, (PbLink(link.cid, "", CHUNK),) * 2, (CHUNK, CHUNK)))
    with node.serve() as hostile, pytest.raises(ArtifactRefused):
        download(hostile, lying.cid, tmp_path / "model", limit=LIMIT, seconds=5)
    assert set(node.asked) == {str(lying.cid)}
