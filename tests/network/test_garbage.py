"""Garbage collection: what it must spare, whatever happens meanwhile, and that the rest goes."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import network.directory_store
import network.files
from network import garbage
from network.directory_store import DirectoryStore
from network.files import hold_lock
from network.garbage import Collected, collect_garbage
from network.leases import Lease
from protocol.cid import Cid
from protocol.errors import BlockMissing, StoreUnavailable
from protocol.unixfs import Block
from tests.network.trees import leaf, node, read_tree, tree

ROOT = Path(__file__).parent.parent.parent
HOUR = 3600


@pytest.fixture
def disk(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector lets others in after every single block."""
    monkeypatch.setattr(garbage, "_HOLD_SECONDS", 0)


def put_old(disk: DirectoryStore, blocks: list[Block], age: float = 2 * HOUR) -> Cid:
    """Put ``blocks`` as if that had been ``age`` seconds ago, and return the last one's CID."""
    disk.put_blocks(blocks)
    for block in blocks:
        os.utime(disk.path(block.cid), (time.time() - age,) * 2)
    return blocks[-1].cid


def present(disk: DirectoryStore, blocks: list[Block]) -> list[bool]:
    return [disk.has_block(block.cid) for block in blocks]


def is_whole(disk: DirectoryStore, blocks: list[Block]) -> bool:
    return all(present(disk, blocks))


# Failures


def test_a_store_that_is_gone_is_not_empty(disk: DirectoryStore) -> None:
    shutil.rmtree(disk.root)
    with pytest.raises(StoreUnavailable, match="No such file"):
        collect_garbage(disk)


@pytest.mark.parametrize("lost", ["pins", "leases"])
def test_without_its_pins_or_leases_nothing_is_removed(lost: str, disk: DirectoryStore) -> None:
    blocks = tree(range(4))
    disk.keep(put_old(disk, blocks))
    (disk.root / lost).rename(disk.root / "lost")
    with pytest.raises(StoreUnavailable, match=lost):
        collect_garbage(disk)
    assert is_whole(disk, blocks)


def test_a_collector_that_was_stopped_is_named(disk: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network.files, "LOCK_SECONDS", 0.1)
    with hold_lock(disk.collector, exclusive=True), pytest.raises(StoreUnavailable, match=r"collector\.lock"):
        collect_garbage(disk)


def test_errors_of_the_listener_are_not_the_stores(disk: DirectoryStore) -> None:
    put_old(disk, tree(range(4)))

    def broken(done: int, of: int) -> None:
        raise BrokenPipeError("the terminal is gone")

    with pytest.raises(BrokenPipeError, match="terminal"):
        collect_garbage(disk, on_progress=broken)
    collect_garbage(disk)


# What stays and what goes


def test_keeps_what_is_kept_and_removes_the_rest(disk: DirectoryStore) -> None:
    kept, dropped = tree(range(5)), tree(range(3, 9))  # they share a leaf
    disk.keep(put_old(disk, kept))
    disk.keep(put_old(disk, dropped))
    disk.release(dropped[-1].cid)
    gone = [block for block in dropped if block not in kept]
    assert len(gone) < len(dropped)
    assert collect_garbage(disk) == Collected(
        len(gone), sum(len(block.data) for block in gone), len(kept), sum(len(block.data) for block in kept)
    )
    assert is_whole(disk, kept)
    assert not any(present(disk, gone))
    assert collect_garbage(disk).blocks == 0
    assert disk.kept() == {kept[-1].cid}


def test_an_empty_store_keeps_its_directories(disk: DirectoryStore) -> None:
    assert collect_garbage(disk, grace_seconds=0) == Collected(0, 0, 0, 0)
    assert {path.name for path in disk.root.iterdir() if path.is_dir()} == {"blocks", "leases", "pins", "scratch"}
    put_old(disk, tree(range(4)))
    disk.keep(tree(range(4))[-1].cid)
    assert {path.name for path in disk.root.iterdir() if path.is_dir()} == {"blocks", "leases", "pins", "scratch"}


