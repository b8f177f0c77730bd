"""A real HTTP server that answers anything at all, for what asks Kubo's API or a gateway; and one that is a gateway."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

from network.memory_store import MemoryStore
from protocol.car import encode_car
from protocol.cid import Cid, parse_cid
from protocol.unixfs import CHUNK, Block, child_cids

Answer = Callable[[BaseHTTPRequestHandler], None]


class HostileServer(ThreadingHTTPServer):
    """Whatever is asked, it does ``answer``; it notes the paths asked for, the headers, and counts connections.

    Attributes:
        is_patient: Whether connections are kept open between requests.
    """

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        self.answer: Answer = lambda _: None
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.connections = 0
        self.is_patient = False
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def address(self) -> str:
        """Its multiaddress."""
        return f"/ip4/127.0.0.1/tcp/{self.server_port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """Whoever is cut off says nothing of it."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20

    def setup(self) -> None:
        super().setup()
        cast(HostileServer, self.server).connections += 1

    def _do(self) -> None:
        server = cast(HostileServer, self.server)
        server.asked.append(self.path)
        server.headers.append({name.lower(): value for name, value in self.headers.items()})
        self._take_body()
        if not server.is_patient:
            self.close_connection = True
        server.answer(self)

    do_GET = do_POST = do_HEAD = _do  # noqa: N815 - the names that http.server calls

    def _take_body(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()

    def log_message(self, *_: object) -> None:
        """Be silent."""


@contextmanager
def running(port: int = 0) -> Iterator[HostileServer]:
    """Give a server that answers until the context ends."""
    with HostileServer(port) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def free_port() -> int:
    """Return a port at which nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


# --- answers ---


def says(status: int, body: bytes, *, kind: str = "", length: int | None = None, **headers: str) -> Answer:
    """Answer ``status`` and ``body``, with a Content-Length that is ``length`` where that is given."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(body) if length is None else length))
        if kind:
            request.send_header("Content-Type", kind)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        if request.command != "HEAD":
            with contextlib.suppress(OSError):
                request.wfile.write(body)

    return answer


def fails(message: str) -> Answer:
    """Answer as Kubo does when it says that it cannot."""
    return says(500, json.dumps({"Message": message, "Code": 0, "Type": "error"}).encode())


def in_turn(*answers: Answer) -> Answer:
    """Answer in each of these ways, one after the other, then always in the last one."""
    left = list(answers)

    def answer(request: BaseHTTPRequestHandler) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(request)

    return answer


def drops(_: BaseHTTPRequestHandler) -> None:
    """Close the connection without a word."""


def stops_half_way(request: BaseHTTPRequestHandler) -> None:
    says(200, b"alice", length=1000)(request)
    request.close_connection = True


def stops_in_a_chunk(request: BaseHTTPRequestHandler) -> None:
    _begin_chunks(request)
    request.wfile.write(b"3e8\r\nalice")
    request.close_connection = True


def is_silent(_: BaseHTTPRequestHandler) -> None:
    time.sleep(2)


def never_ends(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    _forever(request, bytes(CHUNK))


def never_ends_in_chunks(request: BaseHTTPRequestHandler) -> None:
    _begin_chunks(request)
    _forever(request, b"100000\r\n" + bytes(CHUNK) + b"\r\n")


def one_endless_chunk(request: BaseHTTPRequestHandler) -> None:
    _begin_chunks(request)
    request.wfile.write(b"ffffffffffff\r\n")
    _forever(request, bytes(CHUNK))


def a_chunk_below_nothing(request: BaseHTTPRequestHandler) -> None:
    """Says that a chunk has -1 bytes, which ``read`` takes for all that there is."""
    _begin_chunks(request)
    request.wfile.write(b"-1\r\n")
    _forever(request, bytes(CHUNK))


def never_ends_its_head(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\n")
    _forever(request, b"X-More: " + b"x" * 1000 + b"\r\n")


def trickles(request: BaseHTTPRequestHandler) -> None:
    """Send the body a byte at a time, with an end that is far away."""
    request.send_response(200)
    request.end_headers()
    _forever(request, b"x", 0.05)


def trickles_its_head(request: BaseHTTPRequestHandler) -> None:
    """Send a header a byte at a time: each byte comes well within any limit for a single wait."""
    request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    _forever(request, b"x", 0.05)


def trickles_a_chunk_size(request: BaseHTTPRequestHandler) -> None:
    _begin_chunks(request)
    _forever(request, b"0", 0.05)


def trickles_trailers(request: BaseHTTPRequestHandler) -> None:
    _begin_chunks(request)
    request.wfile.write(b"1\r\nx\r\n0\r\nX-Slow: ")
    _forever(request, b"x", 0.05)


def is_no_http(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n" + bytes(range(256)))
    request.close_connection = True


def bomb(request: BaseHTTPRequestHandler) -> None:
    """A gigabyte of zeros in a megabyte, for whoever unpacks it."""
    packed = gzip.compress(bytes(1 << 20)) * 1024  # members follow each other, which is one file
    says(200, packed, Content_Encoding="gzip", kind="application/vnd.ipld.raw")(request)


def redirects(location: str, status: int = 302) -> Answer:
    return says(status, b"", Location=location)


def _begin_chunks(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()


def _forever(request: BaseHTTPRequestHandler, part: bytes, pause: float = 0.0) -> None:
    request.close_connection = True
    with contextlib.suppress(OSError):
        for _ in range(100_000):
            request.wfile.write(part)
            time.sleep(pause)


DYING: dict[str, Answer] = {
    "dropped": drops,
    "half an answer": stops_half_way,
    "half a chunk": stops_in_a_chunk,
}
SLOW: dict[str, Answer] = {
    "body": trickles,
    "head": trickles_its_head,
    "chunk size": trickles_a_chunk_size,
    "trailers": trickles_trailers,
}
ENDLESS: dict[str, Answer] = {
    "to the end": never_ends,
    "chunks": never_ends_in_chunks,
    "one chunk": one_endless_chunk,
    "told": says(200, b"", length=1 << 50),
}


# --- a gateway ---


def gateway(store: MemoryStore) -> Answer:
    """Answer as a trustless gateway of what is in ``store``, which searches nowhere else."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        path, _, query = request.path.partition("?")
        cid = parse_cid(path.rpartition("/ipfs/")[2])
        if cid not in store.blocks:
            is_asked_for_cached = "only-if-cached" in request.headers.get("Cache-Control", "")
            says(412 if is_asked_for_cached else 404, b"not here")(request)
        elif "format=car" in query:
            blocks = depth_first(store, cid)
            says(
                200, b"".join(encode_car([cid], blocks)), kind="application/vnd.ipld.car; version=1; order=dfs; dups=n"
            )(request)
        else:
            says(200, store.blocks[cid], kind="application/vnd.ipld.raw")(request)

    return answer


def depth_first(store: MemoryStore, root: Cid) -> list[Block]:
    """Return the blocks of a tree as a gateway orders them, each once; what is not there is left out."""
    order: dict[Cid, Block] = {}

    def visit(cid: Cid) -> None:
        if cid in store.blocks and cid not in order:
            order[cid] = Block(cid, store.blocks[cid])
            for child in child_cids(order[cid]):
                visit(child)

    visit(root)
    return list(order.values())
