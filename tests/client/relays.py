"""Gasless clients for tests: accounts with keys, a made-up training, and relays of every kind behind a real socket."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn

import client.worker
from client.policy import Policy
from client.relay import Handover, Relay
from client.trainer import Trained
from client.worker import ClientWorker
from network.memory_chain import MemoryChain
from organization.relay import Relay as RelayOfAcme
from organization.service import create_app
from protocol.model import Model
from protocol.specs import merged_specs
from protocol.task import Task, Training
from protocol.types import Digest, address
from tests.client.conftest import blobs
from tests.client.world import CAROL, World
from tests.network.chain_world import address_of, key_of
from tests.processor.factory import tiny_model

TASK = Task("blobs", training=Training(batch_size=8, epochs=2, learning_rate=Fraction(1, 4)), publication_seconds=30)
TRUSTING = Policy(trusted_auditors=frozenset([CAROL]))
PAYER = address("0x" + "9" * 40)
MARGIN = 120  # seconds


class GaslessWorld(World):
    """One federation whose clients hold keys; the model is tiny and its training made up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(TASK, tiny_model())
        self.trainings = 0
        monkeypatch.setattr(client.worker, "train", self._train)

    def _train(self, base: Model, *_: Any, seed: int, **__: Any) -> Trained:
        self.trainings += 1
        random = np.random.default_rng(seed)
        weights = {}
        for spec in merged_specs(base.specs):
            assert spec.grid is not None
            value = np.ldexp(base.mantissas[spec.name].astype(np.float32), spec.grid)
            weights[spec.name] = value if spec.non_negative else value + random.normal(0, 0.01, spec.shape)
        return Trained({name: value.astype(np.float32) for name, value in weights.items()}, None, 40, 10, 700)

    def key_chain(self, name: str) -> MemoryChain:
        return MemoryChain(self.ledger, address_of(name), key_of(name))

    def client(self, name: str, home: Path, relay: Relay | Any | None, chain: Any = None, **more: Any) -> ClientWorker:
        """The client of ``name``, which hands its updates to ``relay``."""
        handover = None if relay is None else Handover(relay, MARGIN)
        chain = chain or self.key_chain(name)
        return ClientWorker(chain, self.store, self.federation, blobs(40, 1), home, TRUSTING, relay=handover, **more)

    def digests(self, name: str) -> list[Digest]:
        """What is on chain of ``name``, over all rounds."""
        return [event.digest for event in self.submissions(address_of(name))]

    def acmes_relay(self, **more: Any) -> RelayOfAcme:
        return RelayOfAcme(MemoryChain(self.ledger, PAYER), self.federation, anyone=True, **more)


class Counting:
    """A chain that counts what its account sends, and may be too poor for it."""

    def __init__(self, inner: MemoryChain, error: Exception | None = None) -> None:
        self._inner, self.sent, self.error = inner, 0, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def submit_update(self, *arguments: Any) -> Any:
        if self.error is not None:
            raise self.error
        self.sent += 1
        return self._inner.submit_update(*arguments)


@contextmanager
def served(world: GaslessWorld, relay: RelayOfAcme) -> Iterator[str]:
    """acme's service with ``relay``, really listening; yields its address. The relay steps when the test says so."""
    app = create_app(MemoryChain(world.ledger), world.store, relay=relay)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)


Behaviour = Callable[[socket.socket], None]


@contextmanager
def hostile(behave: Behaviour) -> Iterator[tuple[str, list[bytes]]]:
    """A server that reads a request and then does what ``behave`` does; yields its address and the requests so far."""
    requests: list[bytes] = []
    stopped = threading.Event()

    def serve(listening: socket.socket) -> None:
        while not stopped.is_set():
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.settimeout(5)
                    requests.append(_request(connection))
                    behave(connection)
                except OSError:  # the client left, as it should
                    continue

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.2)
        thread = threading.Thread(target=_until(stopped, serve, listening), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", requests
        finally:
            stopped.set()
            thread.join(10)


def _until(stopped: threading.Event, serve: Callable[[socket.socket], None], listening: socket.socket) -> Any:
    def run() -> None:
        while not stopped.is_set():
            serve(listening)  # returns when nobody came for a while

    return run


def _request(connection: socket.socket) -> bytes:
    """A whole request: head, and as many bytes as it says."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return data
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while len(body) < int(lengths[0] if lengths else 0):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def answer(status: str, body: bytes = b"", *headers: str) -> Behaviour:
    """Answers at once, whole."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return lambda connection: connection.sendall("\r\n".join(lines).encode() + body)


def silent(connection: socket.socket) -> None:
    """Says nothing until the client gives up."""
    connection.recv(1)


def drip(connection: socket.socket) -> None:
    """A header that never ends, a byte at a time."""
    connection.sendall(b"HTTP/1.1 202 Accepted\r\nX: ")
    for _ in range(60):
        connection.sendall(b"x")
        time.sleep(0.05)


def dripping_body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(60):
        connection.sendall(b" ")
        time.sleep(0.05)


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(10_000):
        connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
