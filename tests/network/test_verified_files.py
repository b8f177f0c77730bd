"""Files that were found whole are not read again, unless anybody has written to them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest

import protocol.cid
from network import verified_files
from network.directory_store import DirectoryStore
from network.verified_files import VerifiedFiles
from tests.network.trees import leaf, tree


def test_a_file_that_was_not_remembered_or_is_gone_is_not_unchanged(tmp_path: Path) -> None:
    known, path, cid = VerifiedFiles(), tmp_path / "file", leaf(b"alice").cid
    assert not known.is_unchanged(cid, path)
    path.write_bytes(b"alice")
    assert not known.is_unchanged(cid, path)
    known.remember(cid, path.stat())
    assert known.is_unchanged(cid, path)
    path.unlink()
    assert not known.is_unchanged(cid, path)
    path.write_bytes(b"alice")
    assert not known.is_unchanged(cid, path)
    known.remember(cid, path.stat())
    known.forget(cid)
    assert not known.is_unchanged(cid, path)


def test_writing_in_place_is_seen_at_once(tmp_path: Path) -> None:
    disk = DirectoryStore(tmp_path / "store")
    for number in range(50):
        one = leaf(b"%03d" % number)
        disk.put_block(one)
        with disk.path(one.cid).open("r+b") as file:
            file.write(b"xxx")
        assert not disk.has_block(one.cid)


def test_blocks_that_were_put_or_read_are_not_hashed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = tree(range(10))
    disk = DirectoryStore(tmp_path / "store")
    disk.put_blocks(blocks)
    hashed: list[int] = []

    def sha256(data: bytes) -> object:
        hashed.append(len(data))
        return hashlib.sha256(data)

    monkeypatch.setattr(protocol.cid, "hashlib", SimpleNamespace(sha256=sha256))
    assert all(disk.has_block(block.cid) for block in blocks)
    assert hashed == []
    disk.keep(blocks[-1].cid)
    assert len(hashed) == 6  # the nodes, for their links
    another = DirectoryStore(disk.root)
    hashed.clear()
    for _ in range(2):
        assert all(another.has_block(block.cid) for block in blocks)
    assert len(hashed) == len(blocks)
    assert another.get_block(blocks[0].cid) == blocks[0].data  # bytes are hashed whenever they are handed out
    assert len(hashed) == len(blocks) + 1


def test_only_so_many_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verified_files, "MOST", 3)
    known, path = VerifiedFiles(), tmp_path / "file"
    path.write_bytes(b"")
    cids = [leaf(b"%d" % number).cid for number in range(5)]
    for cid in cids:
        known.remember(cid, path.stat())
    assert [known.is_unchanged(cid, path) for cid in cids] == [False, False, True, True, True]
