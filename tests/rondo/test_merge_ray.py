"""The merge on a Ray cluster of several processes: the same CID, also where a worker is killed in the middle of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from network.shipped_content import open_shipped
from processor.runs import Run
from protocol.cid import directory_cid, parse_cid
from protocol.errors import BlockMissing, ClusterUnavailable, OutsideWindow, StoreUnavailable
from rondo.merge_session import MergeSession
from rondo.ray_run import RayRun, Refusal, work_batch
from tests.rondo.merge_world import ROOT, MergeWorld

MISSING = "" if find_spec("ray") else "Ray is not installed"

needs_ray = pytest.mark.skipif(bool(MISSING), reason=MISSING or "Ray is installed")
# Ray leaves its connections for the interpreter to close, and asks psutil for what psutil renames.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray.*"),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> MergeWorld:
    return MergeWorld(tmp_path_factory.mktemp("ray"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of two processors, as `ray start` makes one, in processes of its own; its address."""
    scratch = tmp_path_factory.mktemp("cluster")
    code = (
        "import os, sys; os.environ['RAY_USAGE_STATS_ENABLED'] = '0'\n"
        "from ray.cluster_utils import Cluster\n"
        "cluster = Cluster(initialize_head=True, head_node_args={'num_cpus': 2, 'include_dashboard': False})\n"
        "print(cluster.address, flush=True); sys.stdin.read(); cluster.shutdown()\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_TMPDIR": str(scratch), "RAY_USAGE_STATS_ENABLED": "0"}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin and process.stdout
    address = process.stdout.readline().strip()
    assert address
    yield address
    process.stdin.close()
    process.wait(timeout=60)
    process.stdout.close()


def merge(world: MergeWorld, run: Run) -> str:
    session = MergeSession(world.store, run, on_cluster=f"dir:{world.root / 'store'}")
    updates = [parse_cid(one).digest for one in world.updates]
    base = parse_cid(world.base).digest
    outcome = session.merge(base, updates, world.task, {}, consolidate=False, index=None, publish=False)
    return str(directory_cid(outcome.digest))


# What is refused


def test_without_ray_there_is_a_word_for_it(world: MergeWorld, tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError('not here')\n")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    words = ["merge", world.base, *world.updates]
    done = world.rondo(*words, "--ray", "local", PYTHONPATH=path)
    assert done.returncode == 69 and "pip install rondo-fl[ray]" in done.stderr and done.stdout == ""
    assert world.rondo(*words, PYTHONPATH=path).stdout == world.expected + "\n"  # nothing else changes


@needs_ray
def test_a_cluster_that_is_not_there_is_said_at_once(world: MergeWorld) -> None:
    done = world.rondo("merge", world.base, *world.updates, "--ray", "127.0.0.1:1")
    assert done.returncode == 69 and "127.0.0.1:1" in done.stderr and "Traceback" not in done.stderr


def test_a_refusal_crosses_processes_as_it_is() -> None:
    def refuse(item: int) -> int:
        raise (OutsideWindow("what", "why", "do"), BlockMissing("bafy", "there"))[item]

    for item, kind in enumerate((OutsideWindow, BlockMissing)):
        answer = work_batch(refuse, [item])
        assert isinstance(answer, Refusal)
        error = answer.error()
        assert type(error) is kind and (error.what, error.why, error.do) == Refusal(error)._words
    assert work_batch(lambda item: item + 1, [1, 2]) == [2, 3]


# What is merged


@needs_ray
@pytest.mark.slow
def test_the_command_gives_the_same_cid_on_a_cluster(world: MergeWorld, cluster: str) -> None:
    done = world.merge("--ray", cluster)
    assert done.stdout == world.expected + "\n", done.stderr
    assert "Traceback" not in done.stderr and "dashboard" not in done.stderr


@needs_ray
@pytest.mark.slow
def test_a_refused_update_is_named_from_a_worker(world: MergeWorld, cluster: str) -> None:
    deltas = {name: array.copy() for name, array in world.round.update("mallory").deltas.items()}
    next(iter(deltas.values())).reshape(-1)[-1] = -32768
    mallory = world.put_update("mallory", deltas=deltas)
    done = world.merge("--ray", cluster, updates=[*world.updates, mallory])
    assert done.returncode == 65 and mallory in done.stderr and done.stdout == ""


class Killing:
    """A `Run` whose first worker to reach the middle of the merge's pieces kills itself, once for each marker file."""

    def __init__(self, run: Run, marker: Path) -> None:
        self._run, self.marker, self.passes = run, marker, 0

    def __call__(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        self.passes += 1
        marker, middle = self.marker.with_suffix(f".{self.passes}"), items[len(items) // 2]

        def deadly(item: Any) -> Any:
            if item == middle:
                try:
                    os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    pass
                else:
                    marker.write_text(str(os.getpid()))
                    os.kill(os.getpid(), signal.SIGKILL)
            return function(item)

        yield from self._run(deadly, items)


@needs_ray
@pytest.mark.slow
def test_a_worker_that_is_killed_in_the_middle_is_a_retry(world: MergeWorld, cluster: str, tmp_path: Path) -> None:
    with RayRun(cluster) as run:
        killing = Killing(run, tmp_path / "killed")
        assert merge(world, killing) == world.expected
    killed = {int(path.read_text()) for path in tmp_path.iterdir()}
    assert len(killed) == killing.passes >= 2 and os.getpid() not in killed


@needs_ray
@pytest.mark.slow
def test_workers_that_are_lost_again_and_again_end_the_merge(cluster: str) -> None:
    def deadly(item: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return item

    with RayRun(cluster) as run, pytest.raises(ClusterUnavailable, match="lost"):
        list(run(deadly, [1]))


@needs_ray
@pytest.mark.slow
def test_a_store_that_does_not_answer_is_tried_again(cluster: str, tmp_path: Path) -> None:
    def falter(item: int) -> int:
        tries = len(list(tmp_path.iterdir()))
        (tmp_path / f"try-{tries}").touch()
        if tries < item:
            raise StoreUnavailable("the store", "is busy", "wait")
        return tries

    with RayRun(cluster) as run:
        assert list(run(falter, [2])) == [2]
        with pytest.raises(StoreUnavailable, match="the store is busy"):
            list(run(falter, [1000]))


# What workers read by themselves


def test_shipped_files_are_verified_where_they_are_read(tmp_path: Path) -> None:
    world = MergeWorld(tmp_path)
    setting = f"dir:{tmp_path / 'store'}"
    digest = parse_cid(world.updates[0]).digest
    delta = open_shipped(setting, digest, 1 << 30)["delta.safetensors"]
    data = world.round.files[digest]["delta.safetensors"]
    assert delta.size == len(data) and bytes(delta.read(0, len(data))) == data
    assert bytes(delta.read((1 << 20) - 5, (1 << 20) + 7)) == data[(1 << 20) - 5 : (1 << 20) + 7]
    with pytest.raises(ValueError, match="not within"):
        delta.read(0, delta.size + 1)
    leaf = world.store.path(delta.leaves[0].cid)  # type: ignore[attr-defined]
    damaged = bytearray(data[: 1 << 20])
    damaged[77] ^= 1
    leaf.write_bytes(damaged)
    with pytest.raises(Exception, match=leaf.name):
        delta.read(70, 80)
    leaf.unlink()
    with pytest.raises(BlockMissing, match=leaf.name):
        delta.read(70, 80)
