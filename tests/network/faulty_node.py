"""A real node behind a door that misbehaves: forwards JSON-RPC and lets a test bend requests and answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import requests

# Takes the request and a function that has it answered by the node; returns the answer, the bytes to answer with, or None
# to close the connection.
Answer = dict[str, Any] | bytes | None
Forward = Callable[[dict[str, Any]], dict[str, Any]]
Fault = Callable[[dict[str, Any], Forward], Answer]


class FaultyNode:
    """``with FaultyNode(node.url) as faulty``: answers at ``faulty.url`` as the node does, but for ``faulty.fault``."""

    def __init__(self, url: str) -> None:
        self.fault: Fault = lambda request, forward: forward(request)
        self.asked: list[str] = []  # methods, in order
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append(request["method"])
                answer = outer.fault(request, lambda asked: dict(requests.post(url, json=asked, timeout=20).json()))
                if answer is None:
                    self.close_connection = True
                    self.connection.close()
                    return
                body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(200 if isinstance(answer, bytes) else answer.pop("status", 200))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def once(method: str, fault: Fault) -> Fault:
    """Apply ``fault`` to the first request of ``method`` and forward all others."""
    left = [1]

    def bend(request: dict[str, Any], forward: Forward) -> Answer:
        if request["method"] != method or not left:
            return forward(request)
        left.pop()
        return fault(request, forward)

    return bend


def always(method: str, fault: Fault) -> Fault:
    """Apply ``fault`` to every request of ``method`` and forward all others."""
    return lambda request, forward: (fault if request["method"] == method else _honest)(request, forward)


def _honest(request: dict[str, Any], forward: Forward) -> Answer:
    return forward(request)
