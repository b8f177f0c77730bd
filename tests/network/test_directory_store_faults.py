"""The store on disk when the disk is full, read-only or gone: what it says, and what is left."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import network.files
from network.directory_store import DirectoryStore
from network.files import write_new
from protocol.cid import MAX_BLOCK
from protocol.errors import BlockMissing, StoreUnavailable
from tests.network.trees import leaf, node, tree

ROOT = Path(__file__).parent.parent.parent
MIB = 1024 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


def scratch(disk: DirectoryStore) -> list[Path]:
    return list((disk.root / "scratch").iterdir())


def on_small_disk(place: Path, script: str) -> None:
    """Run ``script`` with ``store``, a DirectoryStore on a disk of 8 MiB of its own that only the script sees."""
    prologue = """
import os, subprocess, sys
from pathlib import Path
from network.directory_store import DirectoryStore
from network.garbage import collect_garbage
from protocol.errors import *
from tests.network.trees import *
MIB = 1024 * 1024
place = Path(sys.argv[1])
store = DirectoryStore(place / "store")
def fill():
    with (place / "other").open("wb", buffering=0) as file:
        for size in (MIB, 4096):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                pass
def fails(call, *words):
    try:
        call()
    except StoreUnavailable as error:
        assert all(word in str(error) for word in words), error
        return
    raise AssertionError("it did not fail")
def scratch():
    return list((place / "store/scratch").iterdir())
"""
    place.mkdir()
    mount = 'mount -t tmpfs -o size=8m tmpfs "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "-rm", "sh", "-c", mount, "sh", str(place), sys.executable, prologue + script]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, check=True, cwd=ROOT, env=environment, timeout=120)


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    mount = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(mount, check=False, capture_output=True, timeout=60).returncode == 0


small_disk = pytest.mark.skipif(not can_mount(), reason="no disk of our own: unshare -rm cannot mount a tmpfs here")


@small_disk
def test_a_full_disk_is_said_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    on_small_disk(
        tmp_path / "disk",
        """
whole = [leaf(bytes([number]) * MIB) for number in range(4)]
store.put_blocks(whole)
more = [leaf(bytes([number]) * MIB) for number in range(100, 116)]
batch = [*more, node(*(block.cid for block in more))]
fails(lambda: store.put_blocks(batch), "The disk is full", "rondo pins --collect", str(place))
fill()
fails(lambda: store.put_blocks(batch), "The disk is full")
fails(lambda: store.put_block(leaf(b"alice" * 1000)), "The disk is full")
assert not scratch()
assert [store.get_block(block.cid) for block in whole] == [block.data for block in whole]
assert not any(store.has_block(block.cid) for block in batch)
store.put_blocks(whole)  # nothing has to be written
(place / "other").unlink()
half = [*more[:3], node(*(block.cid for block in more[:3]))]
store.put_blocks(half)  # the same put succeeds
assert len(read_tree(half[-1].cid, store.get_block)) == 4
""",
    )


@small_disk
def test_on_a_full_disk_a_lease_holds_and_a_collector_makes_room(tmp_path: Path) -> None:
    on_small_disk(
        tmp_path / "disk",
        """
whole = [leaf(bytes([number]) * MIB) for number in range(4)]
store.put_blocks(whole)
store.keep(whole[0].cid)
for block in whole:
    os.utime(store.path(block.cid), (0, 0))
fill()
import network.files
network.files.LOCK_SECONDS = 0.1
names = set()
with store.lease(whole[1].cid):
    # A name needs no room in a tmpfs, its text does; either way nothing is collected that the lease is on.
    try:
        collect_garbage(store)
    except StoreUnavailable as error:
        assert "gate.lock" in str(error)
    assert store.has_block(whole[1].cid)
assert not scratch()
collect_garbage(store)
assert [store.has_block(block.cid) for block in whole] == [True, False, False, False]
store.put_blocks(whole[1:])
store.keep(whole[1].cid)
""",
    )


@small_disk
def test_a_read_only_store_can_be_read_and_says_why_not_written(tmp_path: Path) -> None:
    on_small_disk(
        tmp_path / "disk",
        """
blocks = tree(range(4))
store.put_blocks(blocks)
subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
for store in (store, DirectoryStore(place / "store")):
    with store.lease(blocks[-1].cid):
        assert len(read_tree(blocks[-1].cid, store.get_block)) == len(blocks)
    words = ("Read-only file system", "not mounted read-only")
    fails(lambda: store.put_block(blocks[0]), *words)
    fails(lambda: store.put_block(leaf(b"new")), *words)
    fails(lambda: store.keep(blocks[-1].cid), *words)
    fails(lambda: store.release(blocks[-1].cid), *words)
    fails(lambda: collect_garbage(store), *words)
fails(lambda: DirectoryStore(place / "another"), *words)
""",
    )


ANOTHER_USER = """
import os, sys
from pathlib import Path
import network.files
from network.directory_store import DirectoryStore
from network.garbage import collect_garbage
from protocol.errors import StoreUnavailable
from tests.network.trees import leaf, tree
network.files.LOCK_SECONDS = 0.1
os.chdir(sys.argv[1])  # it is reached from here alone: its parents are not open to others
os.chmod(".", 0o755)
os.umask(0o022)
alice, blocks = DirectoryStore(Path("store")), tree(range(4))
alice.put_blocks(blocks)
alice.keep(blocks[-1].cid)
if sys.argv[2] == "shared":
    for path in (Path("store"), *Path("store").rglob("*")):
        if path.is_dir() or path.suffix == ".lock":
            path.chmod(0o777)
