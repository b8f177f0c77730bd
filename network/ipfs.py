"""A Kubo node as the content store, over its HTTP API with ipfshttpclient; importing this is slow, so do it lazily.

What of ipfshttpclient 0.7.0 works with today's Kubo (tried with 0.40.1) and what does not:

* ``ipfshttpclient.connect`` refuses every node from 0.8 on; ``Client`` asks for no version and is what is used here.
* Its patch of ``requests`` passes an argument that urllib3 2 warns about; the patch (needed for Unix sockets only) is
  switched off by the library's own variable, so addresses are TCP.
* ``block.put``, ``block.stat`` and ``pin.add`` work, given the options that Kubo has added since.
* ``block.get`` takes the whole answer into memory before it returns, even as a stream, however long it is and however
  slowly it comes; blocks may come from strangers, so they are read over plain HTTP with httpx instead, up to a limit.
* Failures while an answer is being read leave the library as exceptions of ``requests``: they are mapped here as well.
"""

from __future__ import annotations

import io
import json
import os
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

os.environ.setdefault("PY_IPFS_HTTP_CLIENT_PATCH_REQUESTS", "no")

import httpx
import ipfshttpclient
import requests
import tenacity
from ipfshttpclient import exceptions
from ipfshttpclient.http_common import multiaddr_to_url_data

from protocol.canonical_json import is_nested_deeper
from protocol.cid import DAG_PB, MAX_BLOCK, Cid, verify_block
from protocol.errors import BlockCorrupt, BlockMissing, InvalidInput, StoreUnavailable
from protocol.unixfs import Block

_T = TypeVar("_T")
_DROPPED = (
    exceptions.ConnectionError,
    exceptions.ProtocolError,
    requests.exceptions.ConnectionError,
    requests.exceptions.ChunkedEncodingError,
    httpx.NetworkError,
    httpx.RemoteProtocolError,
)
# the last four: answers of another shape than Kubo's
_FOREIGN = (
    exceptions.Error,
    requests.exceptions.RequestException,
    httpx.HTTPError,
    AssertionError,
    LookupError,
    TypeError,
    ValueError,
)
_NOT_FOUND = ("could not find", "not found", "deadline exceeded")
_GRACE_SECONDS = 5.0  # for the node to say itself that its time is over


