"""Blocks from trustless gateways (https://specs.ipfs.tech/http-gateways/trustless-gateway/), which only give.

One block: ``GET /ipfs/{cid}?format=raw``. A whole tree: ``?format=car&dag-scope=all``, of which nothing is believed but what
the blocks before it link to. Whether it has a block itself: ``HEAD`` with ``Cache-Control: only-if-cached``, which a gateway
that serves its own store answers with 412, 404 or 200; one that does not know that word may search its network instead.

A gateway is a stranger. It may send us on to another path, to a subdomain of its own (as gateways with one origin for each
CID do), or from http to https, and nowhere else.
"""

from __future__ import annotations

import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from network.http_wire import Answer, Garbled, TooLong, TooSlow, Wire
from network.retries import Again, GaveUp, persist
from protocol.car import read_car_blocks, read_car_header
from protocol.cid import MAX_BLOCK, Cid, verify_block
from protocol.errors import (
    BlockCorrupt,
    BlockMissing,
    InvalidInput,
    NotCanonical,
    SearchUnfinished,
    StoreUnavailable,
    TooLarge,
)
from protocol.unixfs import CHUNK, Block, child_cids

RAW_TYPE = "application/vnd.ipld.raw"
CAR_TYPE = "application/vnd.ipld.car"
_CAR_WANTED = f"{CAR_TYPE}; version=1; order=dfs; dups=n"
_BINARY_TYPES = (RAW_TYPE, CAR_TYPE, "application/octet-stream", "")
_MISSING = (404, 410, 412, 451, 504)  # not found; gone; not cached; not for legal reasons; not found in time
_BUSY = (429, 500, 502, 503)
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
_MOST_ORIGINS = 16  # of which connections are kept
_MOST_LINKS = 16_384  # that a small tree may have

_T = TypeVar("_T")


class _Absent(Exception):
    """The gateway says that it has not found it."""


class _Refused(Exception):
    """The gateway gives no such answers at all."""


