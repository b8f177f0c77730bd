"""The Kubo adapter before a hostile API that answers anything at all; for a real one see test_ipfs_node."""

from __future__ import annotations

import json
import threading
import time
import tracemalloc
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from network.ipfs import AUTHORIZATION, KuboStore
from protocol.cid import MAX_BLOCK, RAW, block_cid
from protocol.errors import BlockCorrupt, BlockMissing, InvalidInput, SettingsError, StoreUnavailable
from protocol.unixfs import CHUNK, Block, import_directory
from tests.network import hostile_http
from tests.network.hostile_http import DYING, ENDLESS, SLOW, Answer, HostileServer, fails, in_turn, says

ALICE = Block(block_cid(RAW, b"alice's update"), b"alice's update")
SECRET = "Bearer kept-to-ourselves"


@pytest.fixture
def mallory() -> Iterator[HostileServer]:
    with hostile_http.running() as server:
        yield server


@pytest.fixture(autouse=True)
def short_grace(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "mallory" in request.fixturenames:
        monkeypatch.setattr("network.ipfs._GRACE_SECONDS", 0.2)


def store_at(server: HostileServer, **options: Any) -> KuboStore:
    return KuboStore(server.address, **{"find_seconds": 0.3, "retry_seconds": 0.5, **options})


def block(data: bytes, codec: int = RAW) -> Block:
    return Block(block_cid(codec, data), data)


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
    store = KuboStore(f"/ip4/127.0.0.1/tcp/{hostile_http.free_port()}", find_seconds=0.3, retry_seconds=0.5)
    for ask in (store.get_block, store.has_block, store.keep):
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match=rf"{ALICE.cid}.*Refused.*Tried \d+ times in 0.*ipfs daemon"):
            ask(ALICE.cid)
        assert time.monotonic() - started < 1.5


def test_other_bytes_are_corrupt(mallory: HostileServer) -> None:
    mallory.answer = says(200, b"mallory's update")
    with pytest.raises(BlockCorrupt, match=str(ALICE.cid)):
        store_at(mallory).get_block(ALICE.cid)


@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_block_is_cut_off(name: str, mallory: HostileServer) -> None:
    mallory.answer = ENDLESS[name]
    with pytest.raises(BlockCorrupt):
        store_at(mallory).get_block(ALICE.cid)


@pytest.mark.parametrize("name", ENDLESS)
def test_no_other_answer_is_read_to_an_end_that_never_comes(name: str, mallory: HostileServer) -> None:
    mallory.answer = ENDLESS[name]
    store = store_at(mallory)
    tracemalloc.start()
    for ask in (store.has_block, store.keep, store.release, lambda _: store.put_block(ALICE), lambda _: store.kept()):
        with pytest.raises(StoreUnavailable):
            ask(ALICE.cid)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 40_000_000  # the server that answers is in it, with its 1 MiB parts


@pytest.mark.parametrize("name", SLOW)
def test_a_slow_answer_is_cut_off(name: str, mallory: HostileServer) -> None:
    mallory.answer = SLOW[name]
    store = store_at(mallory)
    for ask in (store.get_block, store.has_block, store.keep, store.release, lambda _: store.put_block(ALICE)):
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match="too slowly"):
            ask(ALICE.cid)
        assert time.monotonic() - started < 2


def test_a_silent_node_is_unavailable(mallory: HostileServer) -> None:
    mallory.answer = hostile_http.is_silent
    with pytest.raises(StoreUnavailable, match="imeout"):
        store_at(mallory).get_block(ALICE.cid)
    assert len(mallory.asked) == 1  # a node that hangs is not asked again


def test_the_callers_time_is_kept_whatever_the_node_does(mallory: HostileServer) -> None:
    for answer in (hostile_http.is_silent, hostile_http.drops, says(503, b""), hostile_http.trickles):
        mallory.answer = answer
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store_at(mallory, find_seconds=9.0, retry_seconds=9.0).get_block(ALICE.cid, 0.3)
        assert time.monotonic() - started < 1.2


@pytest.mark.parametrize("name", DYING)
def test_dropped_connections_are_tried_again(name: str, mallory: HostileServer) -> None:
    mallory.answer = DYING[name]
    with pytest.raises(StoreUnavailable, match=rf"{ALICE.cid}.*Tried \d+ times in"):
        store_at(mallory).get_block(ALICE.cid)
    assert len(mallory.asked) > 1


