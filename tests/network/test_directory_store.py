"""The store on disk: many processes, kill -9, repair."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import network.files
import protocol.cid
from network.directory_store import DirectoryStore
from protocol.cid import MAX_BLOCK, RAW, block_cid, parse_cid, verify_block
from protocol.errors import BlockCorrupt, InvalidInput, StoreUnavailable
from protocol.unixfs import Block
from tests.network.trees import node, read_tree, tree

ROOT = Path(__file__).parent.parent.parent


def block(data: bytes) -> Block:
    return Block(block_cid(RAW, data), data)


@pytest.fixture
def disk(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


@pytest.mark.parametrize(
    "damage", [b"", b"alice's wEights", b"alice's weights and more", bytes(MAX_BLOCK + 1)], ids=len
)
def test_a_damaged_file_is_never_served_and_putting_repairs_it(damage: bytes, disk: DirectoryStore) -> None:
    one = block(b"alice's weights")
    disk.put_block(one)
    disk.path(one.cid).write_bytes(damage)
    with pytest.raises(BlockCorrupt, match=str(disk.path(one.cid))):
        disk.get_block(one.cid)
    assert not disk.has_block(one.cid)
    disk.put_block(one)
    assert disk.get_block(one.cid) == one.data


def test_a_put_batch_repairs_what_is_damaged(disk: DirectoryStore) -> None:
    blocks = tree(range(6))
    disk.put_blocks(blocks)
    disk.path(blocks[0].cid).write_bytes(b"")
    disk.path(blocks[-1].cid).write_bytes(blocks[-1].data[:-1])
    disk.put_blocks(blocks)
    assert read_tree(blocks[-1].cid, disk.get_block) == {block.cid for block in blocks}


def test_refuses_blocks_that_no_node_carries(disk: DirectoryStore) -> None:
    with pytest.raises(InvalidInput, match=str(MAX_BLOCK)):
        disk.put_block(block(bytes(MAX_BLOCK + 1)))


@pytest.mark.parametrize("at", [0, 1, 6])
def test_of_a_batch_with_one_false_block_nothing_is_put(at: int, disk: DirectoryStore) -> None:
    blocks = tree(range(4))
    false = [Block(blocks[0].cid, b"what mallory sends"), block(bytes(MAX_BLOCK + 1))]
    for one, error in zip(false, (BlockCorrupt, InvalidInput), strict=True):
        with pytest.raises(error):
            disk.put_blocks([*blocks[:at], one, *blocks[at:]])
    assert check_every_file(disk) == 0
    assert not list((disk.root / "scratch").iterdir())


def test_batches_of_any_number_and_with_doubles(disk: DirectoryStore) -> None:
    disk.put_blocks([])
    blocks = tree(range(40))
    disk.put_blocks([*blocks, blocks[0], blocks[-1]])
    disk.put_blocks(blocks[:1])
    assert check_every_file(disk) == len(blocks)


def test_a_block_is_hashed_once_a_put(disk: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[int] = []

    def sha256(data: bytes) -> object:
        hashed.append(len(data))
        return hashlib.sha256(data)

    blocks = [block(bytes([number]) * 1000) for number in range(20)]
    monkeypatch.setattr(protocol.cid, "hashlib", SimpleNamespace(sha256=sha256))
    for _ in range(2):  # new, and there already
        hashed.clear()
        disk.put_blocks(blocks)
        assert hashed == [1000] * 20


class Disk:
    """What a power failure would leave, by the least that POSIX promises: what was synced, under synced names."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.synced: set[int] = set()  # inodes
        self.pending: dict[int, set[str]] = {}  # by the inode of the directory
        self.names: set[str] = set()
        self.order: list[str] = []
        self._fsync, self._rename = os.fsync, Path.rename
        monkeypatch.setattr(network.files.os, "fsync", self.fsync)
        monkeypatch.setattr(Path, "rename", lambda aside, path: self.rename(aside, path))  # noqa: PLW0108 - a method

    def fsync(self, handle: int) -> None:
        self._fsync(handle)
        inode = os.fstat(handle).st_ino
        self.synced.add(inode)
        self.names |= self.pending.pop(inode, set())

    def rename(self, aside: Path, path: Path) -> None:
        assert aside.stat().st_ino in self.synced, "a name is given to what is not on disk"
        if path.name.startswith(str(node().cid)[:4]):  # a node: codec dag-pb
            assert set(self.order) <= self.names, "a node is named before what it links to is on disk"
        self._rename(aside, path)
        self.order.append(path.name)
        self.pending.setdefault(path.parent.stat().st_ino, set()).add(path.name)


