"""Files of a store that any process of any machine reads by itself: a pickle of one is its leaves' names, not its bytes.

Each leaf is verified by the process that reads it, and once in each process where the store is a directory.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache

from network.directory_store import DirectoryStore
from network.store import ContentStore, open_store
from network.verified_files import look
from protocol.cid import Cid, directory_cid
from protocol.content import Content, check_range
from protocol.errors import NotCanonical
from protocol.types import Digest
from protocol.unixfs import CHUNK, Leaf, Link, file_leaves, list_directory, read_leaf

KEPT_LEAVES = 128  # of 1 MiB, in memory, where the store is no directory


@dataclass(frozen=True, slots=True)
class ShippedContent:
    """A ``protocol.content.Content`` by the ``store`` setting that finds it and the leaves that it consists of."""

    store: str
    leaves: tuple[Leaf, ...]
    size: int

    def read(self, start: int, stop: int) -> memoryview:
        """Return the verified bytes from ``start`` to before ``stop``; raises as `protocol.content.Content`."""
        check_range(self.size, start, stop)
        out = memoryview(bytearray(stop - start))
        self.read_into(start, out)
        return out.toreadonly()

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out`` with the verified bytes from ``start`` on; raises as `protocol.content.Content`."""
        check_range(self.size, start, start + len(out))
        source, at = _source(self.store), 0
        while at < len(out):
            leaf = self.leaves[(start + at) // CHUNK]
            offset = start + at - leaf.offset
            count = min(leaf.size - offset, len(out) - at)
            source.read_into(leaf, offset, out[at : at + count])
            at += count


def open_shipped(setting: str, digest: Digest, limit: int) -> dict[str, Content]:
    """Return the files of the artifact ``digest`` in the store that ``setting`` names, of which only nodes were read.

    Raises:
        BlockMissing, BlockCorrupt, StoreUnavailable: From the store.
        TooLarge, NotCanonical: As `protocol.unixfs.list_directory` and `protocol.unixfs.file_leaves`.
    """
    store = _source(setting).store
    links = list_directory(directory_cid(digest), store.get_block, limit)
    return {name: _open_file(setting, store, link) for name, link in links.items()}


def _open_file(setting: str, store: ContentStore, link: Link) -> ShippedContent:
    if link.size <= CHUNK:  # one raw block, whose length is compared when it is read
        return ShippedContent(setting, (Leaf(link.cid, 0, link.size),), link.size)
    nodes = 0

    def get(cid: Cid) -> bytes:
        nonlocal nodes
        data = store.get_block(cid)
        nodes += len(data)
        return data

    leaves = tuple(file_leaves(link.cid, get, link.size))
    if nodes + link.size != link.total_size:
        raise NotCanonical(
            f"{link.cid} is not canonical:",
            f"its directory says {link.total_size} bytes in all, there are {nodes + link.size}.",
            "Import the content again with the profile unixfs-v1-2025.",
        )
    return ShippedContent(setting, leaves, link.size)


class _Source:
    """A store of this process, and the leaves of it that were verified; any number of threads."""

    def __init__(self, setting: str) -> None:
        self.store = open_store(setting)
        self._kept: OrderedDict[Cid, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def read_into(self, leaf: Leaf, offset: int, out: memoryview) -> None:
        """Fill ``out`` with the bytes of ``leaf`` from ``offset`` on."""
        if isinstance(self.store, DirectoryStore):
            _read_file(self.store, leaf, offset, out)
        else:
            out[:] = self._leaf(leaf)[offset : offset + len(out)]

    def _leaf(self, leaf: Leaf) -> memoryview:
        with self._lock:
            data = self._kept.pop(leaf.cid, None)
        if data is None:
            data = read_leaf(leaf, self.store.get_block)
        with self._lock:
            self._kept[leaf.cid] = data
            while len(self._kept) > KEPT_LEAVES:
                self._kept.popitem(last=False)
        return memoryview(data)


def _read_file(store: DirectoryStore, leaf: Leaf, offset: int, out: memoryview) -> None:
    """Read a piece of a leaf's file, which is read and hashed as a whole the first time and whenever it has changed."""
    if not store.has_block(leaf.cid):
        read_leaf(leaf, store.get_block)  # says why not
    path = store.path(leaf.cid)
    verified = store.verified.unchanged(leaf.cid, path)
    try:
        with path.open("rb", buffering=0) as file:
            if os.fstat(file.fileno()).st_size != leaf.size:
                raise NotCanonical(
                    f"{leaf.cid} is not canonical:", f"it does not hold {leaf.size} bytes.", "Import it again."
                )
            is_filled = os.preadv(file.fileno(), [out], offset) == len(out)
            is_filled &= verified is not None and look(os.fstat(file.fileno())) == verified  # nobody wrote meanwhile
    except OSError:
        is_filled = False
    if not is_filled:
        out[:] = read_leaf(leaf, store.get_block)[offset : offset + len(out)]  # verifies it, or says why not


@lru_cache(maxsize=4)
def _source(setting: str) -> _Source:
    return _Source(setting)
