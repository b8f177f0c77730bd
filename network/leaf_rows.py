"""The leaves of several files side by side, read in pieces, a row of an array for each, and hashed as they come."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from network.hashed_files import Hashed, fill
from network.mapped_files import laid
from network.open_files import OpenFiles
from network.verified_files import look
from protocol.content import Rows, Sink
from protocol.rooms import lent
from protocol.sha256_lanes import Hashing, Lanes, most_together, side_by_side

IN_CACHE = 512 * 1024  # bytes of all lanes together that are read before they are hashed
_BLOCK = 64
_ABSENT = -1  # no file has this number

_OPEN_FILES = OpenFiles()
_ROOMS: list[Rows] = []  # memory to read into: getting it from the system anew costs more than hashing

Digests: TypeAlias = list[Hashed | None]


class LeafRows:
    """Files of ``size`` bytes each, open at once; a context.

    Args:
        paths: Of any number of files, which may be gone or have another size: `stats` has None for those. Where the system
            does not let so many be open at once, none is: it has None for all, and whoever has to reads them one by one.

    Raises:
        OSError: One of them cannot be read.
    """

    def __init__(self, paths: Sequence[str], size: int) -> None:
        self.size = size
        self._stack = contextlib.ExitStack()
        self._files = [_ABSENT] * len(paths)
        self._erring: set[int] = set()  # numbers of files that the system did not read
        try:
            if _OPEN_FILES.take(len(paths)):
                self._stack.callback(_OPEN_FILES.give_back, len(paths))
                self._files = self._open_all(paths)
            self.stats = [self.stat(number) for number in range(len(paths))]
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> LeafRows:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def stat(self, number: int) -> os.stat_result | None:
        """Return what describes a file now; None where it is gone, has another size, or could not be read."""
        file = self._files[number]
        stat = None if file == _ABSENT or number in self._erring else os.fstat(file)
        return stat if stat is not None and stat.st_size == self.size else None

    def pieces(self, start: int, stop: int, width: int) -> Iterator[tuple[int, Rows]]:
        """Yield (offset, rows) of at most ``width`` bytes from ``start`` to before ``stop``.

        A row is valid until the next one is asked for, and holds nothing of sense where a file ends before.
        """
        with _room(len(self._files), width) as rows_of:
            for at in range(start, stop, width):
                rows = rows_of(min(width, stop - at))
                self._fill(slice(None), at, rows)
                yield at, rows

    def hashed_pieces(
        self, width: int, sink: Sink | None = None, offset: int = 0
    ) -> Generator[tuple[int, Rows], None, Digests]:
        """As `pieces` of the whole files, none of which is missing; return the digest of each, and what described it first.

        None for a file that was cut short meanwhile.

        Args:
            width: A multiple of 64 bytes.
            sink: Takes each piece before it is yielded. offset: What is added to all offsets.
        """
        count = len(self._files)
        lanes = most_together(self.size)
        groups = [slice(at, min(at + lanes, count)) for at in range(0, count, lanes)]
        hashings = [side_by_side(group.stop - group.start, self.size) for group in groups]
        is_whole = np.ones(count, np.bool_)
        digests = [hashlib.sha256().digest()] * count  # of empty files, which have no piece that says another
        with self._mapped(sink) as mapped, _room(0 if mapped is not None else count, width) as rows_of:
            if mapped is not None and len(groups) == 1:
                width = self.size  # what takes no room may as well come at once
            for at in range(0, self.size, max(width, 1)):
                length = min(width, self.size - at)
                rows = rows_of(length) if mapped is None else mapped[:, at : at + length]
                take = _Taking(at, sink, offset, mapped is not None)
                for group, hashing in zip(groups, hashings, strict=True):
                    is_whole[group] &= self._fill_and_hash(group, hashing, rows[group], take)
                    if at + length == self.size:
                        rest = length // _BLOCK * _BLOCK
                        digests[group] = hashing.finish([row[rest:].data for row in rows[group]])
                yield offset + at, rows
            if mapped is not None:  # what was hashed is what the sink took if nobody wrote to it meanwhile
                is_whole &= [_is_same(self.stat(number), stat) for number, stat in enumerate(self.stats)]
        return [
            (digest, stat) if found and stat is not None else None
            for found, digest, stat in zip(is_whole, digests, self.stats, strict=True)
        ]

    def _fill_and_hash(self, group: slice, hashing: Hashing, rows: Rows, take: _Taking) -> NDArray[np.bool_] | bool:
        """Fill ``rows``, let ``hashing`` take their blocks of 64 bytes, and return which files had that much, or that all had."""
        length = rows.shape[1] // _BLOCK * _BLOCK
        lanes, compiled = hashing.lanes, _read_and_hash()
        if lanes is None or compiled is None or not length:
            filled, length = self._filled(group, take.at, rows, take), 0
            hashing.update([row[: row.size // _BLOCK * _BLOCK].data for row in rows])
        elif not compiled(self._files[group], lanes, rows[:, :length], take, group.start):
            return np.zeros(len(rows), np.bool_)  # its lanes are of no use any more: all of them are read again
        else:
            filled = self._filled(group, take.at + length, rows[:, length:], take)
        if take.sink is not None and length < rows.shape[1]:
            take.sink.take(rows[:, length:], take.offset + take.at + length, group.start)
        return filled

    @contextlib.contextmanager
    def mapped(self) -> Iterator[Rows | None]:
        """Give all files as they lie in the system's cache, without a copy; None where one does not, or is not there."""
        if None in self.stats:
            yield None
            return
        with laid(self._files, self.size) as rows:
            yield rows

    def _mapped(self, sink: Sink | None) -> contextlib.AbstractContextManager[Rows | None]:
        """As `mapped`, for a sink: whoever keeps rows until the next ones needs a copy, and so does hashlib."""
        is_of_use = sink is not None and _read_and_hash() is not None and most_together(self.size) > 1
        return self.mapped() if is_of_use else contextlib.nullcontext()

    def _filled(self, group: slice, at: int, rows: Rows, take: _Taking) -> NDArray[np.bool_] | bool:
        return take.is_filled or not rows.size or self._fill(group, at, rows)

    def _fill(self, group: slice, at: int, rows: Rows) -> NDArray[np.bool_]:
        numbers = range(len(self._files))[group]
        return np.array([self._fill_row(number, at, row) for number, row in zip(numbers, rows, strict=True)])

    def _fill_row(self, number: int, at: int, row: Rows) -> bool:
        try:
            return self._files[number] != _ABSENT and fill(self._files[number], at, row.data)
        except OSError:  # such as a disk that errs: another store may have the leaf
            self._erring.add(number)
            return False

    def _open_all(self, paths: Sequence[str]) -> list[int]:
        try:
            return [self._open(path) for path in paths]
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self._stack.close()
            return [_ABSENT] * len(paths)

    def _open(self, path: str) -> int:
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return _ABSENT
        self._stack.callback(os.close, file)
        return file