class GatewaySource:
    """A ``BlockSource`` (network/store.py): the trustless gateway at ``url``; one for many threads.

    Args:
        url: ``https://host[:port][/prefix]``, or with ``http``: what comes is verified either way.
        find_seconds: How long it may look for a block. One that has not answered by then may be looking still:
            SearchUnfinished, and not that the block is missing.
        retry_seconds: How long one that drops connections or is busy is tried again.

    Raises:
        InvalidInput: The URL is of another form.
    """

    searches = True

    def __init__(self, url: str, find_seconds: float = 30.0, retry_seconds: float = 10.0) -> None:
        self.url = _checked(url)
        self._find_seconds, self._retry_seconds = find_seconds, retry_seconds
        self._wires: dict[tuple[str, str], Wire] = {}

    @property
    def name(self) -> str:
        """How errors and tables call it."""
        return f"gateway:{self.url}"

    def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
        """Return the verified bytes of ``cid``, looked for no longer than ``seconds``, nor than the source's own limit.

        Raises:
            BlockMissing: The gateway has not found it.
            BlockCorrupt: It answered with other bytes.
            StoreUnavailable: It does not answer, or not as a gateway does.
        """

        def get(until: float) -> tuple[str, bytes]:
            with self._ask("GET", f"ipfs/{cid}?format=raw", until, {"Accept": RAW_TYPE}) as answer:
                return _type(answer), answer.read(MAX_BLOCK)

        kind, data = self._persist(get, cid, seconds)
        try:
            verify_block(cid, data, self.name)
        except BlockCorrupt as error:
            if kind in _BINARY_TYPES:
                raise
            raise self._unavailable(f"It answered with {kind[:80]!r} and not with a block.", cid) from error
        return data

    def has_block(self, cid: Cid) -> bool:
        """Say whether the gateway itself has the block (see above how far that can be asked); raises StoreUnavailable."""

        def look(until: float) -> None:
            headers = {"Accept": RAW_TYPE, "Cache-Control": "only-if-cached"}
            with self._ask("HEAD", f"ipfs/{cid}?format=raw", until, headers) as answer:
                answer.read(0)

        try:
            self._persist(look, cid, None)
        except BlockMissing:
            return False
        return True

    def get_tree(self, cid: Cid, limit: int, seconds: float | None = None) -> Iterator[Block]:
        """Yield the verified blocks of the tree of ``cid`` as they come in one answer, each once, parents before children.

        It is for small artifacts: what it says is not tried again once it began, and a gateway may leave off a tree that
        is large to it. Go on with ``get_block`` where it ended.

        Args:
            limit: Most bytes of all blocks together.
            seconds: How long it may last in all; None is as long as each block comes within the source's own limit.

        Raises:
            BlockMissing: The answer ended, and a block that others link to was not in it.
            BlockCorrupt: A block is not what its CID says, or none before it links to it; the message names it.
            TooLarge: The tree has more than ``limit`` bytes, or more links than a tree of that size has.
            StoreUnavailable: The gateway does not answer, or its answer broke off.
        """
        path, headers = f"ipfs/{cid}?format=car&dag-scope=all", {"Accept": _CAR_WANTED}
        until = None if seconds is None else time.monotonic() + seconds
        with ExitStack() as stack:

            def begin(until: float) -> Answer:
                with ExitStack() as attempt:
                    answer = attempt.enter_context(self._ask("GET", path, until, headers))
                    stack.enter_context(attempt.pop_all())  # open until all of it was read
                return answer

            answer = self._persist(begin, cid, seconds)
            try:
                for block in self._read_tree(answer, cid, limit):
                    yield block
                    answer.extend(until or time.monotonic() + self._find_seconds)
            except NotCanonical as error:
                raise StoreUnavailable(f"{self.name} did not give the tree of {cid}.", error.why, _DO) from error
            except Again as error:
                raise self._unavailable(error.why, cid) from error
            except (Garbled, TooLong) as error:
                raise self._unavailable(str(error), cid) from error

    def _read_tree(self, answer: Answer, root: Cid, limit: int) -> Iterator[Block]:
        stream, where = answer.stream(), f"the CAR from {self.name}"
        read_car_header(stream, where)
        wanted, seen, size, repeated = {root: None}, set[Cid](), 0, 0
        for block in read_car_blocks(stream, where):
            if block.cid in seen:  # which a gateway may do, though we asked it not to
                repeated += 1 + len(block.data)
                if repeated > limit + CHUNK:
                    raise self._unavailable("It repeats blocks without end.", root)
                continue
            if block.cid not in wanted:
                raise BlockCorrupt(str(block.cid), f"{where}, where no block before it links to it,")
            del wanted[block.cid]
            seen.add(block.cid)
            size += len(block.data)
            wanted.update(dict.fromkeys(child for child in child_cids(block) if child not in seen))
            if size > limit or len(wanted) + len(seen) > _MOST_LINKS + limit // CHUNK:
                raise TooLarge(f"{root} holds more than {limit} bytes.", "", "Publish a smaller artifact.")
            yield block
        if wanted:
            raise BlockMissing(str(next(iter(wanted))), where)

    def close(self) -> None:
        """Close the connections; they open again when they are needed."""
        for wire in list(self._wires.values()):
            wire.close()

    # --- one request ---

    def _persist(self, call: Callable[[float], _T], cid: Cid, seconds: float | None) -> _T:
        """Make a request that ends at the time it is given, again while it may succeed; speak of failures in Rondo's errors."""
        find = self._find_seconds if seconds is None else min(seconds, self._find_seconds)
        until = time.monotonic() + max(find, 0.001)
        try:
            return persist(lambda: call(until), min(find, self._retry_seconds))
        except _Absent as error:
            raise BlockMissing(str(cid), f"{self.name} ({error})") from error
        except TooLong as error:
            raise BlockCorrupt(str(cid), self.name) from error
        except GaveUp as error:
            kind = SearchUnfinished if isinstance(error.__cause__, TooSlow) else StoreUnavailable
            raise self._unavailable(error.why, cid, kind) from error
        except (_Refused, Garbled) as error:
            raise self._unavailable(str(error), cid) from error

    @contextmanager
    def _ask(self, method: str, path: str, until: float, headers: dict[str, str]) -> Iterator[Answer]:
        """Give the answer with status 200, wherever the gateway sends us for it.

        Raises:
            _Absent, _Refused: Definite. Again: It may be tried again. Garbled.
        """
        url = f"{self.url}/{path}"
        for _ in range(_MOST_REDIRECTS + 1):
            parts = urllib.parse.urlsplit(url)
            wire = self._wire(parts.scheme, parts.netloc)
            target = parts.path.lstrip("/") + (f"?{parts.query}" if parts.query else "")
            with wire.exchange(method, target, until, headers=headers) as answer:
                if answer.status == 200:
                    yield answer
                    return
                if answer.status not in _REDIRECTS:
                    raise _failure(answer)
                url = self._follow(url, answer.header("Location"))
        raise _Refused(f"It redirected more than {_MOST_REDIRECTS} times.")

    def _follow(self, url: str, location: str) -> str:
        """Return where ``location`` leads from ``url``; raises _Refused where we do not go."""
        home = urllib.parse.urlsplit(self.url)
        try:
            found = _split(urllib.parse.urljoin(url, location))
        except ValueError:
            found = None
        if found is None or not _is_same_house(home, found):
            raise _Refused(f"It redirects to {location[:200]!r}, which is another server: name that, if you trust it.")
        return urllib.parse.urlunsplit(found._replace(fragment=""))

    def _wire(self, scheme: str, netloc: str) -> Wire:
        wire = self._wires.get((scheme, netloc))
        if wire is None:
            wire = Wire(f"{scheme}://{netloc}")
            if len(self._wires) < _MOST_ORIGINS:  # a gateway with an origin for each CID would fill any number
                self._wires[scheme, netloc] = wire
        return wire

    def _unavailable(self, why: str, cid: Cid, kind: type[StoreUnavailable] = StoreUnavailable) -> StoreUnavailable:
        words = "".join(letter if letter.isprintable() else " " for letter in why[:500])
        return kind(f"{self.name} cannot be used for {cid}.", words, _DO)


