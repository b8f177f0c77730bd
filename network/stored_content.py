"""A file that stays where it is: in the blocks of a directory store, read piece by piece when it is asked for.

Its leaves are verified before, or when they are read for the first time: then the bytes that are hashed are those that are
handed out, and several files' leaves are hashed side by side.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping, Sequence

from network.directory_store import DirectoryStore
from network.hashed_files import Hashed, fill
from network.leaf_rows import LeafRows
from network.store import BlockSource
from network.store_faults import store_unavailable
from network.verified_files import Look, look
from protocol.cid import Cid
from protocol.content import Content, Pieced, ReadAgain, Rows, Sink, check_range
from protocol.types import Digest
from protocol.unixfs import Leaf, read_leaf

MOST_HELD = 32  # leaves of a file that its directory cannot keep: more than threads read at once
_ALIGNED = 64  # bytes: what every piece but the last is a multiple of


class LeafContent(Pieced):
    """A ``Pieced`` content (protocol/content.py) over leaves in ``local``.

    Each read looks whether the leaf's file still is the one that was verified. A leaf whose file changed, or that nobody
    has verified, is got from ``source``, which verifies it, before its bytes are handed out. Memory is a look and a path
    for each leaf, and a few leaves that the directory cannot keep; no file stays open; any number of threads may read.

    Args:
        leaves: Of the file, in order.
        looks: Of the files of those that are verified, by CID.
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
        self._looks = {leaf.cid: looks[leaf.cid] for leaf in leaves if leaf.cid in looks}
        self._size = leaves[-1].offset + leaves[-1].size
        self._held: dict[int, bytes] = {}  # what ``local`` could not keep, by number of its leaf

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._size

    @property
    def piece(self) -> int:
        """Bytes of every leaf but the last."""
        return self._leaves[0].size

    @property
    def digests(self) -> tuple[Digest, ...]:
        """The sha-256 of each leaf."""
        return tuple(leaf.cid.digest for leaf in self._leaves)

    def unverified(self) -> list[Leaf]:
        """Return the leaves that nobody has verified yet."""
        return [leaf for number, leaf in enumerate(self._leaves) if not self.is_verified(number)]

    def read_beside(
        self, contents: Sequence[Content], start: int, stop: int, width: int, sink: Sink | None = None
    ) -> Iterator[tuple[int, Rows]] | None:
        """As `protocol.content.Pieced`; leaves that are not verified yet are verified meanwhile if all of them is read."""
        alike = [one for one in contents if isinstance(one, LeafContent) and one.size == self.size]
        if len(alike) < len(contents):
            return None
        check_range(self.size, start, stop)
        return _read_leaves(alike, start, stop, width, sink)

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
                part[:] = self._got(number)[within : within + len(part)]
            start, out, number = start + len(part), out[len(part) :], number + 1

    def leaves_between(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Yield (number, first byte, byte after the last) of each leaf that the range meets, bytes counted from the leaf's."""
        for number in range(start // self.piece, -(-stop // self.piece)) if start < stop else ():
            leaf = self._leaves[number]
            yield number, max(0, start - leaf.offset), min(leaf.size, stop - leaf.offset)

    def leaf(self, number: int) -> Leaf:
        """Return a leaf by its number."""
        return self._leaves[number]

    def open_beside(self, contents: Sequence[LeafContent], number: int) -> LeafRows:
        """Open the leaf ``number`` of each of ``contents``; raises StoreUnavailable where the system does not let."""
        try:
            return LeafRows([one._paths[number] for one in contents], self._leaves[number].size)
        except OSError as error:
            raise store_unavailable(self._local.root, error) from error

    def is_verified(self, number: int) -> bool:
        """Say whether the leaf ``number`` was verified, here or before."""
        return self._leaves[number].cid in self._looks or number in self._held

    def is_unchanged(self, number: int, stat: os.stat_result | None) -> bool:
        """Say whether the file of the leaf ``number``, which ``stat`` describes now, is the one that was verified."""
        return stat is not None and look(stat) == self._looks.get(self._leaves[number].cid)

    def doubt(self, number: int) -> None:
        """Let a leaf count as not verified: its file changed."""
        self._looks.pop(self._leaves[number].cid, None)

    def settle(self, number: int, hashed: Hashed | None) -> bool:
        """Take note of what the file of a leaf held; say whether that was right. If not it is mended, or an error raised."""
        leaf = self._leaves[number]
        if hashed is not None and hashed[0] == leaf.cid.digest:
            self._looks[leaf.cid] = look(hashed[1])
            self._local.verified.remember(leaf.cid, hashed[1])
            return True
        self._got(number)
        return False

    def _read_unchanged(self, number: int, start: int, out: memoryview) -> bool:
        """Fill ``out`` from the file of a leaf; say whether that was as it had been verified until the last byte came."""
        try:
            file = os.open(self._paths[number], os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # the store will say what it means
            return False
        try:
            is_filled = fill(file, start, out)
            return is_filled and self.is_unchanged(number, os.fstat(file))
        except OSError:
            return False
        finally:
            os.close(file)

    def _got(self, number: int) -> bytes:
        """Return a leaf that its store verified, and note where it lies now."""
        leaf = self._leaves[number]
        data = self._held.get(number) or read_leaf(leaf, self._source.get_block)
        now = self._local.verified.unchanged(leaf.cid, self._local.path(leaf.cid))
        if now is not None:
            self._looks[leaf.cid] = now
        else:
            self._held[number] = data
            if len(self._held) > MOST_HELD:
                self._held.pop(next(iter(self._held)), None)
        return data


def _read_leaves(
    contents: Sequence[LeafContent], start: int, stop: int, width: int, sink: Sink | None
) -> Iterator[tuple[int, Rows]]:
    """Yield (offset, rows) of files that are alike, leaf by leaf."""
    for number, low, high in contents[0].leaves_between(start, stop):
        size = contents[0].leaf(number).size
        even = -(-size // (size // width + 1))  # rows a power of two apart would want the same lines of the cache
        even += -even % _ALIGNED
        with contents[0].open_beside(contents, number) as files:
            if not all(one.is_verified(number) for one in contents):
                if (low, high) == (0, size):
                    yield from _verify(contents, number, files, even, sink)
                    continue
                for _ in _verify(contents, number, files, even, None):
                    pass  # all of it is hashed, though only a part was asked for
            yield from _read_verified(contents, number, files, (low, high), even, sink)


def _verify(
    contents: Sequence[LeafContent], number: int, files: LeafRows, width: int, sink: Sink | None
) -> Generator[tuple[int, Rows], None, None]:
    """Yield a leaf of each file while hashing it; raises ReadAgain at the end where one had to be mended."""
    offset, hashed = contents[0].leaf(number).offset, list[Hashed | None]([None] * len(contents))
    if None not in files.stats:
        reading = files.hashed_pieces(width, sink, offset)
        while True:
            try:
                yield next(reading)
            except StopIteration as end:
                hashed = end.value
                break
    settled = [one.settle(number, each) for one, each in zip(contents, hashed, strict=True)]
    if not all(settled):
        raise ReadAgain


def _read_verified(
    contents: Sequence[LeafContent],
    number: int,
    files: LeafRows,
    between: tuple[int, int],
    width: int,
    sink: Sink | None,
) -> Iterator[tuple[int, Rows]]:
    offset = contents[0].leaf(number).offset
    if sink is not None and (yield from _pour(contents, number, files, between, sink)):
        return
    for at, rows in files.pieces(*between, width):
        for index, (one, row) in enumerate(zip(contents, rows, strict=True)):
            if not one.is_unchanged(number, files.stat(index)):
                one.read_into(offset + at, row.data)
        if sink is not None:
            sink.take(rows, offset + at)
        yield offset + at, rows


def _pour(
    contents: Sequence[LeafContent], number: int, files: LeafRows, between: tuple[int, int], sink: Sink
) -> Generator[tuple[int, Rows], None, bool]:
    """Let ``sink`` take verified leaves from where they lie; return whether it did. Raises ReadAgain where one changed."""

    def changed() -> list[LeafContent]:
        return [one for index, one in enumerate(contents) if not one.is_unchanged(number, files.stat(index))]

    start, stop = between
    offset = contents[0].leaf(number).offset + start
    with files.mapped() as whole:
        if whole is None or changed():
            return False
        rows = whole[:, start:stop]
        sink.take(rows, offset)
        for one in (doubtful := changed()):
            one.doubt(number)
        if doubtful:
            raise ReadAgain
        yield offset, rows
    return True