class _Taking(NamedTuple):
    """Where a piece is in its files, who takes it, what is added to its offset then, and whether it is there already."""

    at: int
    sink: Sink | None
    offset: int
    is_filled: bool


def _is_same(now: os.stat_result | None, before: os.stat_result | None) -> bool:
    return now is not None and before is not None and look(now) == look(before)


@contextlib.contextmanager
def _room(count: int, width: int) -> Iterator[Callable[[int], Rows]]:
    """Give what gives room for ``count`` rows of at most ``width`` bytes, always the same."""
    with lent(_ROOMS, count * width) as room:
        yield lambda length: room[: count * length].reshape(count, length)


_Compiled: TypeAlias = Callable[[Sequence[int], Lanes, Rows, _Taking, int], bool]


@cache
def _read_and_hash() -> _Compiled | None:
    """Return `network.read_kernel` as a function that says whether all files had so many bytes; None where it is none."""
    try:
        from network.read_kernel import pread_address, read_and_hash

        function, pread = read_and_hash(), pread_address()
    except Exception:  # whatever LLVM cannot do here, the system can from Python
        return None

    def call(files: Sequence[int], lanes: Lanes, rows: Rows, take: _Taking, first: int) -> bool:
        numbers = np.array(files, np.int32)
        piece = max(_BLOCK, IN_CACHE // lanes.width // _BLOCK * _BLOCK)
        where = (numbers.ctypes.data, rows.ctypes.data, rows.strides[0], len(rows), take.at, rows.shape[1], piece)
        how = 0 if take.is_filled else pread
        return not function(how, *lanes, *where, *(take.sink or (0, 0)), take.offset, first)

    return call
