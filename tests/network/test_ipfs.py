"""The Kubo adapter: a real node where one is found, and a hostile one that answers anything at all."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest

from network.ipfs import KuboStore
from network.transfer import fetch, publish
from protocol.cid import RAW, block_cid, directory_cid, parse_cid
from protocol.errors import BlockCorrupt, BlockMissing, InvalidInput, StoreUnavailable
from protocol.unixfs import CHUNK, Block, import_file
from tests.network.kubo import IPFS, NO_IPFS, KuboNode
from tests.protocol.content_patterns import PatternStream, content

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent.parent / "vectors/unixfs.json").read_text())
SMALL = 8 * CHUNK
ALICE = Block(block_cid(RAW, b"alice's update"), b"alice's update")

needs_ipfs = pytest.mark.skipif(IPFS is None, reason=NO_IPFS)
Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KuboNode]:
    with KuboNode(tmp_path_factory.mktemp("kubo")) as running:
        yield running


class HostileNode(ThreadingHTTPServer):
    """Whatever is asked, it does ``answer``; it counts the questions."""

    daemon_threads = True

    def __init__(self) -> None:
        self.answer: Answer = lambda _: None
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def store(self) -> KuboStore:
        return KuboStore(f"/ip4/127.0.0.1/tcp/{self.server_port}", find_seconds=0.3, retry_seconds=0.5)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = cast(HostileNode, self.server)
        server.asked.append(self.path)
        self.close_connection = True
        server.answer(self)

    def log_message(self, *_: object) -> None:
        """Be silent."""


@pytest.fixture
def mallory() -> Iterator[HostileNode]:
    with HostileNode() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def says(status: int, body: bytes) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def fails(message: str) -> Answer:
    return says(500, json.dumps({"Message": message, "Code": 0, "Type": "error"}).encode())


def drops(_: BaseHTTPRequestHandler) -> None:
    """Close the connection without a word."""


def stops_half_way(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    request.wfile.write(b"alice")


def never_ends(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    try:
        while True:
            request.wfile.write(bytes(CHUNK))
    except OSError:
        pass


# What is refused


@pytest.mark.parametrize(
    "address",
    [
        "",
        "nonsense",
        "/ip4/127.0.0.1",
        "/ip4/300.0.0.1/tcp/1",
        "/ip4/1.1.1.1/tcp/99999",
        "/ip4/1.1.1.1/udp/1",
        "/unix/a",
    ],
)
def test_refuses_other_addresses(address: str) -> None:
    with pytest.raises(InvalidInput, match="no address of a Kubo API"):
        KuboStore(address)


def test_no_node_is_said_within_the_deadline() -> None:
    with HostileNode() as server:
        store = server.store  # bound, then closed: nobody listens there
    for ask in (store.get_block, store.has_block, store.keep):
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match="ipfs daemon"):
            ask(ALICE.cid)
        assert time.monotonic() - started < 1.5


def test_other_bytes_are_corrupt(mallory: HostileNode) -> None:
    mallory.answer = says(200, b"mallory's update")
    with pytest.raises(BlockCorrupt, match=str(ALICE.cid)):
        mallory.store.get_block(ALICE.cid)


def test_an_endless_block_is_cut_off(mallory: HostileNode) -> None:
    mallory.answer = never_ends
    with pytest.raises(BlockCorrupt):
        mallory.store.get_block(ALICE.cid)


def test_a_slow_block_is_cut_off(mallory: HostileNode, monkeypatch: pytest.MonkeyPatch) -> None:
    def trickles(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            for _ in range(1000):
                request.wfile.write(b"x")
                time.sleep(0.05)
        except OSError:
            pass

    monkeypatch.setattr("network.ipfs._GRACE_SECONDS", 0.2)
    mallory.answer = trickles
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match="too slowly"):
        mallory.store.get_block(ALICE.cid)
    assert time.monotonic() - started < 3


def test_a_silent_node_is_unavailable(mallory: HostileNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("network.ipfs._GRACE_SECONDS", 0.2)
    mallory.answer = lambda _: time.sleep(2)
    with pytest.raises(StoreUnavailable, match="imeout"):
        mallory.store.get_block(ALICE.cid)
    assert len(mallory.asked) == 1  # a node that hangs is not asked again


@pytest.mark.parametrize("answer", [drops, stops_half_way], ids=["dropped", "half an answer"])
def test_dropped_connections_are_tried_again(answer: Answer, mallory: HostileNode) -> None:
    mallory.answer = answer
    with pytest.raises(StoreUnavailable):
        mallory.store.get_block(ALICE.cid)
    assert len(mallory.asked) > 1


def test_a_node_that_comes_back_is_used(mallory: HostileNode) -> None:
    def second_time(request: BaseHTTPRequestHandler) -> None:
        (drops if len(mallory.asked) == 1 else says(200, ALICE.data))(request)

    mallory.answer = second_time
    assert mallory.store.get_block(ALICE.cid) == ALICE.data
    assert len(mallory.asked) == 2


@pytest.mark.parametrize(
    "message",
    [
        "block was not found locally (offline): ipld: could not find bafkrei",
        "context deadline exceeded",
    ],
)
def test_kubos_words_for_a_missing_block(message: str, mallory: HostileNode) -> None:
    mallory.answer = fails(message)
    store = mallory.store
    with pytest.raises(BlockMissing, match=str(ALICE.cid)):
        store.get_block(ALICE.cid)
    assert not store.has_block(ALICE.cid)


@pytest.mark.parametrize(("seconds", "said"), [(None, "0.300s"), (0.1, "0.100s"), (9.0, "0.300s"), (0.0, "0.001s")])
def test_a_search_can_be_short_and_is_never_endless(seconds: float | None, said: str, mallory: HostileNode) -> None:
    mallory.answer = fails("context deadline exceeded")
    with pytest.raises(BlockMissing):
        mallory.store.get_block(ALICE.cid, seconds)
    assert f"timeout={said}" in mallory.asked[-1]


def test_other_failures_of_the_node_are_its_own(mallory: HostileNode) -> None:
    mallory.answer = fails("someone else has the lock")
    for ask in (mallory.store.get_block, mallory.store.has_block, mallory.store.keep):
        with pytest.raises(StoreUnavailable, match="someone else has the lock"):
            ask(ALICE.cid)


@pytest.mark.parametrize("status", [200, 301, 403, 404, 500])
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"\xff\xfe", b"[]", b"[1]", b"{}", b"null", b'"x"', b'{"Key": 1}', b"{"]
)
def test_answers_that_are_not_kubos(status: int, body: bytes, mallory: HostileNode) -> None:
    mallory.answer = says(status, body)
    store = mallory.store
    with pytest.raises(StoreUnavailable):
        store.put_block(ALICE)
    with pytest.raises((StoreUnavailable, BlockCorrupt)):
        store.get_block(ALICE.cid)


def takes(blocks: int, size: int, name: str) -> Answer:
    """Say that a CAR of so many blocks was taken, and that the last of them is called ``name``."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        if "dag/import" in request.path:
            says(200, json.dumps({"Stats": {"BlockCount": blocks, "BlockBytesCount": size}}).encode())(request)
        else:
            says(200, json.dumps({"Key": name, "Size": size}).encode())(request)

    return answer


