"""One suite for every content store, one for every source of blocks, and how the setting names them."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from network.directory_store import DirectoryStore
from network.gateway import GatewaySource
from network.layered_store import LayeredStore
from network.memory_store import MemoryStore
from network.session import open_content
from network.settings import Settings
from network.store import BlockSource, ContentStore, open_store
from network.transfer import fetch, fetch_file, publish, publish_file
from protocol.artifact import load_directory
from protocol.cid import DAG_PB, MAX_BLOCK, RAW, Cid, block_cid, directory_cid
from protocol.errors import BlockCorrupt, BlockMissing, InvalidInput, SettingsError, TooLarge
from protocol.unixfs import CHUNK, Block, directory_digest, import_directory
from tests.network import hostile_http
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
    with KuboNode(tmp_path_factory.mktemp("kubo"), gateway=True) as node:
        yield node


STORES = ["memory", "directory", "kubo", "memory and directory", "directory and kubo", "directory and gateway"]
SOURCES = ["memory", "directory", "kubo", "gateway", "kubo's gateway", "directory and gateway", "directory and kubo"]


@pytest.fixture
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], BlockSource]]:
    """Give a function that opens a source by its name here; what it opened is closed in the end."""
    with contextlib.ExitStack() as stack:
        shared: dict[str, BlockSource] = {}

        def open_one(name: str) -> BlockSource:
            if name == "memory":
                return MemoryStore()
            if name == "directory":
                return open_store(f"dir:{tmp_path}/store-{len(shared)}")
            if name == "gateway":
                server = stack.enter_context(hostile_http.running())
                published = MemoryStore()
                server.is_patient, server.answer = True, hostile_http.gateway(published)
                shared["published"] = published
                return stack.enter_context(contextlib.closing(GatewaySource(server.url, 5)))
            from network.ipfs import KuboStore

            node: KuboNode = request.getfixturevalue("kubo")
            store = stack.enter_context(contextlib.closing(KuboStore(node.address, find_seconds=0.5)))
            shared["published"] = store
            if name == "kubo":
                return store
            return stack.enter_context(contextlib.closing(GatewaySource(node.gateway_url, 5)))

        def open_some(names: str) -> BlockSource:
            if names == "published":
                return shared[names]
            sources = [open_one(name) for name in names.split(" and ")]
            return sources[0] if len(sources) == 1 else LayeredStore(sources)

        yield open_some


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, opened: Callable[[str], BlockSource]) -> ContentStore:
    return cast(ContentStore, opened(request.param))


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest, opened: Callable[[str], BlockSource]) -> Source:
    read = opened(request.param)
    with contextlib.suppress(KeyError):
        return Source(read, cast(ContentStore, opened("published")))
    return Source(read, cast(ContentStore, read))


@dataclass(frozen=True)
class Source:
    """Where blocks are read from, and where another puts them so that they can be."""

    read: BlockSource
    published: ContentStore


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


@pytest.mark.parametrize("wrong_at", [0, 1, 2])
def test_a_batch_with_a_wrong_block_is_refused_by_its_name(wrong_at: int, store: ContentStore) -> None:
    blocks = [block(b"batch %d %d" % (wrong_at, number)) for number in range(3)]
    wrong = Block(blocks[wrong_at].cid, b"what mallory sends")
    with pytest.raises(BlockCorrupt, match=str(wrong.cid)):
        store.put_blocks([*blocks[:wrong_at], wrong, *blocks[wrong_at + 1 :]])
    assert not store.has_block(wrong.cid)
    assert not any(store.has_block(one.cid) for one in blocks[wrong_at + 1 :])


def test_what_no_node_carries_is_refused(store: ContentStore) -> None:
    small, large = block(b"beside a large one"), block(bytes(MAX_BLOCK + 1))
    with pytest.raises(InvalidInput, match="2097153"):
        store.put_blocks([small, large])
    assert not store.has_block(large.cid)


def test_a_batch_is_put_whole_and_again(store: ContentStore) -> None:
    blocks: list[Block] = []
    import_directory(FILES, blocks.append)
    for _ in range(2):
        store.put_blocks(blocks)
    store.put_blocks([])
    for one in blocks:
        assert store.get_block(one.cid) == one.data
        assert store.has_block(one.cid)


def test_what_is_kept_is_listed_until_it_is_released(store: ContentStore) -> None:
    before = store.kept()
    roots = [directory_cid(publish(store, {"kept": b"%d" % number})) for number in range(3)]
    assert store.kept() - before == set(roots)
    store.keep(roots[0])  # again
    store.release(roots[0])
    store.release(roots[0])  # of what is not kept
    store.release(block(b"nobody ever kept this").cid)
    assert store.kept() - before == set(roots[1:])
    assert fetch(store, roots[0].digest, SIZE) == {"kept": b"0"}  # letting go removes nothing by itself
    for root in roots:
        store.release(root)
    assert store.kept() == before


def test_a_leaf_can_be_kept_as_well(store: ContentStore) -> None:
    one = block(b"a file of one leaf")
    store.put_block(one)
    store.keep(one.cid)
    assert one.cid in store.kept()
    store.release(one.cid)


def test_what_is_not_whole_is_not_kept(store: ContentStore) -> None:
    blocks: list[Block] = []
    root = import_directory({"a": b"half of it", "b": b"is nowhere"}, blocks.append).cid
    store.put_blocks([one for one in blocks if one.data != b"is nowhere"])
    for cid in (root, block(b"nothing of this").cid):
        with pytest.raises(BlockMissing):
            store.keep(cid)
        assert cid not in store.kept()


def test_leases_nest(store: ContentStore) -> None:
    digest = publish(store, {"leased": b"1"})
    with store.lease(), store.lease(directory_cid(digest)), store.lease(block(b"nobody has this").cid):
        assert fetch(store, digest, SIZE) == {"leased": b"1"}


# Every source


def test_what_another_published_is_read(source: Source) -> None:
    digest = publish(source.published, FILES)
    for _ in range(2):
        assert load_directory(digest, source.read.get_block, SIZE) == FILES


def test_what_nobody_published_is_missing_by_name(source: Source) -> None:
    cid = block(b"nobody has this").cid
    started = time.monotonic()
    with pytest.raises(BlockMissing, match=str(cid)) as caught:
        source.read.get_block(cid, 1.0)
    assert caught.value.cid == str(cid)
    assert not source.read.has_block(cid)
    assert time.monotonic() - started < 8


def test_a_source_has_a_name_that_the_setting_takes(source: Source) -> None:
    assert all(part.partition(":")[0] in ("memory", "dir", "kubo", "gateway") for part in source.read.name.split(", "))
    assert isinstance(source.read.searches, bool)


def test_many_ask_a_source_at_once(source: Source) -> None:
    blocks = [block(random.Random(number).randbytes(CHUNK // 8)) for number in range(24)]  # noqa: S311
    source.published.put_blocks(blocks)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(source.read.get_block, [one.cid for one in blocks])) == [one.data for one in blocks]


def test_what_came_once_is_there_when_its_source_is_gone(opened: Callable[[str], BlockSource]) -> None:
    read = opened("directory and gateway")
    published = cast(MemoryStore, opened("published"))
    digest = publish(published, FILES)
    assert load_directory(digest, read.get_block, SIZE) == FILES
    published.blocks.clear()
    assert load_directory(digest, read.get_block, SIZE) == FILES


# Naming a store


@pytest.mark.parametrize(
    "url", ["", "dir:", "dir", "/var/lib/rondo", "memory:x", "kubo:", "http://localhost", "ipfs:x"]
)
def test_refuses_other_urls(url: str) -> None:
    with pytest.raises(InvalidInput, match="names no content store"):
        open_store(url)


@pytest.mark.parametrize(
    ("setting", "part"),
    [
        ("dir:{0}/a, kubbo:/ip4/1.1.1.1/tcp/1", "kubbo:/ip4/1.1.1.1/tcp/1"),
        ("dir:{0}/a, kubo:/ip4/1.1.1.1/udp/1", "/ip4/1.1.1.1/udp/1"),
        ("memory:, gateway:ftp://gateway.example", "gateway:ftp://gateway.example"),
        ("memory:,", "''"),
    ],
)
def test_a_wrong_setting_is_named_by_its_wrong_part(setting: str, part: str, tmp_path: Path) -> None:
    settings = Settings(store=setting.format(tmp_path))
    with pytest.raises(SettingsError, match="The setting store is wrong") as caught:
        open_content(settings)
    assert part in caught.value.what
    assert "dir:" not in caught.value.what


def test_a_password_in_what_is_no_store_is_not_repeated() -> None:
    with pytest.raises(InvalidInput, match="host") as caught:
        open_store("https://alice:secret@host")
    assert "secret" not in str(caught.value)


def test_what_asks_kubo_is_no_setting() -> None:
    assert not any("authorization" in name for name in Settings.model_fields)


def test_urls_name_stores(tmp_path: Path) -> None:
    assert isinstance(open_store("memory:"), MemoryStore)
    assert isinstance(open_store(f"dir:{tmp_path}/a:b"), DirectoryStore)
    assert (tmp_path / "a:b").is_dir()


def test_kubo_is_imported_only_when_it_is_named() -> None:
    code = "import network.store, sys; sys.exit('ipfshttpclient' in sys.modules or 'requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