def test_what_was_put_within_the_grace_period_stays(disk: DirectoryStore) -> None:
    young, old = tree(range(4)), tree(range(10, 14))
    put_old(disk, young, age=HOUR - 60)
    put_old(disk, old, age=HOUR + 60)
    assert collect_garbage(disk).blocks == len(old)
    assert is_whole(disk, young)
    assert collect_garbage(disk, grace_seconds=HOUR - 120).blocks == len(young)


def test_putting_again_makes_young(disk: DirectoryStore) -> None:
    blocks = tree(range(4))
    put_old(disk, blocks)
    disk.put_blocks(blocks)
    assert collect_garbage(disk).blocks == 0


def test_a_young_node_keeps_what_is_below_it(disk: DirectoryStore) -> None:
    blocks = tree(range(4))
    put_old(disk, blocks[:-1], age=HOUR + 60)
    put_old(disk, blocks[-1:], age=HOUR - 60)
    assert collect_garbage(disk).blocks == 0


def test_a_lease_spares_what_is_put_since_it_began(disk: DirectoryStore) -> None:
    old, new = tree(range(4)), tree(range(10, 14))
    put_old(disk, old)
    with disk.lease(), disk.lease():
        disk.put_blocks(new)
        assert collect_garbage(disk, grace_seconds=0).blocks == len(old)
        assert is_whole(disk, new)
    assert collect_garbage(disk, grace_seconds=0).blocks == len(new)


def test_a_lease_spares_the_trees_of_its_roots(disk: DirectoryStore) -> None:
    old, other, garbage_ = tree(range(4)), tree(range(10, 14)), tree(range(20, 24))
    for blocks in (old, other, garbage_):
        put_old(disk, blocks)
    with disk.lease(old[-1].cid, other[-1].cid):
        assert collect_garbage(disk).blocks == len(garbage_)
        assert is_whole(disk, old + other)
    assert collect_garbage(disk).blocks == len(old + other)


def test_a_root_that_is_one_leaf_or_not_here(disk: DirectoryStore) -> None:
    alone = leaf(b"one raw block")
    disk.keep(put_old(disk, [alone]))
    with disk.lease(leaf(b"nobody has put this").cid, node().cid):
        assert collect_garbage(disk) == Collected(0, 0, 1, len(alone.data))


@pytest.mark.parametrize("how", ["missing", "damaged", "no node"])
def test_a_hole_below_a_root_does_not_stop_the_marking(how: str, disk: DirectoryStore) -> None:
    whole, holed = tree(range(4)), tree(range(10, 14))
    put_old(disk, whole + holed)
    first = holed[4]
    foreign = Block(Cid(first.cid.codec, leaf(b"\xff").cid.digest), b"\xff")
    root = put_old(disk, [foreign, node(first.cid, foreign.cid, whole[-1].cid)])
    if how == "missing":
        disk.path(first.cid).unlink()
    if how == "damaged":
        disk.path(first.cid).write_bytes(b"damaged")
    with disk.lease(root):
        collect_garbage(disk, grace_seconds=0)
        assert is_whole(disk, whole)
        assert disk.has_block(root)
        assert disk.has_block(foreign.cid)
        assert present(disk, holed[:2]) == [how == "no node"] * 2


