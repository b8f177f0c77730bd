"""Leases: they name what is relied on, any number at once, and end with their process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

import network.files
from network.directory_store import DirectoryStore
from network.files import hold_lock
from protocol.errors import StoreUnavailable
from tests.network.trees import leaf

ROOT = Path(__file__).parent.parent.parent
ONE, TWO = leaf(b"alice").cid, leaf(b"bob").cid


@pytest.fixture
def disk(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


def files(disk: DirectoryStore) -> list[Path]:
    return sorted((disk.root / "leases").iterdir())


def test_a_lease_needs_a_store(disk: DirectoryStore) -> None:
    disk.root.rename(disk.root.with_name("unmounted"))
    with pytest.raises(StoreUnavailable, match="No such file"), disk.lease(ONE):
        pytest.fail("it began")


def test_errors_in_a_lease_are_not_the_leases(disk: DirectoryStore) -> None:
    with pytest.raises(FileNotFoundError, match="alice's own"), disk.lease(ONE):
        raise FileNotFoundError("alice's own")
    assert disk.leases.live() == []
    assert files(disk) == []


def test_it_does_not_begin_while_a_collector_removes_blocks(
    disk: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network.files, "LOCK_SECONDS", 0.1)
    with (
        hold_lock(disk.gate, exclusive=True),
        pytest.raises(StoreUnavailable, match="Look for a process"),
        disk.lease(ONE),
    ):
        pytest.fail("it began")
    assert not list((disk.root / "scratch").iterdir())


def test_it_names_its_roots_and_its_start(disk: DirectoryStore) -> None:
    before = time.time_ns()
    with disk.lease(ONE, TWO):
        (lease,) = disk.leases.live()
        assert lease.roots == (ONE, TWO)
        assert before - 10**8 <= lease.start <= time.time_ns()  # the file system's clock ticks
        (file,) = files(disk)
        assert file.name == lease.name
        assert file.name.startswith(f"{os.getpid()}-")
        since, *roots = file.read_text().split()
        assert (since, roots[1:]) == ("since", [str(ONE), str(TWO)])
        assert disk.leases.live(known={lease.name}) == []
    assert files(disk) == []


def test_leases_nest_and_end_one_by_one(disk: DirectoryStore) -> None:
    with disk.lease(ONE):
        with disk.lease(), disk.lease(ONE):
            assert sorted(lease.roots for lease in disk.leases.live()) == [(), (ONE,), (ONE,)]
        assert [lease.roots for lease in disk.leases.live()] == [(ONE,)]
    assert disk.leases.live() == []


def test_what_is_put_in_a_lease_is_never_older(disk: DirectoryStore) -> None:
    for number in range(200):
        with disk.lease():
            one = leaf(b"%d" % (number % 100))  # the second half is there already
            disk.put_block(one)
            (lease,) = disk.leases.live()
            assert disk.path(one.cid).stat().st_mtime_ns >= lease.start


def test_threads_hold_many_at_once(disk: DirectoryStore) -> None:
    def hold(number: int) -> int:
        with disk.lease(leaf(b"%d" % number).cid):
            return len(disk.leases.live())

    with disk.lease(ONE), ThreadPoolExecutor(16) as pool:
        assert min(pool.map(hold, range(200))) >= 2
    assert files(disk) == []


def hold_in_process(root: Path, barrier: Barrier) -> None:
    with DirectoryStore(root).lease(ONE):
        barrier.wait(60)
        barrier.wait(60)


def test_processes_hold_many_at_once(disk: DirectoryStore) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(4)
    holders = [spawn.Process(target=hold_in_process, args=(disk.root, barrier)) for _ in range(3)]
    for holder in holders:
        holder.start()
    barrier.wait(60)
    assert [lease.roots for lease in disk.leases.live()] == [(ONE,)] * 3
    assert {int(lease.name.split("-")[0]) for lease in disk.leases.live()} == {holder.pid for holder in holders}
    barrier.wait(60)
    for holder in holders:
        holder.join(60)
    assert [holder.exitcode for holder in holders] == [0, 0, 0]
    assert files(disk) == []


HOLDER = """
import sys, time
from pathlib import Path
from network.directory_store import DirectoryStore
with DirectoryStore(Path(sys.argv[1])).lease():
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lease_of_a_killed_process_ends_and_is_swept(disk: DirectoryStore) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(disk.root)], cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert len(disk.leases.live()) == 1
        holder.send_signal(signal.SIGKILL)
    assert len(files(disk)) == 1
    assert disk.leases.live() == []
    assert files(disk) == []


FORKER = """
import os, signal, sys, time
from pathlib import Path
from network.directory_store import DirectoryStore
store = DirectoryStore(Path(sys.argv[1]))
with store.lease():
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
print(len(store.leases.live()))
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
"""


def test_a_forked_child_does_not_prolong_it(disk: DirectoryStore) -> None:
    command = [sys.executable, "-c", FORKER, str(disk.root)]
    assert subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60).stdout == b"0\n"


def test_foreign_files_are_left_alone(disk: DirectoryStore) -> None:
    for name in ("README", ".DS_Store", "4242", "4242-9f0c"):
        (disk.root / "leases" / name).write_bytes(b"carol's")
    with disk.lease(ONE):
        assert [lease.roots for lease in disk.leases.live()] == [(ONE,)]
    DirectoryStore(disk.root)
    assert len(files(disk)) == 4


def test_where_no_file_can_be_written_it_holds_off_collectors(
    disk: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network.files, "LOCK_SECONDS", 0.1)
    (disk.root / "leases").rmdir()
    (disk.root / "leases").write_bytes(b"")  # whoever the user is: nothing can be written below it
    with disk.lease(ONE):
        with hold_lock(disk.gate):
            pass  # others may put, and read
        with pytest.raises(TimeoutError, match=r"gate\.lock"), hold_lock(disk.gate, exclusive=True):
            pytest.fail("a collector would remove blocks")
    with hold_lock(disk.gate, exclusive=True):
        pass
