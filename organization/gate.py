"""What strangers may send to a service that takes something: so many bytes, in so much time, so often."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from organization.views import Problem


class Gate:
    """ASGI middleware in front of every request that has a body; others pass.

    The whole body is read here, within ``most_bytes`` and ``seconds``, before the application sees the request. Each
    source address (of IPv6 its /64) may send ``burst`` requests at once and ``per_second`` in the long run; a proxy in
    front has to name its clients (uvicorn believes X-Forwarded-For from 127.0.0.1).
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        most_bytes: int = 4096,
        seconds: float = 5.0,
        burst: int = 200,
        per_second: float = 5.0,
        sources: int = 4096,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app, self._most_bytes, self._seconds = app, most_bytes, seconds
        self._burst, self._per_second, self._sources, self._clock = burst, per_second, sources, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # source -> requests left, as of when

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        refusal = None
        if not self._admits(_source(scope)):
            refusal = _refusal(429, "Too many requests.", "One source can send a few per second.", "Wait a minute.")
        else:
            try:
                body = await asyncio.wait_for(self._read(receive), self._seconds)
                if body is None:
                    return  # the sender is gone
                if len(body) > self._most_bytes:
                    what = f"The body has more than {self._most_bytes} bytes."
                    refusal = _refusal(413, what, "What is taken here is short.", "See /docs for what is taken.")
            except TimeoutError:
                refusal = _refusal(408, "The body took too long.", f"It has {self._seconds:g} s.", "Send it at once.")
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self._app(scope, _replay(body or b"", receive), send)

    async def _read(self, receive: Receive) -> bytes | None:
        """The body, or one byte and more above the limit; None where the sender went away."""
        body = bytearray()
        while len(body) <= self._most_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        return bytes(body)

    def _admits(self, source: str) -> bool:
        now = self._clock()
        left, since = self._left.pop(source, (float(self._burst), now))
        left = min(self._burst, left + (now - since) * self._per_second)
        self._left[source] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > self._sources:
            self._left.popitem(last=False)
        return left >= 1


def _source(scope: Scope) -> str:
    host = (scope.get("client") or ("?", 0))[0]
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    return str(ipaddress.ip_network(f"{found}/64", strict=False)) if found.version == 6 else str(found)


def _refusal(status: int, what: str, why: str, do: str) -> JSONResponse:
    headers = {"Retry-After": "60"} if status == 429 else {}
    return JSONResponse(Problem(what=what, why=why, do=do).model_dump(), status_code=status, headers=headers)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that gives ``body`` whole, then whatever comes."""
    first = [True]

    async def again() -> Message:
        if first.pop() if first else False:
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return again
