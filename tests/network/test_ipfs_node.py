"""The Kubo adapter on a real node: what both agree on, and what happens when the node is killed, full or emptied."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from network.ipfs import KuboStore
from network.transfer import fetch, publish
from protocol.cid import RAW, block_cid, directory_cid, parse_cid
from protocol.errors import BlockCorrupt, BlockMissing
from protocol.unixfs import CHUNK, Block, import_directory, import_file
from tests.network.kubo import IPFS, NO_IPFS, KuboNode
from tests.protocol.content_patterns import PatternStream, content

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent.parent / "vectors/unixfs.json").read_text())
SMALL = 8 * CHUNK
ALICE = Block(block_cid(RAW, b"alice's update"), b"alice's update")

pytestmark = pytest.mark.skipif(IPFS is None, reason=NO_IPFS)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KuboNode]:
    with KuboNode(tmp_path_factory.mktemp("kubo")) as running:
        yield running


def block(data: bytes) -> Block:
    return Block(block_cid(RAW, data), data)


@pytest.mark.parametrize(
    "vector",
    [each for each in VECTORS["files"] if each["size"] <= SMALL],
    ids=lambda vector: f"{vector['pattern']}-{vector['size']}",
)
def test_this_kubo_still_says_what_the_vectors_say(vector: dict[str, Any], node: KuboNode) -> None:
    words = [word for word in VECTORS["command"].split()[1:] if word not in ("-r", "--pin=false")]
    assert node.command(*words, "--only-hash", stdin=content(vector)) == vector["cid"]


@pytest.mark.parametrize("vector", VECTORS["directories"], ids=lambda vector: vector["name"])
def test_this_kubo_still_says_so_of_directories(vector: dict[str, Any], node: KuboNode, tmp_path: Path) -> None:
    for name, recipe in vector["files"].items():
        (tmp_path / name).write_bytes(content(recipe))
    assert node.command(*VECTORS["command"].split()[1:], str(tmp_path)) == vector["cid"]


def test_kubo_reads_what_rondo_wrote_and_rondo_what_kubo_added(node: KuboNode, tmp_path: Path) -> None:
    files = {"update.json": b"{}", "delta.safetensors": content({"pattern": "counter", "size": 2 * CHUNK + 3})}
    store = KuboStore(node.address)
    digest = publish(store, files)
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        assert node.output("cat", f"/ipfs/{directory_cid(digest)}/{name}") == data
    (tmp_path / "more").write_bytes(b"added by ipfs")
    added = parse_cid(node.command(*VECTORS["command"].split()[1:], str(tmp_path)))
    assert fetch(store, added.digest, SMALL) == {**files, "more": b"added by ipfs"}


def test_published_artifacts_survive_garbage_collection(node: KuboNode) -> None:
    store = KuboStore(node.address, find_seconds=0.5)
    store.put_block(ALICE)
    files = {"a": b"kept", "b": bytes(CHUNK + 9)}
    digest = publish(store, files)
    node.command("repo", "gc")
    assert fetch(store, digest, SMALL) == files
    assert not store.has_block(ALICE.cid)  # nobody asked to keep it


def test_a_missing_block_does_not_hang_on_the_network(node: KuboNode) -> None:
    store = KuboStore(node.address, find_seconds=0.5)
    started = time.monotonic()
    for ask in (store.get_block, store.keep):
        with pytest.raises(BlockMissing):
            ask(block_cid(RAW, b"nobody has this"))
    assert not store.has_block(block_cid(RAW, b"nobody has this"))
    assert time.monotonic() - started < 4
    assert node.command("bitswap", "wantlist") == ""  # and the node looks no further


def test_damage_in_the_nodes_repository_is_not_served(node: KuboNode, tmp_path: Path) -> None:
    data = b"soon damaged on kubo's disk"
    store = KuboStore(node.address)
    store.put_block(Block(block_cid(RAW, data), data))
    repository = Path(node.command("repo", "stat", "--human").split("RepoPath:")[1].split()[0])
    victim = next(path for path in (repository / "blocks").rglob("*.data") if path.read_bytes() == data)
    victim.chmod(0o644)
    victim.write_bytes(b"damaged")
    with pytest.raises(BlockCorrupt):
        store.get_block(block_cid(RAW, data))


def test_a_restart_of_the_node_is_waited_for(tmp_path: Path) -> None:
    with KuboNode(tmp_path) as node:
        node.command("config", "Addresses.API", node.address)  # the same port again
        store = KuboStore(node.address, retry_seconds=30)
        store.put_block(ALICE)
        node.stop()
        restart = threading.Timer(1.0, node.start)
        restart.start()
        assert store.get_block(ALICE.cid) == ALICE.data
        restart.join()


@pytest.mark.slow
def test_a_long_stream_goes_through(node: KuboNode) -> None:
    store = KuboStore(node.address)
    root = import_file(cast(Any, PatternStream("counter", 64 * CHUNK)), store.put_block)
    store.keep(root.cid)
    assert int(node.command("files", "stat", "--format=<cumulsize>", f"/ipfs/{root.cid}")) == root.total_size


# Faults of a real node


def leaves_of(seed: int, count: int) -> list[Block]:
    return [block(random.Random(seed * 1000 + number).randbytes(CHUNK)) for number in range(count)]  # noqa: S311


def test_a_kill_in_the_middle_of_a_batch_is_survived(tmp_path: Path) -> None:
    with KuboNode(tmp_path) as node:
        store, blocks = KuboStore(node.address, retry_seconds=60), leaves_of(1, 48)

        def kill_and_start() -> None:
            time.sleep(0.15)
            node.kill()
            time.sleep(0.3)
            node.start()

        killer = threading.Thread(target=kill_and_start)
        killer.start()
        for at in range(0, 48, 16):
            store.put_blocks(blocks[at : at + 16])
        killer.join()
        for one in blocks:
            assert store.get_block(one.cid) == one.data
        assert node.is_running


def test_a_kill_while_blocks_are_read_is_survived(tmp_path: Path) -> None:
    with KuboNode(tmp_path) as node:
        store, blocks = KuboStore(node.address, retry_seconds=60), leaves_of(2, 16)
        store.put_blocks(blocks)
        done = threading.Event()

        def kill_and_start() -> None:
            node.kill()
            time.sleep(0.3)
            node.start()
            done.set()

        killer = threading.Timer(0.1, kill_and_start)
        killer.start()
        reads = 0
        while not done.is_set() or reads < 32:
            one = blocks[reads % 16]
            assert store.get_block(one.cid) == one.data
            reads += 1
        killer.join()


def test_pins_that_somebody_removed_are_seen_and_mended(node: KuboNode) -> None:
    store, files = KuboStore(node.address, find_seconds=0.5), {"a": b"kept by alice", "b": bytes(CHUNK + 1)}
    root = directory_cid(publish(store, files))
    assert root in store.kept()
    node.command("pin", "rm", str(root))
    assert root not in store.kept()
    store.release(root)  # of what is not kept any more
    store.keep(root)
    store.keep(root)
    assert root in store.kept()
    node.command("pin", "rm", str(root))
    node.command("repo", "gc")
    with pytest.raises(BlockMissing, match=str(root)):
        store.keep(root)
    assert root not in store.kept()


def test_a_tree_that_lacks_a_block_is_not_kept(node: KuboNode) -> None:
    store = KuboStore(node.address, find_seconds=0.5)
    blocks: list[Block] = []
    root = import_directory({"a": b"published too", "b": b"left out as well", "c": bytes(2 * CHUNK)}, blocks.append).cid
    store.put_blocks([one for one in blocks if one.data != b"left out as well"])
    started = time.monotonic()
    with pytest.raises(BlockMissing, match=str(root)):
        store.keep(root)
    assert time.monotonic() - started < 5
    assert root not in store.kept()
    time.sleep(0.2)
    assert node.command("bitswap", "wantlist") == ""  # and the node looks no further


def test_the_node_refuses_a_batch_with_a_wrong_block(node: KuboNode) -> None:
    store, right = KuboStore(node.address, find_seconds=0.5), block(b"beside a wrong one")
    wrong = Block(block(b"what alice announced").cid, b"mallory's")
    with pytest.raises(BlockCorrupt, match=str(wrong.cid)) as caught:
        store.put_blocks([right, wrong])
    assert "mismatch in content integrity" in str(caught.value.__context__)  # its own words: it hashed them
    assert not store.has_block(wrong.cid)
    assert not store.has_block(right.cid)


_FULL_DISK = """
import sys
from pathlib import Path
from network.ipfs import KuboStore
from protocol.errors import StoreUnavailable
from tests.network.kubo import KuboNode
from tests.network.test_ipfs_node import leaves_of
with KuboNode(Path(sys.argv[1])) as node:
    store = KuboStore(node.address, find_seconds=2.0)
    blocks, kept = leaves_of(7, 64), []
    try:
        for one in blocks:
            store.put_block(one)
            kept.append(one)
    except StoreUnavailable as error:
        print("said:", error)
    assert 0 < len(kept) < len(blocks), len(kept)
    assert all(store.get_block(one.cid) == one.data for one in kept)
    print("kept:", len(kept))
"""


def test_a_full_disk_of_the_node_is_said(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    script = f"mount -t tmpfs -o size=40m tmpfs {place} && exec {sys.executable} -c '{_FULL_DISK}' {place}"
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("this machine makes no private mounts")
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], cwd=root, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "no space left on device" in done.stdout
