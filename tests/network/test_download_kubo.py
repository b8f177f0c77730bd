"""Downloads from a real Kubo node, and through one: what its end in the middle costs, and what a restart asks again."""

from __future__ import annotations

import io
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from network.directory_store import DirectoryStore
from network.download import download_file, download_tree
from network.ipfs import KuboStore
from network.layered_store import LayeredStore
from network.reader import WINDOW, WORKERS
from network.transfer import fetch, publish, publish_path
from protocol.cid import Cid, directory_cid
from protocol.errors import BlockMissing, StoreUnavailable
from protocol.unixfs import CHUNK, Block, import_file
from tests.network.counting import CountingSource
from tests.network.kubo import IPFS, NO_IPFS, KuboNode

pytestmark = pytest.mark.skipif(IPFS is None, reason=NO_IPFS)
NO_LIMIT = 2**62


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KuboNode]:
    with KuboNode(tmp_path_factory.mktemp("kubo")) as running:
        yield running


def test_a_node_without_a_block_names_it(node: KuboNode, tmp_path: Path) -> None:
    store = KuboStore(node.address, find_seconds=0.5)
    blocks: list[Block] = []
    cid = import_file(io.BytesIO(content(30 * CHUNK, 2)), blocks.append).cid
    for block in blocks:
        if block is not blocks[20]:
            store.put_block(block)
    with pytest.raises(BlockMissing, match=str(blocks[20].cid)):
        download_file(store, cid, tmp_path / "got", limit=NO_LIMIT)
    store.put_block(blocks[20])
    source = CountingSource(store)
    download_file(source, cid, tmp_path / "got", limit=NO_LIMIT)
    assert (tmp_path / "got").read_bytes() == content(30 * CHUNK, 2)
    assert source.leaves.total() <= 10 + WINDOW
    store.close()


def test_what_was_put_from_disk_is_what_ipfs_adds_and_comes_back(node: KuboNode, tmp_path: Path) -> None:
    store = KuboStore(node.address)
    folder = tmp_path / "artifact"
    folder.mkdir()
    for name, data in (("a", b""), ("b", content(20 * CHUNK + 7, 3)), ("c", content(CHUNK, 4))):
        (folder / name).write_bytes(data)
    root = publish_path(store, folder)
    profile = ("--cid-version=1", "--raw-leaves", f"--chunker=size-{CHUNK}", "--max-file-links=1024")
    assert str(root.cid) == node.command("add", "-rQ", "--only-hash", *profile, str(folder))
    assert root.cid in store.kept()
    source = CountingSource(store)
    assert download_tree(source, root.cid, tmp_path / "got", limit=NO_LIMIT) == root.size
    for path in folder.iterdir():
        assert (tmp_path / "got" / path.name).read_bytes() == path.read_bytes()
    assert set(source.asked.values()) == {1} and 1 < source.most_busy <= WORKERS
    store.close()


def test_a_restarted_role_asks_its_node_for_nothing_that_it_had(node: KuboNode, tmp_path: Path) -> None:
    """Through a layered store, what a fetch reads stays in the directory, also where the fetch is broken off."""
    kubo = KuboStore(node.address, find_seconds=0.5)
    files = {"delta.safetensors": content(60 * CHUNK, 5), "update.json": b"{}"}
    digest = publish(kubo, files)

    def role(*withheld: Cid) -> tuple[LayeredStore, CountingSource]:
        source = CountingSource(kubo, withheld=withheld)
        return LayeredStore([DirectoryStore(tmp_path / "store"), source]), source

    blocks: list[Block] = []
    import_file(io.BytesIO(files["delta.safetensors"]), blocks.append)
    store, broken = role(blocks[40].cid)
    with pytest.raises(BlockMissing, match=str(blocks[40].cid)):
        fetch(store, digest, NO_LIMIT)
    store, second = role()
    assert fetch(store, digest, NO_LIMIT) == files
    assert (broken.leaves & second.leaves).total() <= 1 + WINDOW and second.leaves.total() <= 21 + WINDOW
    assert directory_cid(digest) not in second.asked
    store, third = role()
    assert fetch(store, digest, NO_LIMIT) == files
    assert not third.asked
    kubo.close()


@pytest.mark.slow
def test_a_node_that_is_killed_and_comes_back_costs_nothing(tmp_path: Path) -> None:
    size = 64 * CHUNK
    (tmp_path / "file").write_bytes(content(size))
    node = KuboNode(tmp_path / "kubo")
    with node:
        store = KuboStore(node.address, retry_seconds=60.0)
        cid = publish_path(store, tmp_path / "file").cid
        source, killed = CountingSource(store, 0.05), threading.Event()

        def kill_once(done: int, total: int) -> None:
            if done >= total // 3 and not killed.is_set():
                killed.set()
                node.kill()
                threading.Timer(1.0, node.start).start()

        download_file(source, cid, tmp_path / "got", limit=NO_LIMIT, on_progress=kill_once)
        assert killed.is_set() and (tmp_path / "got").read_bytes() == (tmp_path / "file").read_bytes()
        assert max(source.asked.values()) == 1, "the store tried again, the download asked once"
        store.close()


@pytest.mark.slow
def test_a_node_that_stays_away_is_said_and_the_next_download_goes_on(tmp_path: Path) -> None:
    size = 64 * CHUNK
    (tmp_path / "file").write_bytes(content(size))
    node = KuboNode(tmp_path / "kubo")
    with node:
        store = KuboStore(node.address, retry_seconds=0.5)
        cid = publish_path(store, tmp_path / "file").cid
        half = CountingSource(store)

        def kill(done: int, total: int) -> None:
            if done >= total // 2 and node.is_running:
                node.kill()

        with pytest.raises(StoreUnavailable):
            download_file(half, cid, tmp_path / "got", limit=NO_LIMIT, on_progress=kill)
        assert (tmp_path / "got.part").exists() and not (tmp_path / "got").exists()
        node.start()
        rest = CountingSource(store)
        download_file(rest, cid, tmp_path / "got", limit=NO_LIMIT)
        assert (tmp_path / "got").read_bytes() == (tmp_path / "file").read_bytes()
        assert rest.leaves.total() <= 32 and (half.leaves & rest.leaves).total() <= WINDOW
        store.close()
