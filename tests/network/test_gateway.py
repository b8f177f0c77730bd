"""The gateway source: a gateway that behaves, Kubo's own, and one that does anything at all."""

from __future__ import annotations

import random
import resource
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from network.gateway import GatewaySource
from network.ipfs import KuboStore
from network.memory_store import MemoryStore
from network.transfer import fetch, publish
from protocol.car import encode_car
from protocol.cid import DAG_PB, RAW, Cid, block_cid, directory_cid
from protocol.dag_pb import Kind, Node, PbLink, encode_node
from protocol.errors import BlockCorrupt, BlockMissing, InvalidInput, SearchUnfinished, StoreUnavailable, TooLarge
from protocol.unixfs import CHUNK, Block
from tests.network import hostile_http
from tests.network.hostile_http import DYING, ENDLESS, SLOW, HostileServer, gateway, in_turn, redirects, says
from tests.network.kubo import IPFS, NO_IPFS, KuboNode

FILES = {"update.json": b"{}", "delta.safetensors": random.Random(2).randbytes(3 * CHUNK + 7), "same.json": b"{}"}  # noqa: S311
ALICE = Block(block_cid(RAW, b"alice's update"), b"alice's update")
RAW_TYPE, CAR_TYPE = "application/vnd.ipld.raw", "application/vnd.ipld.car; version=1; order=dfs; dups=n"


@pytest.fixture
def mallory() -> Iterator[HostileServer]:
    with hostile_http.running() as server:
        yield server


@pytest.fixture
def published() -> MemoryStore:
    store = MemoryStore()
    store.put_block(ALICE)
    return store


def source(server: HostileServer, find_seconds: float = 1.0, retry_seconds: float = 0.5) -> GatewaySource:
    return GatewaySource(server.url, find_seconds, retry_seconds)


# What is refused


@pytest.mark.parametrize(
    "url",
    [
        "",
        "gateway.example",
        "ftp://gateway.example",
        "https://",
        "https:///ipfs",
        "http://[::1",
        "http://gateway.example:99999",
        "http://gateway.example:0",
        "http://gateway.example/?x=1",
        "http://gateway.example/#x",
        "http://gateway.example/a b",
        "http://gateway.example/\r\nX-Evil: 1",
        "http://gäteway.example",
    ],
)
def test_refuses_other_urls(url: str) -> None:
    with pytest.raises(InvalidInput, match="names no gateway"):
        GatewaySource(url)


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidInput, match="names no gateway") as caught:
        GatewaySource("https://alice:secret@gateway.example")
    assert "secret" not in str(caught.value)


def test_other_bytes_are_corrupt(mallory: HostileServer) -> None:
    mallory.answer = says(200, b"mallory's update", kind=RAW_TYPE)
    with pytest.raises(BlockCorrupt, match=str(ALICE.cid)):
        source(mallory).get_block(ALICE.cid)


def test_a_page_is_no_block(mallory: HostileServer) -> None:
    mallory.answer = says(200, b"<html>Sign in to the hotel", kind="text/html; charset=utf-8")
    with pytest.raises(StoreUnavailable, match=r"text/html.*trustless gateway"):
        source(mallory).get_block(ALICE.cid)


def test_true_bytes_are_true_whatever_they_are_called(mallory: HostileServer) -> None:
    mallory.answer = says(200, ALICE.data, kind="text/html")
    assert source(mallory).get_block(ALICE.cid) == ALICE.data


@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_block_is_cut_off(name: str, mallory: HostileServer) -> None:
    mallory.answer = ENDLESS[name]
    with pytest.raises(BlockCorrupt, match=str(ALICE.cid)):
        source(mallory).get_block(ALICE.cid)


def test_a_chunk_of_less_than_nothing_is_no_chunk(mallory: HostileServer) -> None:
    mallory.answer = hostile_http.a_chunk_below_nothing
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(StoreUnavailable, match="does not speak HTTP"):
        source(mallory, 3).get_block(ALICE.cid)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KB; read to its end it is millions


def test_nothing_is_unpacked(mallory: HostileServer) -> None:
    mallory.answer = hostile_http.bomb
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BlockCorrupt):
        source(mallory, 20).get_block(ALICE.cid)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KB; unpacked it is a million
    assert mallory.headers[0]["accept-encoding"] == "identity"


@pytest.mark.parametrize("length", [5, 500])
def test_a_length_that_is_a_lie(length: int, mallory: HostileServer) -> None:
    mallory.answer = says(200, ALICE.data, kind=RAW_TYPE, length=length)
    with pytest.raises((BlockCorrupt, StoreUnavailable), match=str(ALICE.cid)):
        source(mallory).get_block(ALICE.cid)


