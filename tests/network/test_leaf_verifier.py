"""Leaves hashed where they lie: how they are divided among threads and lanes, and what is known of them then."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.directory_store import DirectoryStore
from network.layered_store import LayeredStore
from network.leaf_verifier import LeafVerifier, _groups
from network.memory_store import MemoryStore
from protocol.errors import BlockMissing, NotCanonical
from protocol.sha256_lanes import MOST_LANES
from protocol.unixfs import Leaf
from tests.network.trees import leaf


@pytest.fixture
def local(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path)


def put(store: DirectoryStore | MemoryStore, data: bytes) -> Leaf:
    block = leaf(data)
    store.put_block(block)
    return Leaf(block.cid, 0, len(data))


@given(sizes=st.lists(st.integers(0, 3), max_size=100), workers=st.integers(1, 5))
def test_groups_are_all_leaves_by_their_lengths(sizes: list[int], workers: int) -> None:
    leaves = [Leaf(leaf(b"%d" % number).cid, number, size) for number, size in enumerate(sizes)]
    groups = _groups(leaves, workers)
    assert Counter(one for group in groups for one in group) == Counter(leaves)
    assert all(len({one.size for one in group}) == 1 and len(group) <= MOST_LANES for group in groups)


@pytest.mark.parametrize(
    ("count", "workers", "lengths"),
    [(95, 2, [16] * 5 + [15]), (19, 1, [16, 3]), (19, 2, [16, 3]), (10, 2, [8, 2]), (10, 1, [10]), (3, 2, [3])],
)
def test_groups_fill_the_lanes_and_occupy_the_workers(count: int, workers: int, lengths: list[int]) -> None:
    groups = _groups([Leaf(leaf(b"%d" % number).cid, 0, 9) for number in range(count)], workers)
    assert list(map(len, groups)) == lengths


def test_what_was_verified_is_not_hashed_again(local: DirectoryStore) -> None:
    alice, bob = put(local, b"alice"), put(local, b"bob")
    verifier = LeafVerifier(local, local, 1)
    assert verifier.verify([alice, alice]) and set(verifier.looks) == {alice.cid}
    local.path(alice.cid).write_bytes(b"mallo")
    assert verifier.verify([alice, bob])  # whoever reads it looks whether it is the file that was verified
    assert set(verifier.looks) == {alice.cid, bob.cid}
    assert local.has_block(bob.cid) and not local.has_block(alice.cid)


def test_sizes_and_looks_are_those_of_the_files(local: DirectoryStore) -> None:
    alice, verifier = put(local, b"alice"), LeafVerifier(local, local, 1)
    missing = leaf(b"eve").cid
    assert verifier.path(alice.cid) == str(local.path(alice.cid))
    assert verifier.size_of(alice.cid) == 5 and verifier.size_of(missing) is None
    verifier.take(missing)
    assert not verifier.looks
    verifier.take(alice.cid)  # the store has just written and verified it
    assert verifier.looks == {alice.cid: local.verified.unchanged(alice.cid, local.path(alice.cid))}


def test_what_is_missing_is_got_from_the_store_or_refused(local: DirectoryStore) -> None:
    source = MemoryStore()
    alice, other = put(source, b"alice"), put(source, b"other")
    with pytest.raises(BlockMissing):
        LeafVerifier(local, local, 2).verify([alice])
    assert LeafVerifier(LayeredStore([local, source]), local, 2).verify([alice])
    assert LeafVerifier(local, local, 2).verify([alice])
    with pytest.raises(NotCanonical):
        LeafVerifier(LayeredStore([local, source]), local, 2).verify([Leaf(other.cid, 0, 6)])


def test_what_lies_elsewhere_alone_is_said(local: DirectoryStore) -> None:
    """A source before the directory gives the block, which is then not written there."""
    source = MemoryStore()
    alice = put(source, b"alice")
    assert not LeafVerifier(LayeredStore([source, local]), local, 1).verify([alice])
