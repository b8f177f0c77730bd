"""A verified file that stays where it is: in the blocks of a directory store, read piece by piece when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from network.directory_store import DirectoryStore
from network.hashed_files import fill
from network.store import BlockSource
from network.verified_files import Look, look
from protocol.cid import Cid
from protocol.content import check_range
from protocol.unixfs import Leaf, read_leaf


class LeafContent:
    """A ``Content`` (protocol/content.py) over leaves in ``local``, each verified when its file had the look given.

    Each read looks whether the file still is that one. A leaf whose file changed is got from ``source`` again, which
    verifies it, before its bytes are handed out. Memory is a look and a path for each leaf; no file stays open; any
    number of threads may read.

    Args:
        leaves: Of the file, in order.
        looks: Of the file of each of them, by its CID.
        source: Where ``local`` gets what it lacks; ``local`` itself where there is nothing else.
        paths: Of the leaves' files, in order.
    """

    def __init__(
        self,
        leaves: Sequence[Leaf],
        looks: Mapping[Cid, Look],
        local: DirectoryStore,
        source: BlockSource,
        paths: Sequence[str],
    ) -> None:
        self._leaves, self._local, self._source, self._paths = leaves, local, source, paths
        self._looks = {leaf.cid: looks[leaf.cid] for leaf in leaves}

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._leaves[-1].offset + self._leaves[-1].size

    def read(self, start: int, stop: int) -> memoryview:
        """Return the bytes from ``start`` to before ``stop``; raises as ``read_into``."""
        check_range(self.size, start, stop)
        out = bytearray(stop - start)
        self.read_into(start, memoryview(out))
        return memoryview(out).toreadonly()

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out``, a writable buffer of bytes, with the bytes from ``start`` on.

        Raises:
            BlockMissing, BlockCorrupt, StoreUnavailable: What was verified is not there any more.
            ValueError: The range leaves the file.
        """
        out = out.cast("B")
        check_range(self.size, start, start + len(out))
        number = start // self._leaves[0].size if len(out) else 0  # all leaves but the last are as long as the first
        while len(out):
            leaf = self._leaves[number]
            within = start - leaf.offset
            part = out[: leaf.size - within]
            if not self._read_unchanged(number, within, part):
                self._read_again(leaf, within, part)
            start, out, number = start + len(part), out[len(part) :], number + 1

    def _read_unchanged(self, number: int, start: int, out: memoryview) -> bool:
        """Fill ``out`` from the file of a leaf; say whether that was as it had been verified until the last byte came."""
        try:
            file = os.open(self._paths[number], os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # the store will say what it means
            return False
        try:
            is_filled = fill(file, start, out)
            return is_filled and look(os.fstat(file)) == self._looks[self._leaves[number].cid]
        except OSError:
            return False
        finally:
            os.close(file)

    def _read_again(self, leaf: Leaf, start: int, out: memoryview) -> None:
        data = read_leaf(leaf, self._source.get_block)
        now = self._local.verified.unchanged(leaf.cid, self._local.path(leaf.cid))
        if now is not None:
            self._looks[leaf.cid] = now
        out[:] = data[start : start + len(out)]
