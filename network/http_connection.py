"""One HTTP/1.1 connection to a server that may be hostile, whose every wait ends at one time: what ``http_wire`` is made of."""

from __future__ import annotations

import http.client
import io
import select
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from network.retries import Again

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BUFFER = 64 * 1024  # bytes read ahead


class Dropped(Again):
    """There was no connection, or it broke before the answer was whole."""


class TooSlow(Again):
    """The time of the exchange was over."""


class Garbled(Exception):
    """What came is not HTTP."""


class TooLong(Exception):
    """The answer is longer than its limit."""


class Connection:
    """One connection, over TCP or TLS; to ``http.client`` it is a socket. It lives until ``end``.

    Attributes:
        until: The monotonic time at which whatever it waits for fails; set anew for each request.
        is_finished: Whether the other side will take no further request.

    Raises:
        Dropped: There is no connection. Garbled: The other side's certificate or TLS is not accepted.
    """

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, until: float) -> None:
        self.until = until
        try:
            with failures("the connection"):
                self._socket = _connect(host, port, until)
                if tls is not None:
                    try:
                        self._socket.settimeout(_left(until))
                        self._socket = tls.wrap_socket(self._socket, server_hostname=host)
                    except BaseException:
                        self._socket.close()
                        raise
        except TooSlow as error:  # who never took the call has not begun to look for anything
            raise Dropped(error.why) from error
        self._client = http.client.HTTPConnection(host, port)
        self._client.response_class = Response
        self._client.sock = cast(socket.socket, self)
        self.is_finished = False

    def ask(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | Iterator[bytes] | None
    ) -> Response:
        """Make one request and return its answer, of which the head was read; raises Dropped, TooSlow, Garbled."""
        with failures("its answer"):
            try:
                self._client.request(method, target, body, dict(headers))
                response = self._client.getresponse()
            except (BrokenPipeError, ConnectionResetError) as error:  # it may have said why it takes no more
                try:
                    response = self._client.getresponse()
                except http.client.HTTPException:
                    raise error from None
        self.is_finished = response.will_close
        return cast(Response, response)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has come that nobody asked for, be it the connection's end."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def end(self) -> None:
        """Close it."""
        self._client.close()
        self._socket.close()

    # --- what http.client asks of a socket ---

    def sendall(self, data: Any) -> None:
        self._socket.settimeout(_left(self.until))  # Python counts it for all of the data
        self._socket.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Incoming(self), BUFFER)

    def close(self) -> None:
        """An answer may still be read; ``end`` closes."""

    def receive_into(self, buffer: WriteableBuffer) -> int:
        self._socket.settimeout(_left(self.until))
        return self._socket.recv_into(buffer)


class _Incoming(io.RawIOBase):
    """What comes over a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        return self._connection.receive_into(buffer)


class Response(http.client.HTTPResponse):
    """An answer, of which also what stands after its body is read.

    Attributes:
        late_error: What Kubo says there of an error in the middle of the answer; "" where there was none.
    """

    late_error = ""

    def _read_next_chunk_size(self) -> int:
        """Return the length of the next chunk; of a negative one ``http.client`` would read all that ever comes."""
        size: int = super()._read_next_chunk_size()  # type: ignore[misc]
        if size < 0:
            raise http.client.HTTPException
        return size

    def _read_and_discard_trailer(self) -> None:
        self.late_error = http.client.parse_headers(self.fp).get("X-Stream-Error", "")


class Body(io.RawIOBase):
    """The body of an answer, whose failures are those of the wire."""

    def __init__(self, response: Response) -> None:
        self._response = response

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        with failures("its answer"):
            view = memoryview(buffer)
            data = self._response.read1(len(view))  # what has come already, and not as much as there is room for
            if not data and self._response.length:
                raise http.client.IncompleteRead(b"")
            view[: len(data)] = data
        return len(data)


@contextmanager
def failures(what: str) -> Iterator[None]:
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


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