@pytest.mark.parametrize("name", DYING)
def test_a_node_that_comes_back_is_used(name: str, mallory: HostileServer) -> None:
    mallory.answer = in_turn(DYING[name], says(200, ALICE.data))
    assert store_at(mallory).get_block(ALICE.cid) == ALICE.data
    assert len(mallory.asked) == 2


def test_a_node_that_starts_late_is_waited_for() -> None:
    port, done = hostile_http.free_port(), threading.Event()

    def serve() -> None:
        time.sleep(0.5)
        with hostile_http.running(port) as server:
            server.answer = says(200, ALICE.data)
            done.wait(20)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert KuboStore(f"/ip4/127.0.0.1/tcp/{port}", retry_seconds=20).get_block(ALICE.cid) == ALICE.data
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_proxy_that_is_busy_is_asked_again(status: int, mallory: HostileServer) -> None:
    mallory.answer = in_turn(says(status, b"<html>later", Retry_After="0"), says(200, ALICE.data))
    assert store_at(mallory).get_block(ALICE.cid) == ALICE.data


def test_nobody_waits_for_what_comes_after_the_deadline(mallory: HostileServer) -> None:
    mallory.answer = says(503, b"", Retry_After="60")
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"503.*Tried once"):
        store_at(mallory).get_block(ALICE.cid)
    assert time.monotonic() - started < 1


def test_an_answer_is_not_followed_elsewhere(mallory: HostileServer) -> None:
    with hostile_http.running() as eve:
        eve.answer = says(200, ALICE.data)
        mallory.answer = hostile_http.redirects(f"{eve.url}/api/v0/block/get", 307)
        with pytest.raises(StoreUnavailable, match="307"):
            store_at(mallory, authorization=SECRET).get_block(ALICE.cid)
        assert eve.asked == []


def test_nothing_is_unpacked(mallory: HostileServer) -> None:
    mallory.answer = hostile_http.bomb
    store = store_at(mallory)
    with pytest.raises(BlockCorrupt):
        store.get_block(ALICE.cid)
    with pytest.raises(StoreUnavailable):
        store.has_block(ALICE.cid)
    assert mallory.headers[0]["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "message",
    [
        "block was not found locally (offline): ipld: could not find bafkrei",
        "context deadline exceeded",
    ],
)
def test_kubos_words_for_a_missing_block(message: str, mallory: HostileServer) -> None:
    mallory.answer = fails(message)
    store = store_at(mallory)
    with pytest.raises(BlockMissing, match=str(ALICE.cid)):
        store.get_block(ALICE.cid)
    assert not store.has_block(ALICE.cid)


@pytest.mark.parametrize(("seconds", "said"), [(None, "0.300s"), (0.1, "0.100s"), (9.0, "0.300s"), (0.0, "0.001s")])
def test_a_search_can_be_short_and_is_never_endless(seconds: float | None, said: str, mallory: HostileServer) -> None:
    mallory.answer = fails("context deadline exceeded")
    with pytest.raises(BlockMissing):
        store_at(mallory).get_block(ALICE.cid, seconds)
    assert f"timeout={said}" in mallory.asked[-1]


def test_other_failures_of_the_node_are_its_own(mallory: HostileServer) -> None:
    mallory.answer = fails("someone else has the lock")
    for ask in (store_at(mallory).get_block, store_at(mallory).has_block, store_at(mallory).keep):
        with pytest.raises(StoreUnavailable, match="someone else has the lock"):
            ask(ALICE.cid)


@pytest.mark.parametrize("status", [200, 301, 403, 404, 500])
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"\xff\xfe", b"[]", b"[1]", b"{}", b"null", b'"x"', b'{"Key": 1}', b"{"]
)
def test_answers_that_are_not_kubos(status: int, body: bytes, mallory: HostileServer) -> None:
    mallory.answer = says(status, body)
    store = store_at(mallory)
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


def test_a_block_stored_under_another_name_is_not_stored(mallory: HostileServer) -> None:
    mallory.answer = takes(1, len(ALICE.data), str(block_cid(RAW, b"other")))
    with pytest.raises(StoreUnavailable, match="It stored"):
        store_at(mallory).put_block(ALICE)


@pytest.mark.parametrize(("blocks", "size"), [(0, 0), (1, 0), (2, len(ALICE.data))])
def test_a_node_that_took_other_blocks_has_not_stored_these(blocks: int, size: int, mallory: HostileServer) -> None:
    mallory.answer = takes(blocks, size, str(ALICE.cid))
    with pytest.raises(StoreUnavailable, match=f"it took {blocks} "):
        store_at(mallory).put_block(ALICE)