@pytest.mark.parametrize("name", SLOW)
def test_a_slow_answer_is_cut_off(name: str, mallory: HostileServer) -> None:
    mallory.answer = SLOW[name]
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match="too slowly"):
        source(mallory, 0.5).get_block(ALICE.cid)
    assert time.monotonic() - started < 1.5


def test_a_silent_gateway_takes_no_more_than_its_time(mallory: HostileServer) -> None:
    mallory.answer = hostile_http.is_silent
    started = time.monotonic()
    with pytest.raises(SearchUnfinished, match=r"Timeout.*Tried"):
        source(mallory, 9).get_block(ALICE.cid, 0.3)
    assert time.monotonic() - started < 1


def test_an_endless_head_is_cut_off(mallory: HostileServer) -> None:
    mallory.answer = hostile_http.never_ends_its_head
    with pytest.raises(StoreUnavailable, match="does not speak HTTP"):
        source(mallory).get_block(ALICE.cid)


def test_what_is_no_http_is_not_asked_again(mallory: HostileServer) -> None:
    mallory.answer = hostile_http.is_no_http
    with pytest.raises(StoreUnavailable, match="does not speak HTTP"):
        source(mallory).get_block(ALICE.cid)
    assert len(mallory.asked) == 1


# What it says of what it has not


@pytest.mark.parametrize("status", [404, 410, 451, 504])
def test_what_the_gateway_has_not_found_is_missing(status: int, mallory: HostileServer) -> None:
    mallory.answer = says(status, b"no providers found", kind="text/plain")
    with pytest.raises(BlockMissing, match=str(status)) as caught:
        source(mallory).get_block(ALICE.cid)
    assert caught.value.cid == str(ALICE.cid)
    assert "gateway:http" in str(caught.value)
    assert len(mallory.asked) == 1


@pytest.mark.parametrize("status", [204, 206, 400, 401, 403, 406, 418, 501])
def test_other_refusals_are_the_gateways_own(status: int, mallory: HostileServer) -> None:
    mallory.answer = says(status, b"no" if status != 204 else b"")
    with pytest.raises(StoreUnavailable, match=f"{status}.*trustless gateway"):
        source(mallory).get_block(ALICE.cid)
    assert len(mallory.asked) == 1


# Trying again


@pytest.mark.parametrize("name", DYING)
def test_one_that_breaks_off_is_asked_again(name: str, mallory: HostileServer) -> None:
    mallory.answer = in_turn(DYING[name], says(200, ALICE.data))
    assert source(mallory).get_block(ALICE.cid) == ALICE.data
    assert len(mallory.asked) == 2


@pytest.mark.parametrize("name", DYING)
def test_one_that_always_breaks_off_is_given_up(name: str, mallory: HostileServer) -> None:
    mallory.answer = DYING[name]
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match=rf"{ALICE.cid}.*Tried \d+ times in 0\.\d s"):
        source(mallory).get_block(ALICE.cid)
    assert len(mallory.asked) > 1
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_busy_gateway_is_asked_again(status: int, mallory: HostileServer) -> None:
    mallory.answer = in_turn(says(status, b"<html>later"), says(200, ALICE.data))
    assert source(mallory).get_block(ALICE.cid) == ALICE.data


def test_it_says_when_to_come_back(mallory: HostileServer) -> None:
    mallory.answer = in_turn(says(429, b"", Retry_After="1"), says(200, ALICE.data))
    started = time.monotonic()
    assert source(mallory, 9, 9).get_block(ALICE.cid) == ALICE.data
    assert 1 <= time.monotonic() - started < 3


@pytest.mark.parametrize("after", ["60", "Fri, 31 Dec 2299 23:59:59 GMT"])
def test_nobody_waits_for_what_comes_after_the_deadline(after: str, mallory: HostileServer) -> None:
    mallory.answer = says(503, b"", Retry_After=after)
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match="503"):
        source(mallory, 5, 5).get_block(ALICE.cid)
    assert time.monotonic() - started < 1
    assert len(mallory.asked) == 1


@pytest.mark.parametrize("after", ["soon", "-1", "1e9", "٣", "Fri, 31 Feb 2020 99:99:99 GMT"])
def test_a_word_that_is_no_time_is_passed_over(after: str, mallory: HostileServer) -> None:
    mallory.answer = in_turn(says(503, b"", Retry_After=after.encode().decode("latin-1")), says(200, ALICE.data))
    assert source(mallory).get_block(ALICE.cid) == ALICE.data


