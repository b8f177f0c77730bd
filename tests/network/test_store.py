"""One suite for every content store, and what only the one on disk promises: many processes, kill -9, repair."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from network.directory_store import DirectoryStore
from network.memory_store import MemoryStore
from network.store import ContentStore, open_store
from network.transfer import fetch, fetch_file, publish, publish_file
from protocol.cid import DAG_PB, MAX_BLOCK, RAW, Cid, block_cid, directory_cid
from protocol.errors import BlockCorrupt, BlockMissing, InvalidInput, TooLarge
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
        def put_blocks(self, blocks: Sequence[Block]) -> None:
            for block in blocks:
                store.put_block(block)
                order.append(block.cid)
                assert not store.has_block(root) or block.cid == root

        def keep(self, cid: Cid) -> None:
            store.keep(cid)

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
