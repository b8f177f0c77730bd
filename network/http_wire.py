"""HTTP/1.1 to a server that may be hostile: no answer is larger, and no exchange longer (but for
looking up its name), than its caller says.

It stands on ``http.client`` of the standard library, with sockets that look at one clock for the whole exchange: a server
that sends a byte a second, in its headers or between two chunks, gains no time by it. Bodies are taken as they are sent:
nothing is decompressed on a stranger's word. Redirects are the caller's business. Connections are kept and used again.

Why not httpx or requests: their time limits begin anew with every byte that comes, requests reads answers of any length
into memory, and httpx parses in Python: measured on 200 blocks of 1 MiB from Kubo, eight at once, with two cores, it took
100 MB/s and all of a core where this takes 270 MB/s and half of one.
"""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import io
import ssl
import threading
import time
import urllib.parse
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO

from network.http_connection import BUFFER, Body, Connection, Dropped, Garbled, Response, TooLong, TooSlow, failures

__all__ = ["Answer", "Dropped", "Garbled", "TooLong", "TooSlow", "Wire"]

MOST_IDLE = 32  # connections that are kept open for the next request; as many threads may look for artifacts at once
_ALWAYS = {"User-Agent": "rondo", "Accept-Encoding": "identity"}


class Answer:
    """The answer to one request, of which nothing but the head was read so far.

    Attributes:
        status: Its status code.
    """

    def __init__(self, response: Response, connection: Connection) -> None:
        self._response, self._connection, self.status = response, connection, response.status

    def extend(self, until: float) -> None:
        """Let the exchange last until ``until``, which is for answers that are long but never silent for long."""
        self._connection.until = until

    def header(self, name: str) -> str:
        """Return the value of one of its headers, "" where it has none of that name."""
        return self._response.headers.get(name, "")

    @property
    def retry_after(self) -> float:
        """Seconds after which it wants to be asked again (RFC 9110, section 10.2.3), 0 where it says nothing of the kind."""
        value = self.header("Retry-After").strip()
        if value.isascii() and value.isdigit():
            return float(value[:9])
        with contextlib.suppress(ValueError, OverflowError):
            return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
        return 0.0

    @property
    def late_error(self) -> str:
        """What Kubo says, after all else, of an error in the middle of an answer; "" where there was none."""
        return self._response.late_error

    def read(self, limit: int) -> bytes:
        """Return the body.

        Raises:
            TooLong: It has more than ``limit`` bytes, or its head says so. Dropped, TooSlow, Garbled.
        """
        with failures("its answer"):
            told = self._response.length
            if (told or 0) > limit:
                raise TooLong
            data = self._response.read(limit + 1)
            if len(data) > limit:
                raise TooLong
            if len(data) < (told or 0):
                raise http.client.IncompleteRead(b"")
        return data

    def stream(self) -> BinaryIO:
        """Return the body as a stream; reading it raises Dropped, TooSlow, Garbled."""
        return io.BufferedReader(Body(self._response), BUFFER)


class Wire:
    """Connections to the server of one URL; one for many threads.

    Args:
        url: ``http://`` or ``https://``, a host, perhaps a port and a path, which comes before that of each request.
        headers: Sent with each request.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        parts = urllib.parse.urlsplit(url)
        self._host, self._prefix = parts.hostname or "", parts.path.rstrip("/") + "/"
        self._is_secure = parts.scheme == "https"
        self._port = parts.port or (443 if self._is_secure else 80)
        self._headers = {**_ALWAYS, **(headers or {}), "Host": parts.netloc}
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        self._tls = _tls() if self._is_secure else None
        weakref.finalize(self, _close_all, self._idle, self._lock)  # whoever drops the wire need not think of them

    @contextmanager
    def exchange(
        self,
        method: str,
        path: str,
        until: float,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterator[bytes] | None = None,
    ) -> Iterator[Answer]:
        """Ask for ``path`` (escaped, with its query) and give the answer; all of it ends at the monotonic time ``until``.

        A request whose body is an iterator is sent in chunks. The connection is used again only if the answer was read
        to its end.

        Raises:
            Dropped, TooSlow: It may be tried again. Garbled: The other side does not speak HTTP.
        """
        connection, is_kept = self._take() or Connection(self._host, self._port, self._tls, until), False
        try:
            connection.until = until
            response = connection.ask(method, self._prefix + path, {**self._headers, **(headers or {})}, body)
            yield Answer(response, connection)
            is_kept = response.isclosed() and not connection.is_finished and self._give_back(connection)
        finally:
            if not is_kept:
                connection.end()

    def close(self) -> None:
        """Close the connections that are idle."""
        _close_all(self._idle, self._lock)

    def _take(self) -> Connection | None:
        """Return an idle connection on which nothing has come in the meantime, be it its end or words out of turn."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if connection.is_quiet:
                return connection
            connection.end()

    def _give_back(self, connection: Connection) -> bool:
        """Keep the connection for the next request, unless there are enough; return whether it is kept."""
        with self._lock:
            has_room = len(self._idle) < MOST_IDLE
            if has_room:
                self._idle.append(connection)
        return has_room


def _close_all(idle: list[Connection], lock: threading.Lock) -> None:
    with lock:
        while idle:
            idle.pop().end()


def _tls() -> ssl.SSLContext:
    import httpx  # takes a tenth of a second to import; it knows where certificates are, and SSL_CERT_FILE

    return httpx.create_ssl_context()
