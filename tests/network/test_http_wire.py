"""The wire to servers that may be hostile: what it keeps open, and when it ends. Their answers are in test_gateway, test_ipfs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler

import pytest

from network.http_wire import MOST_IDLE, Dropped, TooLong, TooSlow, Wire
from tests.network import hostile_http
from tests.network.hostile_http import HostileServer, says


@pytest.fixture
def mallory() -> Iterator[HostileServer]:
    with hostile_http.running() as server:
        server.is_patient = True
        yield server


def read(wire: Wire, limit: int = 100, seconds: float = 5.0, body: bytes | Iterator[bytes] | None = None) -> bytes:
    with wire.exchange("POST", "x?y=z", time.monotonic() + seconds, body=body) as answer:
        return answer.read(limit)


def test_no_more_connections_are_kept_than_stated(mallory: HostileServer) -> None:
    def slowly(request: BaseHTTPRequestHandler) -> None:
        time.sleep(0.3)
        says(200, b"alice")(request)

    mallory.answer, wire = slowly, Wire(mallory.url)
    with ThreadPoolExecutor(MOST_IDLE + 8) as pool:
        assert set(pool.map(lambda _: read(wire), range(MOST_IDLE + 8))) == {b"alice"}
    assert len(wire._idle) <= MOST_IDLE
    before = mallory.connections
    mallory.answer = says(200, b"bob")
    assert read(wire) == b"bob"
    assert mallory.connections == before
    wire.close()


@pytest.mark.parametrize("limit", [0, 4, 5, 6])
def test_a_limit_is_the_last_byte_that_is_let_in(limit: int, mallory: HostileServer) -> None:
    def in_chunks(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.wfile.write(b"3\r\nali\r\n2\r\nce\r\n0\r\n\r\n")

    wire = Wire(mallory.url)
    for answer in (says(200, b"alice"), in_chunks):
        mallory.answer = answer
        if limit < 5:
            with pytest.raises(TooLong):
                read(wire, limit)
        else:
            assert read(wire, limit) == b"alice"
    wire.close()


def test_a_request_is_sent_in_chunks_and_the_prefix_comes_first(mallory: HostileServer) -> None:
    mallory.answer, wire = says(200, b""), Wire(f"{mallory.url}/api/v0/")
    assert read(wire, body=iter([b"one", b"two"])) == b""
    assert mallory.asked == ["/api/v0/x?y=z"]
    assert mallory.headers[0]["transfer-encoding"] == "chunked"
    wire.close()


def test_a_server_that_only_says_continue_ends_with_its_time(mallory: HostileServer) -> None:
    def continues(request: BaseHTTPRequestHandler) -> None:
        hostile_http._forever(request, b"HTTP/1.1 100 Continue\r\n\r\n" * 50, 0.01)

    mallory.answer, started = continues, time.monotonic()
    with pytest.raises(TooSlow):
        read(Wire(mallory.url), seconds=0.5)
    assert time.monotonic() - started < 1.5


def test_time_that_is_over_is_not_begun(mallory: HostileServer) -> None:
    wire = Wire(mallory.url)
    mallory.answer = says(200, b"alice")
    assert read(wire) == b"alice"
    with pytest.raises(TooSlow):  # over a connection that is there
        read(wire, seconds=-1.0)
    assert len(mallory.asked) == 1


def test_nobody_there_is_dropped() -> None:
    with pytest.raises(Dropped, match="Refused"):
        read(Wire(f"http://127.0.0.1:{hostile_http.free_port()}"))
    with pytest.raises(Dropped):
        read(Wire("http://no-such-host.invalid"))