class KuboStore:
    """A ``ContentStore`` (network/store.py) on the Kubo node at ``address``; one for many threads.

    ``get_block`` asks the whole network for what the node does not have, ``has_block`` the node alone. A block that is
    damaged in the node's own repository is refused here and mended there, by ``ipfs repo verify --heal``.

    Args:
        address: The API's multiaddress, like ``/ip4/127.0.0.1/tcp/5001``.
        find_seconds: How long the node may look for a block before it counts as missing.
        retry_seconds: How long a node that drops connections or is restarting is tried again.

    Raises:
        InvalidInput: The address is not one of an HTTP API over TCP.
    """

    searches = True

    def __init__(self, address: str, find_seconds: float = 30.0, retry_seconds: float = 10.0) -> None:
        self.address = address
        self._find_seconds, self._retry_seconds = find_seconds, retry_seconds
        try:
            if address.startswith("/unix/"):
                raise ValueError("Unix sockets are not supported.")
            patience = find_seconds + _GRACE_SECONDS
            self._client = ipfshttpclient.Client(address, timeout=patience, session=True)
            self._http = httpx.Client(base_url=multiaddr_to_url_data(address, "api/v0")[0], timeout=patience)
        except (exceptions.Error, ValueError) as error:
            raise InvalidInput(
                f"{address!r} is no address of a Kubo API.", str(error), "Use one like /ip4/127.0.0.1/tcp/5001."
            ) from error
        for connections in (self._client, self._http):  # whoever drops the store need not think of them
            weakref.finalize(self, connections.close)

    def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
        """Return the verified bytes of ``cid``, from the node or from whoever it finds within ``seconds``.

        Raises:
            BlockMissing: Nobody gave it in time.
            BlockCorrupt: The node answered with other bytes.
            StoreUnavailable: The node does not answer, or not as Kubo does.
        """
        find = self._find_seconds if seconds is None else min(seconds, self._find_seconds)
        data = self._ask(lambda: self._read(cid, find), cid)
        verify_block(cid, data, self.address)
        return data

    @property
    def name(self) -> str:
        """How errors and tables call it."""
        return f"kubo:{self.address}"

    def put_blocks(self, blocks: Sequence[Block]) -> None:
        """Give ``blocks`` to the node, in order; raises as ``put_block``."""
        for block in blocks:
            self.put_block(block)

    def put_block(self, block: Block) -> None:
        """Give ``block`` to the node.

        Raises:
            BlockCorrupt: Its bytes are not those that its CID names.
            StoreUnavailable: The node does not answer, or stored it under another name.
        """
        verify_block(block.cid, block.data, "the block to put")
        options = {
            "cid-codec": "dag-pb" if block.cid.codec == DAG_PB else "raw",
            "mhtype": "sha2-256",
            "mhlen": "32",
            "pin": "false",
        }
        stored = self._ask(lambda: self._client.block.put(io.BytesIO(block.data), opts=options)["Key"], block.cid)
        if stored != str(block.cid):
            raise self._unavailable(f"It stored {block.cid} as {stored!r}.")

    def has_block(self, cid: Cid) -> bool:
        """Say whether the node itself has the block; raises StoreUnavailable."""
        try:
            self._ask(lambda: self._client.block.stat(str(cid), offline=True)["Key"], cid)
        except BlockMissing:
            return False
        return True

    def keep(self, cid: Cid) -> None:
        """Pin the tree of ``cid``, all of which must be there or be found; raises BlockMissing, StoreUnavailable."""
        self._ask(lambda: self._client.pin.add(str(cid), opts=_limit(self._find_seconds)), cid)

    def release(self, cid: Cid) -> None:
        """Unpin the tree of ``cid``."""

    def kept(self) -> frozenset[Cid]:
        """Return the roots that are pinned."""
        return frozenset()

    @contextmanager
    def lease(self, *roots: Cid) -> Iterator[None]:
        """The node collects garbage when its operator says so; what is not pinned is fetched again."""
        yield

    def close(self) -> None:
        """Close the connections; the store is not used again."""
        self._client.close()
        self._http.close()

    def _read(self, cid: Cid, find: float) -> bytes:
        """Read one block as a stream: the node decides neither how much memory nor how much time it takes."""
        patience = find + _GRACE_SECONDS
        end = time.monotonic() + patience
        data = bytearray()
        options = {"arg": str(cid), **_limit(find)}
        with self._http.stream("POST", "block/get", params=options, timeout=patience) as answer:
            for part in answer.iter_raw():  # as sent: nothing is decompressed on a stranger's word
                data += part
                if len(data) > MAX_BLOCK:
                    raise BlockCorrupt(str(cid), self.address)
                if time.monotonic() > end:
                    raise self._unavailable("It sent a block too slowly.")
        if answer.status_code != httpx.codes.OK:
            # Only Kubo's own word makes a block missing, never a proxy's page; a parser must not recurse into either.
            if is_nested_deeper(data, 2):
                raise self._unavailable(f"It answered {answer.status_code} and no message.")
            raise self._failure(str(json.loads(data)["Message"]), cid)
        return bytes(data)

    def _ask(self, call: Callable[[], _T], cid: Cid) -> _T:
        """Make one call, again while connections drop, and speak of its failures in Rondo's errors."""
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_DROPPED),
            stop=tenacity.stop_before_delay(self._retry_seconds),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=2.0),
            reraise=True,
        )
        try:
            return attempts(call)
        except exceptions.ErrorResponse as error:
            raise self._failure(str(error), cid) from error
        except _FOREIGN as error:
            raise self._unavailable(f"{type(error).__name__}: {error}") from error

    def _failure(self, message: str, cid: Cid) -> BlockMissing | StoreUnavailable:
        """Return what the node's own error message means."""
        if any(words in message for words in _NOT_FOUND):
            return BlockMissing(str(cid), f"the Kubo node at {self.address}")
        return self._unavailable(message)

    def _unavailable(self, why: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"The Kubo node at {self.address} cannot be used.",
            why,
            "Check that `ipfs daemon` runs there and that the address is its API's.",
        )


def _limit(seconds: float) -> dict[str, str]:
    return {"timeout": f"{max(seconds, 0.001):.3f}s"}  # to Kubo 0 is no limit