def test_too_large_a_block_is_not_even_sent(mallory: HostileServer) -> None:
    with pytest.raises(InvalidInput, match="2097153"):
        store_at(mallory).put_blocks([ALICE, block(bytes(MAX_BLOCK + 1))])
    assert mallory.asked == []


def test_a_node_of_a_tree_is_sent_after_what_it_links_to(mallory: HostileServer) -> None:
    blocks: list[Block] = []
    import_directory({"a": b"1", "b": bytes(2 * CHUNK)}, blocks.append)
    leaves, file, top = [one for one in blocks if one.cid.codec == RAW], blocks[-2], blocks[-1]
    mallory.answer = in_turn(
        *(
            takes_one
            for run in (leaves, [file], [top])
            for takes_one in (
                takes(len(run), sum(len(one.data) for one in run), ""),
                says(200, json.dumps({"Key": str(run[-1].cid), "Size": 1}).encode()),
            )
        )
    )
    store_at(mallory).put_blocks(blocks)
    assert [path.partition("?")[0].rpartition("v0/")[2] for path in mallory.asked] == ["dag/import", "block/stat"] * 3
    assert all("allow-big-block" not in path and "pin-roots=false" in path for path in mallory.asked[::2])


def pins(*names: str, end: bytes = b"") -> Answer:
    lines = [json.dumps({"Cid": name, "Type": "recursive"}) for name in names]
    return says(200, "".join(line + "\n" for line in lines).encode() + end)


def test_pins_of_others_are_not_ours(mallory: HostileServer) -> None:
    mallory.answer = pins(str(ALICE.cid), "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn", "nonsense")
    assert store_at(mallory).kept() == {ALICE.cid}


@pytest.mark.parametrize("end", [b"[1]\n", b"{}\n", b"null\n", b"<html>", b"[" * 1000 + b"\n", b"x" * 70_000])
def test_a_list_of_pins_is_whole_or_none(end: bytes, mallory: HostileServer) -> None:
    mallory.answer = pins(str(ALICE.cid), end=end)
    with pytest.raises(StoreUnavailable):
        store_at(mallory).kept()


def test_an_error_in_the_middle_of_the_list_is_heard(mallory: HostileServer) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        line = json.dumps({"Cid": str(ALICE.cid), "Type": "recursive"}).encode() + b"\n"
        request.wfile.write(b"%x\r\n%s\r\n0\r\nX-Stream-Error: the datastore broke\r\n\r\n" % (len(line), line))

    mallory.answer = answer
    with pytest.raises(StoreUnavailable, match="the datastore broke"):
        store_at(mallory).kept()


