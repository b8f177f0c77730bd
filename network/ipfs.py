"""A Kubo node as the content store, over its HTTP API; importing this is slow, so do it lazily.

Which calls go through ipfshttpclient's ``Client``, and which over plain HTTP and why, stands in ``network.kubo_api``.

Blocks are put by ``dag import`` of a CAR, one call for many: on two cores that is as fast as ``ipfs add``, where a
``block put`` for each takes half as long again. They are read by ``block get``, several at once by whoever wants many;
``dag export`` of a whole tree is one stream, and a third as fast.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from network.http_wire import TooLong
from network.kubo_api import FOREIGN, Forbidden, KuboApi, Refused
from network.retries import GaveUp, persist
from protocol.car import encode_car
from protocol.cid import DAG_PB, MAX_BLOCK, Cid, parse_cid, verify_block
from protocol.errors import BlockCorrupt, BlockMissing, ContentError, InvalidInput, SettingsError, StoreUnavailable
from protocol.unixfs import Block

AUTHORIZATION = (
    "RONDO_IPFS_AUTHORIZATION"  # the variable with the API's HTTP header of that name; a secret, so no setting
)

_T = TypeVar("_T")
_NOT_FOUND = ("could not find", "not found", "deadline exceeded")
_NOT_PINNED = "not pinned"
_GRACE_SECONDS = 5.0  # for the node to say itself that its time is over
_LEAST_BYTES_A_SECOND = 1_000_000  # at which a slow disk takes what is put
_MOST_PINS = 1_000_000
_LIST_SECONDS = 120.0  # for a node to list that many


class KuboStore:
    """A ``ContentStore`` (network/store.py) on the Kubo node at ``address``; one for many threads.

    ``get_block`` asks the whole network for what the node does not have, ``has_block`` the node alone. A block that is
    damaged in the node's own repository is refused here and mended there, by ``ipfs repo verify --heal``.

    Args:
        address: The API's multiaddress, like ``/ip4/127.0.0.1/tcp/5001`` or ``/dns/ipfs.example/tcp/443/https``.
        find_seconds: How long the node may look for a block before it counts as missing.
        retry_seconds: How long a node that drops connections, is busy or restarting is tried again.
        authorization: The HTTP header of this name; by default what the variable RONDO_IPFS_AUTHORIZATION holds. It is
            never printed, not even where the node repeats it.

    Raises:
        InvalidInput: The address is not one of an HTTP API over TCP.
        SettingsError: The authorization holds what no header can.
    """

    searches = True

    def __init__(
        self,
        address: str,
        find_seconds: float = 30.0,
        retry_seconds: float = 10.0,
        authorization: str | None = None,
    ) -> None:
        self.address = address
        self._find_seconds, self._retry_seconds = find_seconds, retry_seconds
        self._secret = _checked(os.environ.get(AUTHORIZATION, "") if authorization is None else authorization)
        try:
            self._api = KuboApi(address, self._secret)
        except FOREIGN as error:
            raise InvalidInput(
                f"{address!r} is no address of a Kubo API.",
                str(error),
                "Use one like /ip4/127.0.0.1/tcp/5001 or /dns/ipfs.example/tcp/443/https.",
            ) from error

    @property
    def name(self) -> str:
        """How errors and tables call it."""
        return f"kubo:{self.address}"

    def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
        """Return the verified bytes of ``cid``, from the node or from whoever it finds within ``seconds``.

        Raises:
            BlockMissing: Nobody gave it in time.
            BlockCorrupt: The node answered with other bytes.
            StoreUnavailable: The node does not answer, or not as Kubo does.
        """
        find = self._find_seconds if seconds is None else min(seconds, self._find_seconds)
        end = None if seconds is None else time.monotonic() + seconds

        def read() -> bytes:
            left = find if end is None else min(find, max(end - time.monotonic(), 0.0) + 0.0005)
            try:
                return self._api.block(str(cid), left, time.monotonic() + left + _GRACE_SECONDS, MAX_BLOCK)
            except TooLong as error:
                raise BlockCorrupt(str(cid), self.name) from error

        data = self._ask(read, cid, find=find, retry=find)
        verify_block(cid, data, self.name)
        return data

    def put_blocks(self, blocks: Sequence[Block]) -> None:
        """Give ``blocks`` to the node, in order: a node of a tree only once it has said that it took all before it.

        The node hashes what it takes (``dag import`` refuses a CAR with a wrong block whole), so here that is not done too.

        Raises:
            BlockCorrupt: Bytes are not those that their CID names, as the node found out.
            InvalidInput: A block is larger than IPFS nodes carry (2 MiB).
            StoreUnavailable: The node does not answer, or says that it took other blocks.
        """
        run: list[Block] = []
        for block in blocks:
            if block.cid.codec == DAG_PB and run:
                self._import(run)
                run = []
            run.append(block)
        if run:
            self._import(run)

    def put_block(self, block: Block) -> None:
        """Give one block to the node, as ``put_blocks``."""
        self.put_blocks([block])

    def has_block(self, cid: Cid) -> bool:
        """Say whether the node itself has the block; raises StoreUnavailable."""
        try:
            self._ask(lambda: self._api.stat(str(cid), self._until()), cid, find=0.0)
        except BlockMissing:
            return False
        return True

    def keep(self, cid: Cid) -> None:
        """Pin the tree of ``cid``, all of which must be there or be found; raises BlockMissing, StoreUnavailable.

        It may take as long as it likes, as long as the node finds more of it at least every ``find_seconds``.
        """
        self._ask(lambda: self._api.pin(str(cid), self._find_seconds, self._patience), cid, find=self._find_seconds)

    def release(self, cid: Cid) -> None:
        """Unpin the tree of ``cid``; nothing happens where it is not pinned; raises StoreUnavailable."""

        def unpin() -> None:
            try:
                self._api.unpin(str(cid), self._until())
            except Refused as error:
                if _NOT_PINNED not in str(error):
                    raise

        self._ask(unpin, cid)

    def kept(self) -> frozenset[Cid]:
        """Return the roots that are pinned, but for those whose CIDs Rondo does not use; raises StoreUnavailable."""

        def pins() -> frozenset[Cid]:
            found: set[Cid] = set()
            for count, name in enumerate(self._api.pins(time.monotonic() + _LIST_SECONDS)):
                if count == _MOST_PINS:
                    raise ValueError(f"It has more than {_MOST_PINS} pins.")
                try:
                    found.add(parse_cid(name))
                except InvalidInput:
                    continue
            return frozenset(found)

        return self._ask(pins)

    @contextmanager
    def lease(self, *roots: Cid) -> Iterator[None]:
        """Nothing is to be done: no call of the API holds off the node's garbage collector but a pin.

        It runs only where its operator asks for it (``ipfs repo gc``, ``ipfs daemon --enable-gc``), and takes what is not
        pinned: whoever puts a tree finds that out at once, when ``keep`` does not find all of it, and puts it again;
        whoever reads one asks the network for what is gone.
        """
        yield

    def close(self) -> None:
        """Close the connections; they open again when they are needed."""
        self._api.close()

    # --- one call ---

    @property
    def _patience(self) -> float:
        return self._find_seconds + _GRACE_SECONDS

    def _until(self, size: int = 0) -> float:
        return time.monotonic() + self._patience + size / _LEAST_BYTES_A_SECOND

    def _import(self, run: Sequence[Block]) -> None:
        size, last = sum(len(block.data) for block in run), run[-1].cid
        car = b"".join(encode_car([], run))
        try:
            took = self._ask(lambda: self._api.import_car(io.BytesIO(car), self._until(size)), last)
        except StoreUnavailable:
            for block in run:
                verify_block(block.cid, block.data, "the block to put")
            raise
        if took != (len(run), size):
            raise self._unavailable(f"Of {len(run)} blocks ({size} bytes) it took {took[0]} ({took[1]} bytes).", last)
        stored = self._ask(lambda: self._api.stat(str(last), self._until()), last)
        if stored != str(last):
            raise self._unavailable(f"It stored {last} as {stored!r}.", last)

    def _ask(
        self, call: Callable[[], _T], cid: Cid | None = None, *, find: float | None = None, retry: float | None = None
    ) -> _T:
        """Make one call, again while the node is not to be reached, and speak of its failures in Rondo's errors.

        Args:
            cid: What it is about, for messages.
            find: How long the node looked for it; None where "not found" does not mean that it is missing.
            retry: Seconds in which it is tried again, where those are less than the store's own.
        """
        try:
            return persist(call, self._retry_seconds if retry is None else min(retry, self._retry_seconds))
        except Refused as error:
            raise self._failure(str(error), cid, find) from error
        except Forbidden as error:
            do = f"Set {AUTHORIZATION} to the API's Authorization header, such as 'Bearer …' or 'Basic …'."
            raise self._unavailable(str(error), cid, do) from error
        except GaveUp as error:
            raise self._unavailable(error.why, cid) from error
        except FOREIGN as error:
            raise self._unavailable(f"{type(error).__name__}: {error}", cid) from error

    def _failure(self, message: str, cid: Cid | None, find: float | None) -> ContentError:
        """Return what the node's own error message means."""
        if cid is not None and find is not None and any(words in message for words in _NOT_FOUND):
            searched = f", nor did it find it within {find:g} s" if find else ""
            return BlockMissing(str(cid), f"the Kubo node at {self.address}{searched}")
        return self._unavailable(message, cid)

    def _unavailable(self, why: str, cid: Cid | None = None, do: str = "") -> StoreUnavailable:
        about = f" for {cid}" if cid is not None else ""
        return StoreUnavailable(
            f"The Kubo node at {self.address} cannot be used{about}.",
            self._clean(why),
            do or "Check that `ipfs daemon` runs there and that the address is its API's.",
        )

    def _clean(self, words: str) -> str:
        """Return a stranger's words short, without control characters, and without our secret."""
        for secret in {self._secret, self._secret.partition(" ")[2]} - {""}:
            words = words.replace(secret, "…")
        return "".join(letter if letter.isprintable() else " " for letter in words[:500])


def _checked(authorization: str) -> str:
    if not (authorization.isascii() and authorization.isprintable()) or authorization != authorization.strip():
        raise SettingsError(
            f"{AUTHORIZATION} is no HTTP header.",
            "It holds a line break, spaces around it, or letters other than ASCII.",
            "Set it to the value of the header alone, such as 'Bearer …'.",
        )
    return authorization