_DO = "Check that the URL is a trustless gateway's, or add another source."


def _failure(answer: Answer) -> Exception:
    """Return what an answer other than 200 means."""
    if answer.status in _MISSING:
        return _Absent(f"it answered {answer.status}")
    if answer.status in _BUSY:
        return Again(f"It answered {answer.status}.", answer.retry_after)
    return _Refused(f"It answered {answer.status}.")


def _type(answer: Answer) -> str:
    return answer.header("Content-Type").partition(";")[0].strip().lower()


def _split(url: str) -> urllib.parse.SplitResult | None:
    """Return the parts of a URL that we can ask; None where it is none."""
    try:
        parts = urllib.parse.urlsplit(url)
        is_plain = parts.scheme in ("http", "https") and parts.hostname and parts.username is None and parts.port != 0
    except ValueError:
        return None
    return parts if is_plain and url.isascii() and url.isprintable() and " " not in url else None


def _is_same_house(home: urllib.parse.SplitResult, found: urllib.parse.SplitResult) -> bool:
    """Whether ``found`` is on the host of ``home`` or a subdomain of it, at the same port, or from http to https."""
    is_host = found.hostname == home.hostname or str(found.hostname).endswith(f".{home.hostname}")
    is_upgrade = (home.scheme, found.scheme) == ("http", "https") and found.port in (None, 443)
    return is_host and ((found.scheme, found.port) == (home.scheme, home.port) or is_upgrade)


def _checked(url: str) -> str:
    parts = _split(url)
    if parts is None or parts.query or parts.fragment:
        shown = url.rpartition("@")[2]  # what stands before it is a password
        raise InvalidInput(
            f"'gateway:{shown}' names no gateway.",
            "It is no plain http or https URL, or has a query, a user or a password.",
            "Use gateway:https://host, with a port and a path where it has them.",
        )
    return url.rstrip("/")