def test_what_a_power_failure_leaves_is_whole(disk: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    power = Disk(monkeypatch)
    first, second = tree(range(30)), tree(range(20, 50))
    for blocks in (first, second):
        disk.put_blocks(blocks)
        assert power.names >= {str(block.cid) for block in blocks}  # on return all are on disk
    assert power.order == [str(block.cid) for block in dict.fromkeys([*first, *second])]
    assert str(first[-1].cid)[:4] != str(first[0].cid)[:4]


def test_a_name_that_another_process_has_not_synced_yet_is_synced(
    disk: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    power = Disk(monkeypatch)
    blocks = tree(range(4))
    with monkeypatch.context() as patch:  # the other process was stopped after its renames
        patch.setattr("network.directory_store.sync_directory", lambda path: None)
        disk.put_blocks(blocks[:4])
    assert power.names == set()
    disk.put_blocks(blocks)
    assert power.names == {str(block.cid) for block in blocks}


def test_a_store_that_is_gone_says_nothing_about_blocks(disk: DirectoryStore) -> None:
    one = block(b"alice's weights")
    disk.put_block(one)
    shutil.rmtree(disk.root)
    for ask in (disk.get_block, disk.has_block):
        with pytest.raises(StoreUnavailable, match="cannot be used"):
            ask(one.cid)


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"")
    with pytest.raises(StoreUnavailable, match="Check that the directory exists"):
        DirectoryStore(tmp_path / "store")


def test_another_process_sees_the_block_at_once(disk: DirectoryStore) -> None:
    one = block(b"alice's weights")
    other = DirectoryStore(disk.root)
    disk.put_block(one)
    assert other.get_block(one.cid) == one.data


def test_what_killed_processes_left_goes_after_a_day(disk: DirectoryStore) -> None:
    old, new = disk.root / "scratch/.new-old", disk.root / "scratch/.new-new"
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    os.utime(old, (time.time() - 90_000,) * 2)
    DirectoryStore(disk.root)
    assert (old.exists(), new.exists()) == (False, True)


def put_many(root: Path, seed: int) -> None:
    store = DirectoryStore(root)
    numbers = list(range(60))
    random.Random(seed).shuffle(numbers)  # noqa: S311
    for number in numbers:
        store.put_block(block(bytes([number]) * 20_000))
        assert store.get_block(block(bytes([number]) * 20_000).cid)


def test_processes_write_the_same_blocks_at_once(disk: DirectoryStore) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=put_many, args=(disk.root, seed)) for seed in range(4)]
    run_all(writers)
    assert [writer.exitcode for writer in writers] == [0, 0, 0, 0]
    assert check_every_file(disk) == 60
    assert not list((disk.root / "scratch").iterdir())


def run_all(processes: list[multiprocessing.context.SpawnProcess]) -> None:
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)


WRITER = """
import itertools, sys
from pathlib import Path
from network.directory_store import DirectoryStore
from protocol.cid import RAW, block_cid
from protocol.unixfs import Block
store, start = DirectoryStore(Path(sys.argv[1])), int(sys.argv[2])
for number in itertools.count(start):
    data = number.to_bytes(8, "little") * 30_000
    store.put_block(Block(block_cid(RAW, data), data))
    print("put", flush=True)
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_leaves_only_whole_blocks(disk: DirectoryStore) -> None:
    delays = random.Random(7)  # noqa: S311
    for turn in range(25):
        command = [sys.executable, "-c", WRITER, str(disk.root), str(turn % 5 * 10)]  # some blocks are met again
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"put\n"
            time.sleep(delays.uniform(0, 0.05))
            writer.send_signal(signal.SIGKILL)
        assert writer.returncode == -signal.SIGKILL
        check_every_file(disk)
    assert check_every_file(disk) >= 5  # the first block of each start


def check_every_file(disk: DirectoryStore) -> int:
    """Verify all files at final names and return how many there are."""
    found = [path for path in (disk.root / "blocks").rglob("*") if path.is_file()]
    for path in found:
        cid = parse_cid(path.name)
        assert path == disk.path(cid)
        verify_block(cid, path.read_bytes())
    return len(found)