def test_a_block_stored_under_another_name_is_not_stored(mallory: HostileNode) -> None:
    mallory.answer = takes(1, len(ALICE.data), str(block_cid(RAW, b"other")))
    with pytest.raises(StoreUnavailable, match="It stored"):
        mallory.store.put_block(ALICE)


@pytest.mark.parametrize(("blocks", "size"), [(0, 0), (1, 0), (2, len(ALICE.data))])
def test_a_node_that_took_other_blocks_has_not_stored_these(blocks: int, size: int, mallory: HostileNode) -> None:
    mallory.answer = takes(blocks, size, str(ALICE.cid))
    with pytest.raises(StoreUnavailable, match=f"it took {blocks} "):
        mallory.store.put_block(ALICE)


# A real node


@needs_ipfs
@pytest.mark.parametrize(
    "vector",
    [each for each in VECTORS["files"] if each["size"] <= SMALL],
    ids=lambda vector: f"{vector['pattern']}-{vector['size']}",
)
def test_this_kubo_still_says_what_the_vectors_say(vector: dict[str, Any], node: KuboNode) -> None:
    words = [word for word in VECTORS["command"].split()[1:] if word not in ("-r", "--pin=false")]
    assert node.command(*words, "--only-hash", stdin=content(vector)) == vector["cid"]


@needs_ipfs
@pytest.mark.parametrize("vector", VECTORS["directories"], ids=lambda vector: vector["name"])
def test_this_kubo_still_says_so_of_directories(vector: dict[str, Any], node: KuboNode, tmp_path: Path) -> None:
    for name, recipe in vector["files"].items():
        (tmp_path / name).write_bytes(content(recipe))
    assert node.command(*VECTORS["command"].split()[1:], str(tmp_path)) == vector["cid"]


@needs_ipfs
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


@needs_ipfs
def test_published_artifacts_survive_garbage_collection(node: KuboNode) -> None:
    store = KuboStore(node.address, find_seconds=0.5)
    store.put_block(ALICE)
    files = {"a": b"kept", "b": bytes(CHUNK + 9)}
    digest = publish(store, files)
    node.command("repo", "gc")
    assert fetch(store, digest, SMALL) == files
    assert not store.has_block(ALICE.cid)  # nobody asked to keep it


@needs_ipfs
def test_a_missing_block_does_not_hang_on_the_network(node: KuboNode) -> None:
    store = KuboStore(node.address, find_seconds=0.5)
    started = time.monotonic()
    for ask in (store.get_block, store.keep):
        with pytest.raises(BlockMissing):
            ask(block_cid(RAW, b"nobody has this"))
    assert not store.has_block(block_cid(RAW, b"nobody has this"))
    assert time.monotonic() - started < 4
    assert node.command("bitswap", "wantlist") == ""  # and the node looks no further


@needs_ipfs
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


@needs_ipfs
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


@needs_ipfs
@pytest.mark.slow
def test_a_long_stream_goes_through(node: KuboNode) -> None:
    store = KuboStore(node.address)
    root = import_file(cast(Any, PatternStream("counter", 64 * CHUNK)), store.put_block)
    store.keep(root.cid)
    assert int(node.command("files", "stat", "--format=<cumulsize>", f"/ipfs/{root.cid}")) == root.total_size
