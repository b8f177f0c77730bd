"""Writers, readers and collectors in one directory at once, each a process of its own, and some of them killed."""

from __future__ import annotations

import itertools
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from network.directory_store import DirectoryStore
from network.garbage import collect_garbage
from protocol.cid import Cid
from tests.network.trees import read_tree, tree

ROOT = Path(__file__).parent.parent.parent
SECONDS = 6.0

pytestmark = pytest.mark.slow


class Actor:
    """A process of ``store_actors``."""

    def __init__(self, disk: DirectoryStore, role: str, seed: int) -> None:
        command = [sys.executable, "-m", "tests.network.store_actors", role, str(seed), str(disk.root)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def await_ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def work(self, seconds: float) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()

    def outcomes(self) -> Counter[str]:
        said, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        return Counter(json.loads(said))

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)
        assert self.process.returncode == -signal.SIGKILL  # so it had not failed by itself


@contextmanager
def ending(actors: list[Actor]) -> Iterator[None]:
    """Whatever happens, no process is left."""
    try:
        yield
    finally:
        for actor in actors:
            actor.process.kill()
            actor.process.communicate()


@pytest.fixture
def disk(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


@pytest.fixture
def for_ever(disk: DirectoryStore) -> Cid:
    """The root of a tree that is kept all the time, and has leaves in common with all others."""
    blocks = tree(range(5, 60, 3))
    disk.put_blocks(blocks)
    disk.keep(blocks[-1].cid)
    return blocks[-1].cid


def check_end(disk: DirectoryStore, for_ever: Cid) -> None:
    """All that is kept is whole, and everything else is garbage, and goes."""
    for cid in disk.kept():
        assert read_tree(cid, disk.get_block)
        if cid != for_ever:
            disk.release(cid)
    left = collect_garbage(disk, grace_seconds=0).remaining_blocks
    assert left == len(read_tree(for_ever, disk.get_block))
    assert not list((disk.root / "leases").iterdir())


def test_nobody_sees_a_hole_and_all_garbage_goes(disk: DirectoryStore, for_ever: Cid) -> None:
    roles = ["write", "write", "read", "read", "collect", "collect", "keep"]
    actors = [Actor(disk, role, seed) for seed, role in enumerate(roles)]
    with ending(actors):
        for actor in actors:
            actor.await_ready()
        for actor in actors:
            actor.work(SECONDS)
        outcomes = sum((actor.outcomes() for actor in actors), Counter[str]())
    print(outcomes)
    assert min(outcomes[name] for name in ("written", "read", "not there", "removed", "kept")) >= 5
    assert not list((disk.root / "scratch").iterdir())
    check_end(disk, for_ever)


def test_with_processes_killed_at_any_moment_the_store_stays_whole(disk: DirectoryStore, for_ever: Cid) -> None:
    seeds, choose = itertools.count(), random.Random(11)  # noqa: S311
    readers = [Actor(disk, "read", next(seeds)) for _ in range(2)]
    actors = [*readers, *(Actor(disk, "change", next(seeds)) for _ in range(2))]
    with ending(actors):
        for actor in actors:
            actor.await_ready()
            actor.work(600)
        for _ in range(8):
            victim = Actor(disk, "change", next(seeds))
            actors.append(victim)
            victim.await_ready()
            victim.work(600)
            time.sleep(choose.uniform(0, 0.3))
            victim.kill()
        (disk.root / "stop").touch()
        for actor in actors[:4]:
            assert sum(actor.outcomes().values()) >= 5
    check_end(disk, for_ever)
