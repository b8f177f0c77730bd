"""One suite for every content store, and what only the one on disk promises: many processes, kill -9, repair."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from network.directory_store import DirectoryStore
from network.memory_store import MemoryStore
from network.store import ContentStore, fetch, fetch_file, open_store, publish, publish_file
from protocol.cid import DAG_PB, MAX_BLOCK, RAW, Cid, block_cid, directory_cid, parse_cid, verify_block
from protocol.errors import BlockCorrupt, BlockMissing, InvalidInput, StoreUnavailable, TooLarge
from protocol.unixfs import CHUNK, Block, directory_digest, import_directory
from tests.network.kubo import IPFS, NO_IPFS, KuboNode

ROOT = Path(__file__).parent.parent.parent
FILES = {"update.json": b"{}", "delta.safetensors": random.Random(1).randbytes(2 * CHUNK + 5), "empty": b""}  # noqa: S311
SIZE = sum(map(len, FILES.values()))


def block(data: bytes) -> Block:
    return Block(block_cid(RAW, data), data)


@pytest.fixture(scope="module")
def kubo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KuboNode]:
    if IPFS is None:
        pytest.skip(NO_IPFS)
    with KuboNode(tmp_path_factory.mktemp("kubo")) as node:
        yield node


@pytest.fixture(params=["memory", "directory", "kubo"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ContentStore]:
    if request.param == "kubo":
        from network.ipfs import KuboStore

        kubo = KuboStore(request.getfixturevalue("kubo").address, find_seconds=0.5)
        yield kubo
        kubo.close()
    else:
        yield open_store("memory:" if request.param == "memory" else f"dir:{tmp_path}/store")


# Every store


def test_a_block_that_nobody_put_is_missing(store: ContentStore) -> None:
    cid = block(b"nobody has this").cid
    with pytest.raises(BlockMissing) as caught:
        store.get_block(cid)
    assert caught.value.cid == str(cid)
    assert not store.has_block(cid)


def test_refuses_bytes_of_another_name(store: ContentStore) -> None:
    cid = block(b"what alice announced").cid
    with pytest.raises(BlockCorrupt):
        store.put_block(Block(cid, b"what mallory sends"))
    assert not store.has_block(cid)


def test_an_artifact_without_one_block_is_missing(store: ContentStore) -> None:
    blocks: list[Block] = []
    root = import_directory({"a": b"published", "b": b"left out"}, blocks.append)
    for each in blocks:
        if each.data != b"left out":
            store.put_block(each)
    with pytest.raises(BlockMissing, match=str(block(b"left out").cid)):
        fetch(store, root.cid.digest, SIZE)


def test_a_limit_is_kept(store: ContentStore) -> None:
    digest = publish(store, FILES)
    with pytest.raises(TooLarge):
        fetch(store, digest, SIZE - 1)
    cid = publish_file(store, FILES["delta.safetensors"])
    with pytest.raises(TooLarge):
        fetch_file(store, cid, 2 * CHUNK)


@pytest.mark.parametrize("data", [b"", b"x", bytes(CHUNK), bytes(MAX_BLOCK)], ids=len)
def test_gives_back_what_was_put(data: bytes, store: ContentStore) -> None:
    one = block(data)
    for _ in range(2):  # putting again changes nothing
        store.put_block(one)
        assert store.get_block(one.cid) == data
        assert store.has_block(one.cid)


def test_raw_and_dag_pb_do_not_mix(store: ContentStore) -> None:
    data = b"\x0a\x02\x08\x01"  # the empty directory, and as well four bytes of a file
    store.put_block(Block(block_cid(DAG_PB, data), data))
    assert store.get_block(block_cid(DAG_PB, data)) == data
    store.put_block(Block(block_cid(RAW, data), data))
    assert store.get_block(block_cid(RAW, data)) == data


def test_artifacts_and_files_round_trip(store: ContentStore) -> None:
    digest = publish(store, FILES)
    assert digest == directory_digest(FILES)
    assert publish(store, FILES) == digest
    assert fetch(store, digest, SIZE) == FILES
    cid = publish_file(store, FILES["delta.safetensors"])
    assert fetch_file(store, cid, SIZE) == FILES["delta.safetensors"]


def test_the_root_is_written_last(store: ContentStore) -> None:
    class Recorder(MemoryStore):
        def put_block(self, block: Block) -> None:
            store.put_block(block)
            order.append(block.cid)
            assert not store.has_block(root) or block.cid == root

    order: list[Cid] = []
    files = {name: data + b" in order" for name, data in FILES.items()}
    root = directory_cid(directory_digest(files))
    publish(Recorder(), files)
    assert order.index(root) == len(order) - 1
    assert fetch(store, root.digest, 2 * SIZE) == files


def test_threads_share_a_store(store: ContentStore) -> None:
    def work(number: int) -> bytes:
        store.put_block(block(bytes(CHUNK // 4)))
        return store.get_block(block(bytes(CHUNK // 4)).cid) if number % 2 else b""

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(work, range(32))) == {b"", bytes(CHUNK // 4)}


# Naming a store


@pytest.mark.parametrize(
    "url", ["", "dir:", "dir", "/var/lib/rondo", "memory:x", "kubo:", "http://localhost", "ipfs:x"]
)
def test_refuses_other_urls(url: str) -> None:
    with pytest.raises(InvalidInput, match="names no content store"):
        open_store(url)


def test_urls_name_stores(tmp_path: Path) -> None:
    assert isinstance(open_store("memory:"), MemoryStore)
    assert isinstance(open_store(f"dir:{tmp_path}/a:b"), DirectoryStore)
    assert (tmp_path / "a:b").is_dir()


def test_kubo_is_imported_only_when_it_is_named() -> None:
    code = "import network.store, sys; sys.exit('ipfshttpclient' in sys.modules or 'requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# On disk


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


def test_refuses_blocks_that_no_node_carries(disk: DirectoryStore) -> None:
    with pytest.raises(InvalidInput, match=str(MAX_BLOCK)):
        disk.put_block(block(bytes(MAX_BLOCK + 1)))


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
