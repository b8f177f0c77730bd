"""A node that mallory runs: it speaks Kubo's HTTP API over real sockets, and sends what and how it likes."""

from __future__ import annotations

import threading
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from network.ipfs import KuboStore
from protocol.cid import Cid
from protocol.unixfs import Block, import_file

Bend = Callable[[bytes], Iterable[bytes]]  # the pieces in which a block is sent, or those of something else


class HostileNode:
    """Serves ``blocks`` by their names; those in ``bent`` as it pleases."""

    def __init__(self) -> None:
        self.blocks: dict[str, bytes] = {}
        self.bent: dict[str, Bend] = {}
        self.promises: dict[str, int] = {}  # how many bytes more than it sends it announces
        self.asked: Counter[str] = Counter()
        self.closing = threading.Event()

    def emit(self, block: Block) -> None:
        self.blocks[str(block.cid)] = block.data

    def add(self, path: Path) -> Cid:
        """Serve the file ``path``; return its CID."""
        with path.open("rb") as file:
            return import_file(file, self.emit).cid

    @contextmanager
    def serve(self, find_seconds: float = 30.0) -> Iterator[KuboStore]:
        """Serve, and give the store of a client that uses this node."""
        node = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                node._answer(self)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        store = KuboStore(f"/ip4/127.0.0.1/tcp/{server.server_address[1]}", find_seconds, retry_seconds=0.5)
        try:
            yield store
        finally:
            store.close()
            self.closing.set()
            server.shutdown()
            server.server_close()
            thread.join()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        name = urllib.parse.parse_qs(urllib.parse.urlsplit(request.path).query)["arg"][0]
        self.asked[name] += 1
        data = self.blocks.get(name)
        if data is None:
            data, status = b'{"Message":"block was not found locally (offline)","Code":0,"Type":"error"}', 500
        else:
            status = 200
        pieces = [bytes(piece) for piece in self.bent[name](data)] if name in self.bent else None
        length = sum(map(len, pieces or [data])) + self.promises.get(name, 0)
        request.send_response(status)
        request.send_header("Content-Length", str(length))
        request.end_headers()
        try:
            for piece in pieces or [data]:
                request.wfile.write(piece)
                if pieces is not None and len(pieces) > 1 and self.closing.wait(0.02):
                    break
        except OSError:
            pass
        request.close_connection = length != len(data)


def trickling(data: bytes) -> list[bytes]:
    """A few bytes at a time: never silent for long, and never done."""
    return [data[at : at + 16] for at in range(0, len(data), 16)]
