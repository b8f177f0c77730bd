"""The HTTP API of one Kubo node (https://docs.ipfs.tech/reference/kubo/rpc/), as bounded as if the node were a stranger's.

What of ipfshttpclient 0.7.0 works with today's Kubo (tried with 0.40.1) and what does not:

* ``ipfshttpclient.connect`` refuses every node from 0.8 on; ``Client`` asks for no version and is what is used here.
* It has two ways to speak HTTP. The one over requests reads answers of any length into memory, however slowly they come;
  the one over httpx is written for an httpx of 2021 and fails with today's. So it gets a third: ``network.http_wire``.
  What it does itself, and well, is commands, multipart bodies and JSON.
* ``block.stat``, ``pin.rm`` and ``dag.imprt`` work, the last with ``stats=true`` only: without it Kubo answers nothing
  where no root is pinned, and the library wants one answer.
* ``pin.ls`` and ``pin.add`` answer line by line, and say in a trailer, which the library does not read, if that ended
  early; ``block.get`` would copy each block twice. These three are plain HTTP, in this file.
"""

from __future__ import annotations

import json
import os
import time
import urllib.parse
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

os.environ.setdefault("PY_IPFS_HTTP_CLIENT_PATCH_REQUESTS", "no")  # a patch that urllib3 2 warns about

import ipfshttpclient
from ipfshttpclient.http_common import ClientSyncBase, multiaddr_to_url_data

from network.http_wire import Answer, Garbled, TooLong, Wire
from network.retries import Again
from protocol.canonical_json import is_nested_deeper

BASE = "api/v0"
_MOST_JSON = 64 * 1024  # bytes of an answer, or of a line of one; the longest that is wanted has some hundred
_DEPTH = 4
_UPLOAD_CHUNK = 256 * 1024  # bytes; of the library's own 4 KiB an upload of 16 MiB takes a third longer
_BUSY = (429, 500, 502, 503, 504)
_FORBIDDEN = (401, 403)
# answers of another shape than Kubo's, as the library and this file stumble over them
FOREIGN = (Garbled, TooLong, ipfshttpclient.exceptions.Error, AssertionError, LookupError, TypeError, ValueError)


class Refused(Exception):
    """What the node itself says of a call that it did not carry out."""


class Forbidden(Exception):
    """The node, or what stands before it, wants to know who asks."""


class KuboApi:
    """The API at the multiaddress ``address``; for many threads.

    Every call raises Refused and Forbidden, both definite; Again (network/retries.py); and one of FOREIGN where what answers
    is no Kubo. ``until`` is always the monotonic time at which it ends.

    Args:
        authorization: The header of this name, sent with each call; "" sends none.

    Raises:
        ValueError, ipfshttpclient.exceptions.Error: The address is not one of an HTTP API over TCP.
    """

    def __init__(self, address: str, authorization: str = "") -> None:
        if address.startswith("/unix/"):
            raise ValueError("Unix sockets are not supported.")
        headers = {"Authorization": authorization} if authorization else {}
        self.wire = Wire(multiaddr_to_url_data(address, BASE)[0], headers)
        self._client = _Client(address, self.wire)

    def block(self, cid: str, find_seconds: float, until: float, limit: int) -> bytes:
        """Return what the node says is the block ``cid``, searched for ``find_seconds``; raises TooLong over ``limit``."""
        options = {"arg": cid, **_search(find_seconds)}
        with self.wire.exchange("POST", _target("block/get", options), until) as answer:
            if answer.status != 200:
                raise _failure(answer)
            return answer.read(limit)

    def stat(self, cid: str, until: float) -> str:
        """Return the name of the block ``cid`` where the node itself has it."""
        return str(self._client.block.stat(cid, offline=True, timeout=until)["Key"])

    def import_car(self, car: Any, until: float) -> tuple[int, int]:
        """Store the blocks of ``car``, a file; return how many blocks and bytes of blocks the node says it took."""
        options = {"pin-roots": "false", "stats": "true"}
        stats = self._client.dag.imprt(car, opts=options, timeout=until)["Stats"]
        return int(stats["BlockCount"]), int(stats["BlockBytesCount"])

    def unpin(self, cid: str, until: float) -> None:
        """Unpin the tree of ``cid``; Refused where it is not pinned."""
        self._client.pin.rm(cid, timeout=until)

    def pins(self, until: float) -> Generator[str, None, None]:
        """Yield the roots of all trees that are pinned, one by one, each once."""
        options = {"type": "recursive", "stream": "true"}
        for line in self._lines("pin/ls", options, until):
            yield str(line["Cid"])

    def pin(self, cid: str, find_seconds: float, answer_seconds: float) -> None:
        """Pin the tree of ``cid``, however large it is.

        Raises:
            Refused: It is not, also when nothing more of it was found for ``find_seconds``.
        """
        # Until it has the root it would say nothing, so that is looked for first.
        self._client.block.stat(cid, opts=_search(find_seconds), timeout=time.monotonic() + answer_seconds)
        options = {"arg": cid, "progress": "true"}
        found, since = -1, time.monotonic()
        with closing(self._lines("pin/add", options, answer_seconds=answer_seconds)) as lines:
            for line in lines:  # one every half second
                if "Pins" in line:
                    return
                if int(line["Progress"]) > found:
                    found, since = int(line["Progress"]), time.monotonic()
                elif time.monotonic() - since > find_seconds:
                    raise Refused(f"not found: nothing more of its tree than {found} nodes")
        raise ValueError("It ended in the middle.")

    def _lines(
        self, method: str, options: Mapping[str, str], until: float = 0.0, *, answer_seconds: float = 0.0
    ) -> Generator[dict[str, Any], None, None]:
        """Yield the JSON objects of an answer of many lines, whole by ``until``, or each within ``answer_seconds``."""
        until = until or time.monotonic() + answer_seconds
        with self.wire.exchange("POST", _target(method, options), until) as answer:
            if answer.status != 200:
                raise _failure(answer)
            stream = answer.stream()
            while line := stream.readline(_MOST_JSON):
                yield _object(line)
                if answer_seconds:
                    answer.extend(time.monotonic() + answer_seconds)
            if answer.late_error:
                raise Refused(answer.late_error)

    def close(self) -> None:
        """Close the connections."""
        self.wire.close()