os.setuid(65534)
bob = DirectoryStore(Path("store"))
assert bob.get_block(blocks[0].cid) == blocks[0].data
calls = [lambda: bob.put_blocks(blocks), lambda: bob.put_block(leaf(b"new")), lambda: bob.keep(blocks[-1].cid),
         lambda: bob.release(blocks[-1].cid), lambda: collect_garbage(bob)]
for call in calls:
    try:
        call()
    except StoreUnavailable as error:
        assert sys.argv[2] == "private", error
        assert "Give this user the right" in str(error), error
    else:
        assert sys.argv[2] == "shared", "it did not fail"
with bob.lease(blocks[-1].cid):
    assert bob.get_block(blocks[0].cid) == blocks[0].data
assert {bob.path(block.cid).stat().st_uid for block in blocks} == {65534 if sys.argv[2] == "shared" else 0}
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("mode", ["private", "shared"])
def test_another_user_reads_and_writes_as_far_as_permitted(mode: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", ANOTHER_USER, str(tmp_path), mode]
    subprocess.run(command, check=True, cwd=ROOT, env=environment, timeout=120)


def limit_files(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_file_that_cannot_be_written_whole_leaves_nothing(disk: DirectoryStore) -> None:
    small, large = leaf(b"small"), leaf(bytes(MIB))
    batch = [small, large, node(small.cid, large.cid)]
    limit_files(MIB // 2)  # Python ignores SIGXFSZ, so writing further is an error
    try:
        with pytest.raises(StoreUnavailable, match="File too large"):
            disk.put_blocks(batch)
    finally:
        limit_files(resource.RLIM_INFINITY)
    assert scratch(disk) == []
    assert not any(disk.has_block(block.cid) for block in batch)
    disk.put_blocks(batch)
    assert all(disk.has_block(block.cid) for block in batch)


def test_a_failed_sync_is_a_failed_put(disk: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = [leaf(b"%d" % number) for number in range(20)]

    def broken(handle: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(network.files.os, "fsync", broken)
        with pytest.raises(StoreUnavailable, match="Input/output error"):
            disk.put_blocks(batch)
    assert scratch(disk) == []
    assert not any(disk.has_block(block.cid) for block in batch)


def test_slow_threads_leave_nothing_after_the_first_has_failed(
    disk: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = [leaf(b"%d" % number) for number in range(8)]

    def write(path: Path, data: bytes) -> None:
        if data == b"0":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        time.sleep(0.2)
        write_new(path, data)

    monkeypatch.setattr("network.directory_store.write_new", write)
    with pytest.raises(StoreUnavailable, match="The disk is full"):
        disk.put_blocks(batch)
    time.sleep(0.3)
    assert scratch(disk) == []


def test_nothing_is_written_where_the_store_is_not_mounted(disk: DirectoryStore) -> None:
    blocks = tree(range(4))
    disk.put_blocks(blocks)
    disk.root.rename(disk.root.with_name("elsewhere"))
    disk.root.mkdir()  # the mount point
    for call in (
        lambda: disk.put_block(leaf(b"new")),
        lambda: disk.put_blocks(blocks),
        lambda: disk.keep(blocks[-1].cid),
        lambda: disk.release(blocks[-1].cid),
        disk.kept,
        lambda: disk.get_block(blocks[0].cid),
        lambda: disk.has_block(blocks[0].cid),
    ):
        with pytest.raises(StoreUnavailable, match="Check that the directory exists"):
            call()
    assert list(disk.root.iterdir()) == []


def test_a_block_whose_place_is_taken_is_said(disk: DirectoryStore) -> None:
    one = leaf(b"a directory has its name")
    disk.path(one.cid).mkdir()
    with pytest.raises(StoreUnavailable, match="directory"):
        disk.put_block(one)
    with pytest.raises(StoreUnavailable, match="directory"):
        disk.get_block(one.cid)
    assert scratch(disk) == []


def test_keeping_what_is_not_whole_names_the_first_missing_block(disk: DirectoryStore) -> None:
    blocks = tree(range(6))
    root, second_leaf = blocks[-1].cid, blocks[1].cid
    with pytest.raises(BlockMissing, match=str(root)):
        disk.keep(root)
    disk.put_blocks(blocks)
    for damage in (lambda path: path.unlink(), lambda path: path.write_bytes(bytes(MAX_BLOCK + 1))):
        for missing in (blocks[5].cid, second_leaf):  # the last leaf, then the second: it comes first
            damage(disk.path(missing))
            with pytest.raises(BlockMissing, match=str(missing)) as caught:
                disk.keep(root)
            assert caught.value.cid == str(missing)
        assert disk.kept() == frozenset()
        disk.put_blocks(blocks)
    disk.keep(root)
    assert disk.kept() == {root}