def test_one_that_starts_late_is_waited_for(published: MemoryStore) -> None:
    port, done = hostile_http.free_port(), threading.Event()

    def serve() -> None:
        time.sleep(0.5)
        with hostile_http.running(port) as server:
            server.answer = gateway(published)
            done.wait(20)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert GatewaySource(f"http://127.0.0.1:{port}", 20, 20).get_block(ALICE.cid) == ALICE.data
    finally:
        done.set()
        thread.join()


def test_nobody_there_is_said_in_time() -> None:
    one = GatewaySource(f"http://127.0.0.1:{hostile_http.free_port()}", 0.4, 0.4)
    for ask in (one.get_block, one.has_block, lambda cid: list(one.get_tree(cid, 1))):
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"Refused.*Tried") as caught:
            ask(ALICE.cid)
        assert not isinstance(caught.value, SearchUnfinished)
        assert time.monotonic() - started < 1.5


# Being sent on


def test_it_goes_where_the_gateway_says_on_its_own_host(mallory: HostileServer) -> None:
    mallory.answer = in_turn(
        redirects(f"/elsewhere/{ALICE.cid}?format=raw", 301),
        redirects(f"{mallory.url}/again#part", 308),
        says(200, ALICE.data),
    )
    assert source(mallory).get_block(ALICE.cid) == ALICE.data
    assert mallory.asked[1:] == [f"/elsewhere/{ALICE.cid}?format=raw", "/again"]
    assert mallory.headers[-1]["accept"] == RAW_TYPE


def test_it_goes_to_a_subdomain_of_the_gateway(mallory: HostileServer) -> None:
    port = mallory.server_port
    mallory.answer = in_turn(redirects(f"http://{ALICE.cid}.ipfs.localhost:{port}/?format=raw"), says(200, ALICE.data))
    assert GatewaySource(f"http://localhost:{port}", 5).get_block(ALICE.cid) == ALICE.data
    assert mallory.headers[1]["host"] == f"{ALICE.cid}.ipfs.localhost:{port}"


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:1/",
        "http://localhost:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1.evil.example/",
        "http://evil127.0.0.1:{port}/",
        "http://mallory@127.0.0.1:{port}/",
        "https://127.0.0.1:{port}/",
        "file:///etc/passwd",
        "http://[",
        "",
    ],
)
def test_it_goes_nowhere_else(location: str, mallory: HostileServer) -> None:
    mallory.answer = redirects(location.format(port=mallory.server_port))
    with pytest.raises(StoreUnavailable, match="redirect"):
        source(mallory).get_block(ALICE.cid)
    assert len(mallory.asked) == 1 or location == ""


def test_going_in_circles_ends(mallory: HostileServer) -> None:
    mallory.answer = redirects("/round/and/round")
    with pytest.raises(StoreUnavailable, match="redirected more than 5 times"):
        source(mallory).get_block(ALICE.cid)
    assert len(mallory.asked) == 6


def test_secure_gateways_do_not_send_to_open_ones(mallory: HostileServer) -> None:
    one = GatewaySource("https://gateway.example")
    with pytest.raises(Exception, match="another server"):
        one._follow("https://gateway.example/ipfs/x", "http://gateway.example/ipfs/x")
    upgraded = GatewaySource("http://gateway.example")._follow("http://gateway.example/a", "https://gateway.example/a")
    assert upgraded == "https://gateway.example/a"


# A gateway that behaves


def test_a_prefix_comes_before_the_path(mallory: HostileServer, published: MemoryStore) -> None:
    mallory.answer = gateway(published)
    one = GatewaySource(f"{mallory.url}/some/where/")
    assert one.get_block(ALICE.cid) == ALICE.data
    assert mallory.asked == [f"/some/where/ipfs/{ALICE.cid}?format=raw"]
    assert one.name == f"gateway:{mallory.url}/some/where"


def test_an_artifact_comes_block_by_block_over_few_connections(mallory: HostileServer, published: MemoryStore) -> None:
    mallory.is_patient, mallory.answer = True, gateway(published)
    digest = publish(published, FILES)
    one = source(mallory, 10)
    for _ in range(3):
        assert fetch_all(one, digest) == FILES
    assert len(mallory.asked) > 3 * 6
    assert mallory.connections <= 8  # as many as ask at once
    one.close()


def fetch_all(one: GatewaySource, digest: bytes) -> dict[str, bytes]:
    store = MemoryStore()
    for block in one.get_tree(directory_cid(digest), 4 * CHUNK):  # type: ignore[arg-type]
        assert one.get_block(block.cid) == block.data
        store.put_block(block)
    return fetch(store, digest, 4 * CHUNK)  # type: ignore[arg-type]