def test_foreign_files_are_left_alone(disk: DirectoryStore) -> None:
    put_old(disk, [leaf(b"garbage")])
    name, fan = str(leaf(b"a name").cid), disk.path(leaf(b"a name").cid).parent
    foreign = [disk.root / "README", disk.blocks / "README", fan / "README", fan / f"{name}.part", disk.pins / "README"]
    elsewhere = disk.blocks / f"{(leaf(b'a name').cid.digest[0] + 1) % 256:02x}"
    foreign += [elsewhere / name, elsewhere / ".DS_Store"]
    for path in foreign:
        path.write_bytes(b"carol's")
    (fan / str(leaf(b"directory").cid)).mkdir()
    place = disk.path(leaf(b"directory").cid)
    place.mkdir(exist_ok=True)
    link = disk.path(leaf(b"link").cid)
    link.symlink_to(foreign[0])
    for path in (*foreign, place):
        os.utime(path, (0, 0))
    assert collect_garbage(disk, grace_seconds=0).blocks == 1
    assert all(path.read_bytes() == b"carol's" for path in (*foreign, link))
    assert place.is_dir()


def test_a_damaged_block_is_garbage_by_its_name(disk: DirectoryStore) -> None:
    damaged, kept = leaf(b"damaged"), leaf(b"damaged but kept")
    disk.keep(put_old(disk, [kept]))
    put_old(disk, [damaged])
    for block in (damaged, kept):
        disk.path(block.cid).write_bytes(b"x")
        os.utime(disk.path(block.cid), (0, 0))
    assert collect_garbage(disk) == Collected(1, 1, 1, 1)
    assert disk.path(kept.cid).exists()