def test_more_pins_than_anybody_has_are_refused(mallory: HostileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("network.ipfs._MOST_PINS", 3)
    names = [str(block(bytes([number])).cid) for number in range(4)]
    mallory.answer = pins(*names[:3])
    assert len(store_at(mallory).kept()) == 3
    mallory.answer = pins(*names)
    with pytest.raises(StoreUnavailable, match="more than 3 pins"):
        store_at(mallory).kept()


def test_what_is_not_pinned_is_released_already(mallory: HostileServer) -> None:
    mallory.answer = fails("not pinned or pinned indirectly")
    store_at(mallory).release(ALICE.cid)
    mallory.answer = fails("someone else has the lock")
    with pytest.raises(StoreUnavailable, match="lock"):
        store_at(mallory).release(ALICE.cid)


def test_keeping_lasts_as_long_as_the_node_finds_more(mallory: HostileServer) -> None:
    def pinning(seconds: float, found: bool) -> Answer:
        def answer(request: BaseHTTPRequestHandler) -> None:
            if "pin/add" not in request.path:
                says(200, json.dumps({"Key": str(ALICE.cid), "Size": 1}).encode())(request)
                return
            request.send_response(200)
            request.end_headers()
            for number in range(int(seconds / 0.1)):
                request.wfile.write(json.dumps({"Progress": number * found}).encode() + b"\n")
                time.sleep(0.1)
            request.wfile.write(json.dumps({"Pins": [str(ALICE.cid)]}).encode() + b"\n")

        return answer

    mallory.answer = pinning(1.5, True)
    store_at(mallory).keep(ALICE.cid)
    mallory.answer = pinning(1.5, False)
    started = time.monotonic()
    with pytest.raises(BlockMissing, match=str(ALICE.cid)):
        store_at(mallory).keep(ALICE.cid)
    assert time.monotonic() - started < 1.2


# Who asks


def test_every_call_says_who_asks(mallory: HostileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(AUTHORIZATION, SECRET)
    mallory.answer = fails("no")
    store = store_at(mallory)
    for ask in (store.get_block, store.has_block, store.keep, store.release, lambda _: store.put_block(ALICE)):
        with pytest.raises(StoreUnavailable):
            ask(ALICE.cid)
    with pytest.raises(StoreUnavailable):
        store.kept()
    assert [headers.get("authorization") for headers in mallory.headers] == [SECRET] * 6


def test_nobody_asks_by_default(mallory: HostileServer) -> None:
    mallory.answer = says(200, ALICE.data)
    store_at(mallory).get_block(ALICE.cid)
    assert "authorization" not in mallory.headers[0]


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("body", [b"", b'{"Message": "log in"}'])
def test_who_is_not_let_in_is_told_how(status: int, body: bytes, mallory: HostileServer) -> None:
    mallory.answer = says(status, body)
    with pytest.raises(StoreUnavailable, match=f"{status}.*{AUTHORIZATION}"):
        store_at(mallory).has_block(ALICE.cid)
    assert len(mallory.asked) == 1


def test_the_secret_is_in_no_message(mallory: HostileServer) -> None:
    word = SECRET.partition(" ")[2]
    for answer in (
        fails(f"you said {SECRET}"),
        fails(f"{word} is wrong"),
        says(418, SECRET.encode()),
        hostile_http.drops,
    ):
        mallory.answer = answer
        with pytest.raises(StoreUnavailable) as caught:
            store_at(mallory, authorization=SECRET).has_block(ALICE.cid)
        assert word not in str(caught.value)
        assert word not in repr(store_at(mallory, authorization=SECRET))


@pytest.mark.parametrize("secret", ["Bearer a\r\nX-Evil: 1", "Bearer\u00e4", " Bearer a", "Bearer a\n", "\x00"])
def test_what_is_no_header_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(SettingsError, match=AUTHORIZATION) as caught:
        KuboStore("/ip4/127.0.0.1/tcp/1", authorization=secret)
    assert secret.strip() not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("/dns/ipfs.example/tcp/443/https", "https://ipfs.example:443/api/v0/"),
        ("/dns4/ipfs.example/tcp/8443/https", "https://ipfs.example:8443/api/v0/"),
        ("/ip6/::1/tcp/5001", "http://[::1]:5001/api/v0/"),
        ("/ip4/127.0.0.1/tcp/5001/http", "http://127.0.0.1:5001/api/v0/"),
    ],
)
def test_addresses_of_every_kind(address: str, url: str) -> None:
    from ipfshttpclient.http_common import multiaddr_to_url_data

    assert multiaddr_to_url_data(address, "api/v0")[0] == url
    KuboStore(address).close()


# Connections


def test_connections_are_used_again(mallory: HostileServer) -> None:
    mallory.is_patient, mallory.answer = True, says(200, ALICE.data)
    store = store_at(mallory)
    for _ in range(20):
        store.get_block(ALICE.cid)
    assert mallory.connections == 1
    store.close()


def test_a_connection_that_died_while_idle_is_not_used(mallory: HostileServer) -> None:
    def then_hangs_up(request: BaseHTTPRequestHandler) -> None:
        says(200, ALICE.data)(request)
        request.close_connection = True  # though it did not say so

    mallory.is_patient, mallory.answer = True, then_hangs_up
    store = store_at(mallory, retry_seconds=0.0)
    for _ in range(3):
        assert store.get_block(ALICE.cid) == ALICE.data
        time.sleep(0.05)
    assert mallory.connections == len(mallory.asked) == 3


def test_words_out_of_turn_are_not_taken_for_the_next_answer(mallory: HostileServer) -> None:
    def says_too_much(request: BaseHTTPRequestHandler) -> None:
        says(200, ALICE.data)(request)
        time.sleep(0.05)
        request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    mallory.is_patient, mallory.answer = True, says_too_much
    store = store_at(mallory)
    for _ in range(3):
        assert store.get_block(ALICE.cid) == ALICE.data
        time.sleep(0.1)
    assert mallory.connections == 3
    store.close()