def test_it_says_what_it_has_itself(mallory: HostileServer, published: MemoryStore) -> None:
    mallory.answer = gateway(published)
    assert source(mallory).has_block(ALICE.cid)
    assert not source(mallory).has_block(block_cid(RAW, b"nobody has this"))
    assert mallory.headers[0]["cache-control"] == "only-if-cached"


def test_a_certificate_of_nobody_is_not_accepted(mallory: HostileServer, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    _self_sign(key, certificate)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    mallory.socket = tls.wrap_socket(mallory.socket, server_side=True)
    mallory.answer = says(200, ALICE.data)
    with pytest.raises(StoreUnavailable, match="certificate is not accepted"):
        GatewaySource(f"https://localhost:{mallory.server_port}", 5, 0.5).get_block(ALICE.cid)
    assert mallory.asked == []


def test_a_certificate_of_somebody_is(mallory: HostileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    _self_sign(key, certificate)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    mallory.socket = tls.wrap_socket(mallory.socket, server_side=True)
    mallory.is_patient, mallory.answer = True, says(200, ALICE.data)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    one = GatewaySource(f"https://localhost:{mallory.server_port}", 5)
    for _ in range(3):
        assert one.get_block(ALICE.cid) == ALICE.data
    one.close()


def _self_sign(key: Path, certificate: Path) -> None:
    import subprocess

    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,DNS:*.localhost"]
    try:
        subprocess.run([*words, "-keyout", key, "-out", certificate, *subject], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"openssl makes no certificate: {error}")


# Whole trees


def tree(mallory: HostileServer, root: Cid, blocks: list[Block], limit: int = 8 * CHUNK) -> list[Cid]:
    mallory.answer = says(200, b"".join(encode_car([root], blocks)), kind=CAR_TYPE)
    return [block.cid for block in source(mallory, 20).get_tree(root, limit)]


@pytest.fixture
def blocks(published: MemoryStore) -> list[Block]:
    """The blocks of one artifact, as a gateway orders them."""
    return hostile_http.depth_first(published, directory_cid(publish(published, FILES)))


def test_a_tree_comes_whole(blocks: list[Block], mallory: HostileServer) -> None:
    assert tree(mallory, blocks[0].cid, blocks) == [block.cid for block in blocks]
    assert mallory.headers[0]["accept"] == "application/vnd.ipld.car; version=1; order=dfs; dups=n"
    assert mallory.asked == [f"/ipfs/{blocks[0].cid}?format=car&dag-scope=all"]


def test_repeated_blocks_count_once(blocks: list[Block], mallory: HostileServer) -> None:
    assert tree(mallory, blocks[0].cid, [*blocks[:2], *blocks[:2], *blocks]) == [block.cid for block in blocks]


def test_a_block_that_nobody_linked_to_is_refused_by_name(blocks: list[Block], mallory: HostileServer) -> None:
    with pytest.raises(BlockCorrupt, match=str(ALICE.cid)):
        tree(mallory, blocks[0].cid, [*blocks[:3], ALICE, *blocks[3:]])


def test_children_do_not_come_before_their_parents(blocks: list[Block], mallory: HostileServer) -> None:
    with pytest.raises(BlockCorrupt, match=str(blocks[-1].cid)):
        tree(mallory, blocks[0].cid, blocks[::-1])


def test_a_changed_block_is_refused_by_name(blocks: list[Block], mallory: HostileServer) -> None:
    changed = [*blocks[:2], Block(blocks[2].cid, b"mallory's"), *blocks[3:]]
    with pytest.raises(BlockCorrupt, match=str(blocks[2].cid)):
        tree(mallory, blocks[0].cid, changed)


@pytest.mark.parametrize("left_out", range(6))
def test_a_block_that_is_left_out_is_missing(left_out: int, blocks: list[Block], mallory: HostileServer) -> None:
    cut = [block for block in blocks if block.cid not in _below(blocks, blocks[left_out].cid)]
    with pytest.raises(BlockMissing, match=str(blocks[left_out].cid)):
        tree(mallory, blocks[0].cid, cut)


def _below(blocks: list[Block], cid: Cid) -> set[Cid]:
    store = MemoryStore()
    store.put_blocks(blocks)
    return {block.cid for block in hostile_http.depth_first(store, cid)}


def test_more_than_the_limit_is_refused(blocks: list[Block], mallory: HostileServer) -> None:
    size = sum(len(block.data) for block in blocks)
    assert tree(mallory, blocks[0].cid, blocks, size)
    with pytest.raises(TooLarge):
        tree(mallory, blocks[0].cid, blocks, size - 1)


def test_a_tree_of_links_alone_is_refused(mallory: HostileServer) -> None:
    """Some thousand links for each node: what a reader must remember of them grows faster than the bytes."""

    def node(number: int) -> Block:
        links = tuple(PbLink(block_cid(RAW, bytes((number, i % 256, i // 256))), f"{i:04}", 3) for i in range(4000))
        data = encode_node(Node(Kind.DIRECTORY, links))
        return Block(block_cid(DAG_PB, data), data)

    nodes = [node(number) for number in range(5)]
    links = tuple(PbLink(one.cid, str(i), 1) for i, one in enumerate(nodes))
    data = encode_node(Node(Kind.DIRECTORY, links))
    with pytest.raises(TooLarge):
        tree(mallory, block_cid(DAG_PB, data), [Block(block_cid(DAG_PB, data), data), *nodes])


def test_repeating_without_end_is_cut_off(blocks: list[Block], mallory: HostileServer) -> None:
    with pytest.raises(StoreUnavailable, match="repeats blocks"):
        tree(mallory, blocks[0].cid, [*blocks[:3], *(blocks[2:3] * 12)], 4 * CHUNK)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"\x00", b"\xff" * 100, b"\x3a\xa2\x65roots"],
    ids=["nothing", "a page", "zero", "a huge length", "half a header"],
)
def test_garbage_is_no_tree(body: bytes, blocks: list[Block], mallory: HostileServer) -> None:
    mallory.answer = says(200, body, kind=CAR_TYPE)
    with pytest.raises(StoreUnavailable, match=str(blocks[0].cid)):
        list(source(mallory).get_tree(blocks[0].cid, CHUNK))


@pytest.mark.parametrize("cut", [1, 100, CHUNK, 2 * CHUNK])
def test_a_tree_that_breaks_off_gives_what_came_and_says_so(
    cut: int, blocks: list[Block], mallory: HostileServer
) -> None:
    body = b"".join(encode_car([blocks[0].cid], blocks))
    mallory.answer = says(200, body[:-cut], kind=CAR_TYPE, length=len(body))
    came = []
    with pytest.raises(StoreUnavailable, match=str(blocks[0].cid)):
        for block in source(mallory).get_tree(blocks[0].cid, 8 * CHUNK):
            came.append(block)
    assert 0 < len(came) < len(blocks)
    assert came == blocks[: len(came)]


def test_a_slow_tree_is_cut_off(blocks: list[Block], mallory: HostileServer) -> None:
    mallory.answer = hostile_http.trickles
    started = time.monotonic()
    with pytest.raises(StoreUnavailable):
        list(source(mallory).get_tree(blocks[0].cid, CHUNK, 0.4))
    assert time.monotonic() - started < 1.5


def test_a_tree_is_asked_for_again_until_it_begins(blocks: list[Block], mallory: HostileServer) -> None:
    body = b"".join(encode_car([blocks[0].cid], blocks))
    mallory.answer = in_turn(says(503, b""), hostile_http.drops, says(200, body, kind=CAR_TYPE))
    assert list(source(mallory).get_tree(blocks[0].cid, 8 * CHUNK)) == blocks


def test_who_has_enough_of_a_tree_may_go(blocks: list[Block], mallory: HostileServer) -> None:
    mallory.answer = says(200, b"".join(encode_car([blocks[0].cid], blocks)), kind=CAR_TYPE)
    blocks_of = source(mallory).get_tree(blocks[0].cid, 8 * CHUNK)
    assert next(iter(blocks_of)) == blocks[0]
    blocks_of.close()  # type: ignore[attr-defined]


# Kubo's own gateway


@pytest.mark.skipif(IPFS is None, reason=NO_IPFS)
def test_kubos_gateway(tmp_path: Path) -> None:
    with KuboNode(tmp_path, gateway=True) as node:
        kubo = KuboStore(node.address, find_seconds=0.5)
        digest = publish(kubo, FILES)
        root, nobodys = directory_cid(digest), block_cid(RAW, b"nobody has this")
        for url in (node.gateway_url, node.gateway_url.replace("127.0.0.1", "localhost")):  # the second one redirects
            one = GatewaySource(url, 5)
            assert fetch_all(one, digest) == FILES
            assert one.has_block(root)
            assert not one.has_block(nobodys)
            with pytest.raises(BlockMissing):
                one.get_block(nobodys)
            with pytest.raises(BlockMissing):
                list(one.get_tree(nobodys, CHUNK))
            one.close()
        kubo.close()