class _Client(ipfshttpclient.Client):  # type: ignore[misc]
    """The library's client, over our wire."""

    def __init__(self, address: str, wire: Wire) -> None:
        super().__init__(address, chunk_size=_UPLOAD_CHUNK)
        self._client = _Backend(address, wire)


class _Backend(ClientSyncBase):  # type: ignore[misc]
    """What the library calls for each request; its ``timeout`` is the monotonic time until which that may last."""

    def __init__(self, address: str, wire: Wire) -> None:
        self._wire = wire
        super().__init__(address, BASE)

    def _init(self, *_: Any, **__: Any) -> None:
        """The wire knows all of it."""

    def _make_session(self) -> Wire:
        return self._wire

    def _request(
        self,
        method: str,
        path: str,
        params: Sequence[tuple[str, str]],
        *,
        data: Iterator[bytes] | None,
        headers: Mapping[str, str] | None,
        timeout: float,
        **_: Any,
    ) -> tuple[list[Any], Generator[bytes, None, None]]:
        with self._wire.exchange(
            method, _target(path.strip("/"), params), timeout, headers=headers, body=data
        ) as answer:
            if answer.status != 200:
                raise _failure(answer)
            body = answer.read(_MOST_JSON)
        if is_nested_deeper(body, _DEPTH):
            raise ValueError("It answered no message of Kubo's.")
        return [], (part for part in (body,))


def _search(seconds: float) -> dict[str, str]:
    return {"timeout": f"{max(seconds, 0.001):.3f}s"}  # to Kubo 0 is no limit


def _target(method: str, options: Mapping[str, str] | Sequence[tuple[str, str]]) -> str:
    return f"{method}?{urllib.parse.urlencode(options)}"


def _failure(answer: Answer) -> Exception:
    """Return what an answer other than 200 means: the node's own word is definite, a proxy's page is not."""
    if answer.status in _FORBIDDEN:
        return Forbidden(f"It answered {answer.status}.")
    try:
        message = _object(answer.read(_MOST_JSON)).get("Message")
    except (ValueError, TooLong):
        message = None
    if isinstance(message, str):
        return Refused(message)
    if answer.status in _BUSY:
        return Again(f"It answered {answer.status} and no message.", answer.retry_after)
    return ValueError(f"It answered {answer.status} and no message.")


def _object(line: bytes) -> dict[str, Any]:
    """Parse one JSON object; a parser must not recurse into a stranger's nesting. Raises ValueError."""
    if is_nested_deeper(line, _DEPTH):
        raise ValueError("It answered no message of Kubo's.")
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError("It answered no message of Kubo's.")
    return value
