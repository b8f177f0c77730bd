"""Handing a signed update to a relay, which sends it and pays the gas. Nothing that a relay says is relied on.

A relay may be down, slow, wrong or hostile. Asking it takes a bounded time and memory whatever it answers, and what it
answers is only shown; whether the update is on chain is read there, and the client keeps time for its own transaction.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any
from urllib.parse import urlsplit

import httpx

from protocol.canonical_json import is_nested_deeper
from protocol.cid import directory_cid
from protocol.errors import InvalidInput, RondoError
from protocol.state import RoundState
from protocol.terms import SignedUpdate
from protocol.types import RoundId, hex32

ANSWER_SECONDS = 10.0  # for the whole exchange, however slowly it drips
ANSWER_BYTES = 16 * 1024
SHOWN = 200  # characters of what a relay says
STATES = ("pending", "sent", "submitted", "skipped")


class RelayFailed(RondoError):
    """The relay did not take the update, or did not say so."""

    exit_code = 69


class Relay:
    """The relay at ``url``, for example ``https://acme.example``.

    Raises:
        InvalidInput: ``url`` is no plain HTTP(S) address.
    """

    def __init__(self, url: str, *, seconds: float = ANSWER_SECONDS) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise InvalidInput(f"{url!r} is no address of a relay.", "", "Write https://host or http://host:port.")
        if parts.username is not None or parts.password is not None:
            raise InvalidInput("The relay's address holds a password.", "It would be logged.", "Leave it out.")
        self.url, self._seconds = url.rstrip("/"), seconds

    def hand_in(self, round_: RoundState, update: SignedUpdate) -> str:
        """Hand in ``update``; returns what the relay says has become of it. The same again is harmless.

        Raises:
            RelayFailed: It did not answer in time, or not as a relay does, or refused.
        """
        request = {
            "round": hex32(round_.id),
            "client": update.client,
            "update": str(directory_cid(update.digest)),
            "millis": update.millis,
            "signature": "0x" + update.signature.hex(),
        }
        try:
            status, body = asyncio.run(asyncio.wait_for(self._exchange(request), self._seconds))
        except TimeoutError as error:
            raise self._failed(f"does not answer within {self._seconds:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:  # ValueError: of the host's name
            raise self._failed(f"does not answer: {type(error).__name__}") from error
        return self._read(status, body)

    async def _exchange(self, request: dict[str, object]) -> tuple[int, bytes]:
        """Send ``request``; returns status and body, of which at most a byte above the limit. Redirects stay answers."""
        body = bytearray()
        headers = {"Accept-Encoding": "identity"}  # nothing is ever unpacked
        async with (
            httpx.AsyncClient(timeout=self._seconds, follow_redirects=False) as client,
            client.stream("POST", f"{self.url}/relay/updates", json=request, headers=headers) as answer,
        ):
            async for chunk in answer.aiter_raw(4096):
                body += chunk[: ANSWER_BYTES + 1 - len(body)]
                if len(body) > ANSWER_BYTES:
                    break
            return answer.status_code, bytes(body)

    def _read(self, status: int, body: bytes) -> str:
        answer = _object(body)
        if status != httpx.codes.ACCEPTED:
            said = " ".join(_printable(answer.get(field)) for field in ("what", "why")).strip()
            raise self._failed(f"refuses (HTTP status {status})", said)
        state = answer.get("state")
        if state not in STATES:
            raise self._failed("answers with what is no relay's answer")
        reason = _printable(answer.get("reason"))
        return f"{state}: {reason}" if reason else str(state)

    def _failed(self, what: str, why: str = "") -> RelayFailed:
        return RelayFailed(f"The relay {self.url} {what}.", why)


def _object(body: bytes) -> dict[str, Any]:
    """The JSON object that ``body`` spells, empty where it spells none."""
    if len(body) > ANSWER_BYTES or is_nested_deeper(body, 8):
        return {}
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _printable(value: object) -> str:
    """What a stranger says, fit for a terminal: no control characters, and short."""
    return re.sub(r"[^ -~]", "?", value)[:SHOWN] if isinstance(value, str) else ""


class Handover:
    """When a round's update goes to the relay (again), and from when on the client no longer counts on it.

    Args:
        margin_seconds: Chain seconds before the end of training from which on the client sends its own transaction.
    """

    FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5, 60  # chain seconds; doubled each time

    def __init__(self, relay: Relay, margin_seconds: int) -> None:
        self._relay, self._margin = relay, margin_seconds
        self._next: dict[RoundId, tuple[int, int]] = {}  # round -> when to ask again, and the pause after that

    def own_from(self, round_: RoundState) -> int:
        """Chain second from which on the client sends its own transaction."""
        return round_.training_ends - self._margin

    def is_due(self, round_: RoundState, now: int) -> bool:
        """Whether to hand in at ``now``; counts as done then."""
        again_at, pause = self._next.get(round_.id, (now, self.FIRST_PAUSE_SECONDS))
        if now < again_at:
            return False
        self._next = {
            round_.id: (now + pause, min(2 * pause, self.LONGEST_PAUSE_SECONDS))
        }  # one round is live at a time
        return True

    def hand_in(self, round_: RoundState, update: SignedUpdate) -> str:
        """As `Relay.hand_in`."""
        return self._relay.hand_in(round_, update)
