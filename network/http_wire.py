"""HTTP/1.1 to a server that may be hostile: no answer is larger, and no exchange longer, than its caller says.

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
import select
import socket
import ssl
import threading
import time
import urllib.parse
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, cast

from network.retries import Again

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MOST_IDLE = 32  # connections that are kept open for the next request; as many threads may look for artifacts at once
_BUFFER = 64 * 1024
_ALWAYS = {"User-Agent": "rondo", "Accept-Encoding": "identity"}


class Dropped(Again):
    """There was no connection, or it broke before the answer was whole."""


class TooSlow(Again):
    """The time of the exchange was over."""


class Garbled(Exception):
    """What came is not HTTP."""


class TooLong(Exception):
    """The answer is longer than its limit."""


class Answer:
    """The answer to one request, of which nothing but the head was read so far.

    Attributes:
        status: Its status code.
    """

    def __init__(self, response: _Response, connection: _Connection) -> None:
        self._response, self._connection, self.status = response, connection, response.status

    def extend(self, until: float) -> None:
        """Let the exchange last until ``until``, which is for answers that are long but never silent for long."""
        self._connection.until = until

    def header(self, name: str) -> str:
        """Return a header's value, "" where there is none."""
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
    def is_whole(self) -> bool:
        """Whether all of it was read."""
        return self._response.isclosed()

    @property
    def late_error(self) -> str:
        """What Kubo says, after all else, of an error in the middle of an answer; "" where there was none."""
        return self._response.late_error

    def read(self, limit: int) -> bytes:
        """Return the body.

        Raises:
            TooLong: It has more than ``limit`` bytes, or its head says so. Dropped, TooSlow, Garbled.
        """
        with _failures("its answer"):
            told = self._response.length
            if (told or 0) > limit:
                raise TooLong
            data = self._response.read(limit + 1)
            if len(data) > limit:
                raise TooLong
            if len(data) < (told or 0):
                raise http.client.IncompleteRead(b"")
        return data

    def stream(self) -> IO[bytes]:
        """Return the body as a stream; reading it raises Dropped, TooSlow, Garbled."""
        return io.BufferedReader(_Body(self._response), _BUFFER)


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
        self._idle: list[_Connection] = []
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
        connection, is_kept = self._take() or _Connection(self._host, self._port, self._tls, until), False
        try:
            connection.until = until
            answer = connection.ask(method, self._prefix + path, {**self._headers, **(headers or {})}, body)
            yield answer
            is_kept = answer.is_whole and not connection.is_finished and self._give_back(connection)
        finally:
            if not is_kept:
                connection.end()

    def close(self) -> None:
        """Close the connections that are idle."""
        _close_all(self._idle, self._lock)

    def _take(self) -> _Connection | None:
        """Return an idle connection on which nothing has come in the meantime, be it its end or words out of turn."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if connection.is_quiet:
                return connection
            connection.end()

    def _give_back(self, connection: _Connection) -> bool:
        """Keep the connection for the next request, unless there are enough; return whether it is kept."""
        with self._lock:
            has_room = len(self._idle) < MOST_IDLE
            if has_room:
                self._idle.append(connection)
        return has_room


class _Connection:
    """One connection: what ``http.client`` takes for a socket. It lives until ``end``."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, until: float) -> None:
        self.until = until
        with _failures("the connection"):
            self._socket = _connect(host, port, until)
            if tls is not None:
                try:
                    self._socket.settimeout(_left(until))
                    self._socket = tls.wrap_socket(self._socket, server_hostname=host)
                except BaseException:
                    self._socket.close()
                    raise
        self._client = http.client.HTTPConnection(host, port)
        self._client.response_class = _Response
        self._client.sock = cast(socket.socket, self)
        self.is_finished = False

    def ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes | Iterator[bytes] | None) -> Answer:
        with _failures("its answer"):
            try:
                self._client.request(method, target, body, dict(headers))
                response = self._client.getresponse()
            except (BrokenPipeError, ConnectionResetError) as error:  # it may have said why it takes no more
                try:
                    response = self._client.getresponse()
                except http.client.HTTPException:
                    raise error from None
        self.is_finished = response.will_close
        return Answer(cast(_Response, response), self)

    @property
    def is_quiet(self) -> bool:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def end(self) -> None:
        self._client.close()
        self._socket.close()

    # --- what http.client asks of a socket ---

    def sendall(self, data: Any) -> None:
        self._socket.settimeout(_left(self.until))  # Python counts it for all of the data
        self._socket.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Incoming(self), _BUFFER)

    def close(self) -> None:
        """An answer may still be read; ``end`` closes."""

    def receive_into(self, buffer: WriteableBuffer) -> int:
        self._socket.settimeout(_left(self.until))
        return self._socket.recv_into(buffer)


class _Incoming(io.RawIOBase):
    """What comes over a connection."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        return self._connection.receive_into(buffer)


class _Response(http.client.HTTPResponse):
    """An answer of which also what comes after its body is read."""

    late_error = ""

    def _read_and_discard_trailer(self) -> None:
        self.late_error = http.client.parse_headers(self.fp).get("X-Stream-Error", "")


class _Body(io.RawIOBase):
    """The body of an answer, whose failures are those of the wire."""

    def __init__(self, response: _Response) -> None:
        self._response = response

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        with _failures("its answer"):
            count = self._response.readinto(buffer)
            if not count and self._response.length:
                raise http.client.IncompleteRead(b"")
        return count


@contextmanager
def _failures(what: str) -> Iterator[None]:
    """Speak of all that can fail in an exchange in the wire's own words."""
    try:
        yield
    except TimeoutError as error:
        raise TooSlow(f"Timeout: {what} came too slowly, or not at all.") from error
    except ssl.SSLCertVerificationError as error:
        raise Garbled(f"Its certificate is not accepted: {error.verify_message}.") from error
    except (http.client.IncompleteRead, http.client.RemoteDisconnected, ssl.SSLEOFError) as error:
        raise Dropped("It closed the connection before its answer was whole.") from error
    except ssl.SSLError as error:
        raise Garbled(f"It does not speak TLS as it should ({error.reason}).") from error
    except OSError as error:
        raise Dropped(f"{type(error).__name__}: {error.strerror or error}.") from error
    except (http.client.HTTPException, ValueError) as error:
        raise Garbled(f"It does not speak HTTP ({type(error).__name__}).") from error


def _connect(host: str, port: int, until: float) -> socket.socket:
    """Connect to the first of the host's addresses that takes it."""
    error: OSError = ConnectionError("its name has no address")
    if host.endswith(".localhost"):  # RFC 6761: all of them are this machine, though not every resolver knows
        host = "localhost"
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(_left(until))
            connection.connect(address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as why:
            connection.close()
            error = why
        else:
            return connection
    raise error


def _tls() -> ssl.SSLContext:
    import httpx  # takes a tenth of a second to import; it knows where certificates are, and SSL_CERT_FILE

    return httpx.create_ssl_context()


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _close_all(idle: list[_Connection], lock: threading.Lock) -> None:
    with lock:
        while idle:
            idle.pop().end()