def test_tells_how_far_it_is_and_lets_others_in(disk: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put_old(disk, [leaf(b"%d" % number) for number in range(20)])
    unlink = Path.unlink

    def slow(path: Path, missing_ok: bool = False) -> None:
        time.sleep(0.008)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", slow)
    told: list[tuple[int, int]] = []
    collect_garbage(disk, on_progress=lambda done, of: told.append((done, of)))
    assert told[-1] == (20, 20)
    steps = [after - before for (before, _), (after, _) in itertools.pairwise([(0, 20), *told])]
    assert min(steps) >= 1
    assert max(steps) <= 3  # of 8 ms each


def test_paths_without_end_are_walked_once(disk: DirectoryStore) -> None:
    blocks = [leaf(b"the only leaf")]
    for _ in range(200):  # 2^200 paths lead to the leaf
        blocks.append(node(blocks[-1].cid, blocks[-1].cid))
    disk.keep(put_old(disk, blocks))
    assert collect_garbage(disk, grace_seconds=0).blocks == 0
    disk.release(blocks[-1].cid)
    assert collect_garbage(disk, grace_seconds=0).blocks == len(blocks)


def chain(length: int) -> list[Block]:
    """Return a leaf and ``length`` nodes, each above the one before."""
    blocks = [leaf(b"below a chain")]
    for _ in range(length):
        blocks.append(node(blocks[-1].cid))
    return blocks


def test_a_chain_is_deeper_than_any_recursion(disk: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network.files.os, "fsync", lambda handle: None)  # a batch syncs before every node
    blocks = chain(2000)
    disk.put_blocks(blocks)
    disk.keep(blocks[-1].cid)
    assert collect_garbage(disk, grace_seconds=0).blocks == 0
    disk.release(blocks[-1].cid)
    assert collect_garbage(disk, grace_seconds=0).blocks == len(blocks)


def test_memory_is_what_is_documented(disk: DirectoryStore) -> None:
    nodes = [node(*(Cid(0x55, leaf(b"%d %d" % (i, j)).cid.digest) for j in range(1024))) for i in range(20)]
    root = node(*(each.cid for each in nodes))
    disk.put_blocks([*nodes, root])
    tracemalloc.start()
    with disk.lease(root.cid):
        collect_garbage(disk, grace_seconds=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak / (20 * 1024) < 250


# Meanwhile: what others do between two blocks that are removed


def collect_and(disk: DirectoryStore, meanwhile: Callable[[], None]) -> Collected:
    """Collect without a grace period, and call ``meanwhile`` after the first block was removed."""
    return collect_garbage(disk, grace_seconds=0, on_progress=lambda done, of: meanwhile() if done == 1 else None)


@pytest.mark.usefixtures("one_by_one")
def test_nodes_go_before_what_they_link_to(disk: DirectoryStore) -> None:
    trees = [tree(range(at, at + 6)) for at in (0, 3, 10)]
    for blocks in trees:
        put_old(disk, blocks)

    def check(done: int, of: int) -> None:
        for blocks in trees:
            for block in blocks:
                if disk.has_block(block.cid):
                    read_tree(block.cid, disk.get_block)

    assert collect_garbage(disk, on_progress=check).remaining_blocks == 0


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize("how", ["kept", "leased", "put", "root put"])
def test_what_is_relied_on_meanwhile_stays(how: str, disk: DirectoryStore) -> None:
    blocks, tall = tree(range(4)), chain(5)
    root, first = put_old(disk, blocks), put_old(disk, tall)  # the top of the tallest goes first
    leases = []

    def meanwhile() -> None:
        assert is_whole(disk, blocks + tall[:-1])
        if how == "kept":
            disk.keep(root)
        elif how == "leased":
            leases.append(disk.lease(root))
            leases[-1].__enter__()
        else:
            disk.put_blocks(blocks if how == "put" else blocks[-1:])

    assert collect_and(disk, meanwhile).blocks == len(tall)
    assert not disk.has_block(first)
    assert is_whole(disk, blocks)
    for lease in leases:
        lease.__exit__(None, None, None)


@pytest.mark.parametrize("how", ["kept", "leased"])
def test_what_is_relied_on_just_before_the_gate_stays(
    how: str, disk: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins after the collector's last look without the gate, and before it has the gate."""
    blocks = tree(range(4))
    root = put_old(disk, blocks)
    with contextlib.ExitStack() as stack:

        def late(path: Path, *, exclusive: bool = False) -> AbstractContextManager[None]:
            if path == disk.gate:
                disk.keep(root) if how == "kept" else stack.enter_context(disk.lease(root))
            return hold_lock(path, exclusive=exclusive)

        monkeypatch.setattr(garbage, "hold_lock", late)
        assert collect_garbage(disk, grace_seconds=0).blocks == 0
        assert is_whole(disk, blocks)


def test_what_is_being_kept_is_not_collected_before_it_is(
    disk: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collector begins and ends between the look at the tree and the pin."""
    blocks = tree(range(4))
    root = put_old(disk, blocks)
    write = network.directory_store.write_atomic

    def late(path: Path, data: bytes, *, scratch: Path) -> None:
        assert collect_garbage(disk, grace_seconds=0).blocks == 0
        write(path, data, scratch=scratch)

    monkeypatch.setattr(network.directory_store, "write_atomic", late)
    disk.keep(root)
    assert is_whole(disk, blocks)


def test_a_lease_that_becomes_a_pin_is_not_missed(disk: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeping began just before the gate was closed, and ends while the collector looks for the last time."""
    blocks = tree(range(4))
    root = put_old(disk, blocks)
    keeping = contextlib.ExitStack()
    live = disk.leases.live

    def before_gate(path: Path, *, exclusive: bool = False) -> AbstractContextManager[None]:
        if path == disk.gate:
            keeping.enter_context(disk.lease(root))
            monkeypatch.setattr(disk.leases, "live", at_last_look)
        return hold_lock(path, exclusive=exclusive)

    def at_last_look(known: set[str]) -> list[Lease]:
        (disk.pins / str(root)).touch()  # as `keep` does before it lets go of its lease
        keeping.close()
        return live(known)

    monkeypatch.setattr(garbage, "hold_lock", before_gate)
    assert collect_garbage(disk, grace_seconds=0).blocks == 0
    assert is_whole(disk, blocks)


@pytest.mark.usefixtures("one_by_one")
def test_a_missing_node_that_comes_meanwhile_keeps_what_is_below(disk: DirectoryStore) -> None:
    blocks = tree(range(4))
    root = put_old(disk, blocks)
    above = blocks[4]  # of the first two leaves
    disk.path(above.cid).unlink()
    put_old(disk, chain(5))  # its top is the first to go
    with disk.lease(root):
        collect_and(disk, lambda: disk.put_block(above))
        assert is_whole(disk, blocks)


def test_whoever_finds_a_block_that_is_about_to_go_gets_it_back(
    disk: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The put comes after the collector's last look at the file's age, and before it removes the file."""
    block = leaf(b"old garbage that alice puts again")
    put_old(disk, [block])
    putter = threading.Thread(target=disk.put_block, args=[block])
    is_old = garbage._Collector._is_old

    def slow(collector: garbage._Collector, stat: os.stat_result) -> bool:
        old = is_old(collector, stat)
        if slow.calls:  # type: ignore[attr-defined]
            putter.start()
            putter.join(0.3)  # it has to wait for the collector
        slow.calls += 1  # type: ignore[attr-defined]
        return old

    slow.calls = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(garbage._Collector, "_is_old", slow)
    assert collect_garbage(disk).blocks == 1
    putter.join(60)
    assert disk.get_block(block.cid) == block.data


def test_a_slow_writers_file_does_not_make_a_block_old(disk: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process writes the file, waits for hours, and names it after another has put the block in a lease."""
    block = leaf(b"alice and bob put it")
    rename = Path.rename

    def late(aside: Path, path: Path) -> Path:
        os.utime(aside, (0, 0))
        return rename(aside, path)

    with disk.lease():
        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", late)
            disk.put_block(block)
        assert collect_garbage(disk).blocks == 0


def test_two_collectors_take_turns(disk: DirectoryStore) -> None:
    kept, dropped = tree(range(4)), [leaf(b"%d" % number) for number in range(200)]
    disk.keep(put_old(disk, kept))
    put_old(disk, dropped)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: collect_garbage(disk), range(2)))
    assert sorted(result.blocks for result in results) == [0, 200]
    assert all(result.remaining_blocks == len(kept) for result in results)


def test_a_reader_in_a_lease_reads_on(disk: DirectoryStore) -> None:
    blocks = tree(range(200))
    root = put_old(disk, blocks)
    with ThreadPoolExecutor(1) as pool, disk.lease(root):
        collecting = pool.submit(collect_garbage, disk, grace_seconds=0)
        while not collecting.done():
            assert len(read_tree(root, disk.get_block)) == len(blocks)
    with pytest.raises(BlockMissing):
        collect_garbage(disk, grace_seconds=0)
        read_tree(root, disk.get_block)


COLLECTOR = """
import sys
from pathlib import Path
from network import garbage
from network.directory_store import DirectoryStore
garbage._HOLD_SECONDS = 0.001
garbage.collect_garbage(DirectoryStore(Path(sys.argv[1])), on_progress=lambda done, of: print(done, flush=True))
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_leaves_a_whole_store(disk: DirectoryStore) -> None:
    kept = tree(range(6))
    disk.keep(put_old(disk, kept))
    choose = random.Random(3)  # noqa: S311
    cut = 0
    for _ in range(12):
        trees = [tree(choose.sample(range(60), 8)) for _ in range(8)]
        for blocks in trees:
            put_old(disk, blocks)
        put_old(disk, kept)
        command = [sys.executable, "-c", COLLECTOR, str(disk.root)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as collector:
            assert collector.stdout is not None
            collector.stdout.readline()
            time.sleep(choose.uniform(0, 0.05))
            collector.send_signal(signal.SIGKILL)
        cut += collector.returncode == -signal.SIGKILL
        assert is_whole(disk, kept)
        for blocks in trees:
            for block in blocks:
                if disk.has_block(block.cid):
                    read_tree(block.cid, disk.get_block)  # nothing above a hole is left
    assert cut >= 6
    assert collect_garbage(disk, grace_seconds=0).remaining_blocks == len(kept)
