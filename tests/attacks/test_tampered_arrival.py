"""Attack: mallory, who can write to the disk where blocks lie, changes an update after it was verified and before it is
merged, so that the merge takes bytes that no digest on chain names; or he publishes a tree that is not the canonical one
and hopes that whoever hashes leaves in place looks at nothing else.

Verdict: a leaf whose file is not the one that was verified is verified again before a byte of it is used, and then it is
corrupt, or is mended from another source. Trees are refused as by a fetch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from network import leaf_verifier
from network.arrival import open_artifact
from network.directory_store import DirectoryStore
from network.hashed_files import Hashed, hash_files
from network.transfer import fetch, publish
from protocol.cid import RAW, block_cid
from protocol.content import Content
from protocol.dag_pb import Kind, Node, PbLink
from protocol.errors import BlockCorrupt, NotCanonical, RondoError, TooLarge
from protocol.types import Digest
from protocol.unixfs import CHUNK, Block
from tests.attacks.forged_dags import LIMIT, NAME, publish_forged
from tests.protocol.blocks import Blocks

LEAVES = [bytes([number]) * CHUNK for number in range(5)]


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path)


@pytest.fixture
def update(store: DirectoryStore) -> Content:
    """Alice's update, as the merge holds it."""
    return open_artifact(store, publish(store, {NAME: b"".join(LEAVES)}), LIMIT)[NAME]


def leaf_file(store: DirectoryStore, number: int) -> Path:
    return store.path(block_cid(RAW, LEAVES[number]))


def in_place(store: DirectoryStore) -> None:
    with leaf_file(store, 2).open("r+b") as file:
        file.write(b"mallory")


def by_rename(store: DirectoryStore) -> None:
    other = store.root / "mallory"
    other.write_bytes(b"m" * CHUNK)
    other.rename(leaf_file(store, 2))


def by_exchange(store: DirectoryStore) -> None:
    """Both files hold what was verified, under the other's name."""
    leaf_file(store, 2).rename(store.root / "aside")
    leaf_file(store, 3).rename(leaf_file(store, 2))
    (store.root / "aside").rename(leaf_file(store, 3))


def by_link(store: DirectoryStore) -> None:
    leaf_file(store, 2).unlink()
    leaf_file(store, 2).symlink_to(leaf_file(store, 3))


@pytest.mark.parametrize("tamper", [in_place, by_rename, by_exchange, by_link])
def test_changed_after_it_was_verified(
    tamper: Callable[[DirectoryStore], None], store: DirectoryStore, update: Content
) -> None:
    tamper(store)
    with pytest.raises(BlockCorrupt):
        update.read(2 * CHUNK, 2 * CHUNK + 10)
    with pytest.raises(BlockCorrupt):
        update.read_into(0, memoryview(bytearray(5 * CHUNK)))
    assert update.read(0, 2 * CHUNK) == b"".join(LEAVES[:2])


def test_changed_between_hashing_and_the_end_of_opening(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def then_tampered(paths: list[str], size: int) -> list[Hashed | None]:
        found = hash_files(paths, size)
        in_place(store)
        return found

    monkeypatch.setattr(leaf_verifier, "hash_files", then_tampered)
    update = open_artifact(store, publish(store, {NAME: b"".join(LEAVES)}), LIMIT)[NAME]
    with pytest.raises(BlockCorrupt):
        update.read(0, 5 * CHUNK)


# Trees


def honest(blocks: Blocks) -> Node:
    return Node(Kind.FILE, tuple(map(blocks.leaf, LEAVES)), (CHUNK,) * len(LEAVES))


def wrong_tsize(blocks: Blocks) -> Digest:
    file = blocks.node(honest(blocks))
    return publish_forged(blocks, replace(file, total_size=file.total_size + 1))


def short_leaf(blocks: Blocks) -> Digest:
    """The node says that the last leaf is a whole one; its own length shows that it is not."""
    node = honest(blocks)
    short = PbLink(blocks.leaf(b"short").cid, "", CHUNK)
    return publish_forged(blocks, blocks.node(replace(node, links=(*node.links[:-1], short))))


def other_chunks(blocks: Blocks) -> Digest:
    halves = [LEAVES[0][: CHUNK // 2]] * 4
    node = Node(Kind.FILE, tuple(map(blocks.leaf, halves)), (CHUNK // 2,) * 4)
    return publish_forged(blocks, blocks.node(node))


def raw_with_a_wrong_tsize(blocks: Blocks) -> Digest:
    return publish_forged(blocks, replace(blocks.leaf(b"{}"), total_size=CHUNK))


def node_above_one_leaf(blocks: Blocks) -> Digest:
    return publish_forged(blocks, blocks.node(Node(Kind.FILE, (blocks.leaf(b"{}"),), (2,))))


def large_raw_leaf(blocks: Blocks) -> Digest:
    return publish_forged(blocks, replace(blocks.leaf(bytes(CHUNK + 1)), total_size=2))


def same_leaf_again(blocks: Blocks) -> Digest:
    """A gigabyte in one leaf and one node: within no limit, and known from the node alone."""
    leaf = blocks.leaf(bytes(CHUNK))
    return publish_forged(blocks, blocks.node(Node(Kind.FILE, (leaf,) * 1024, (CHUNK,) * 1024)))


@pytest.mark.parametrize(
    ("forge", "error"),
    [
        (wrong_tsize, NotCanonical),
        (short_leaf, NotCanonical),
        (other_chunks, NotCanonical),
        (raw_with_a_wrong_tsize, NotCanonical),
        (node_above_one_leaf, NotCanonical),
        (large_raw_leaf, NotCanonical),
        (same_leaf_again, TooLarge),
    ],
)
def test_trees_are_refused_as_by_a_fetch(
    forge: Callable[[Blocks], Digest], error: type[RondoError], store: DirectoryStore
) -> None:
    blocks = Blocks()
    digest = forge(blocks)
    store.put_blocks([Block(cid, data) for cid, data in blocks.data.items()])
    for read in (fetch, open_artifact):
        with pytest.raises(error):
            read(store, digest, LIMIT)
