"""The bytes of one verified file, wherever they lie: in memory, or in the blocks of a store, read piece by piece."""

from __future__ import annotations

import ctypes
import io
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from protocol.types import Digest

Rows = NDArray[np.uint8]  # (contents, bytes), C order: the same range of bytes of each content


class Content(Protocol):
    """A file whose bytes have been verified; reading it twice gives the same bytes.

    Raises of both methods:
        BlockMissing, BlockCorrupt, StoreUnavailable: What was verified is not there any more.
        ValueError: The range leaves the file.
    """

    @property
    def size(self) -> int:
        """Bytes of the file."""
        ...

    def read(self, start: int, stop: int) -> bytes | memoryview:
        """Return the bytes from ``start`` to before ``stop``."""
        ...

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out``, a writable buffer of bytes, with the bytes from ``start`` on."""
        ...


class ReadAgain(Exception):
    """What was yielded of a range is not what it must be, and nothing of it may be used; reading the range again gives it."""


class Sink(NamedTuple):
    """Compiled code that takes ranges of rows while they are in a processor's cache: addresses of a function and its context.

    ``void f(void *context, const u8 *rows, i64 stride, i64 first, i64 count, i64 at, i64 size)``: ``size`` bytes of ``count``
    rows, ``stride`` bytes apart, are those from byte ``at`` on of the contents from the one numbered ``first`` on.
    """

    function: int
    context: int

    def take(self, rows: Rows, at: int, first: int = 0) -> None:
        """Let it take ``rows``, the bytes from ``at`` on of the contents from the one numbered ``first`` on."""
        if rows.size:
            call = _SINK(self.function)  # frees the interpreter lock
            call(self.context, rows.ctypes.data, rows.strides[0], first, len(rows), at, rows.shape[1])


_SINK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 5)


class Pieced(ABC):
    """A `Content` that lies in pieces, which may be verified while they are read: best whole, several contents' side by side.

    A base class, since asking whether an object is of a protocol takes as long as reading a kilobyte.
    """

    @property
    @abstractmethod
    def piece(self) -> int:
        """Bytes of every piece but the last."""

    @property
    @abstractmethod
    def digests(self) -> tuple[Digest, ...]:
        """The sha-256 of each piece: contents of the same digests are the same."""

    @abstractmethod
    def read_beside(
        self, contents: Sequence[Content], start: int, stop: int, width: int, sink: Sink | None = None
    ) -> Iterator[tuple[int, Rows]] | None:
        """As `read_together`, of ``contents``, the first of which this is; None where they do not lie alike."""


@dataclass(frozen=True, slots=True)
class Held:
    """A file held in memory."""

    data: bytes

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self.data)

    def read(self, start: int, stop: int) -> memoryview:
        """Return a view of the bytes from ``start`` to before ``stop``; nothing is copied.

        Raises:
            ValueError: The range leaves the file.
        """
        check_range(self.size, start, stop)
        return memoryview(self.data)[start:stop]

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out`` with the bytes from ``start`` on; raises as `read`."""
        out[:] = self.read(start, start + len(out))


class _Stream(io.RawIOBase):
    """A content as a binary stream, read from its beginning."""

    def __init__(self, content: Content) -> None:
        self._content, self._at = content, 0

    def readable(self) -> bool:
        return True

    def readinto(self, out: object) -> int:
        target = memoryview(out).cast("B")  # type: ignore[arg-type] # io gives a writable buffer
        length = min(len(target), self._content.size - self._at)
        self._content.read_into(self._at, target[:length])
        self._at += length
        return length


def open_stream(file: bytes | Content) -> BinaryIO:
    """Return a stream of the bytes of ``file``, from its beginning; nothing is copied beyond what is read."""
    return io.BytesIO(file) if isinstance(file, bytes) else cast("BinaryIO", _Stream(file))


def read_text(file: bytes | Content, limit: int) -> bytes:
    """Return the bytes of a small file; of one that is larger than ``limit`` one byte more than that, to be refused."""
    return file if isinstance(file, bytes) else bytes(file.read(0, min(file.size, limit + 1)))


def materialise(files: Files) -> dict[str, bytes]:
    """Return the bytes of contents."""
    return {name: bytes(content.read(0, content.size)) for name, content in files.items()}


Files = Mapping[str, Content]  # the files of an artifact directory by name


def held(files: Mapping[str, bytes]) -> dict[str, Content]:
    """Return files in memory as contents."""
    return {name: Held(data) for name, data in files.items()}


def check_range(size: int, start: int, stop: int) -> None:
    """Raise ValueError unless 0 <= start <= stop <= size."""
    if not 0 <= start <= stop <= size:
        raise ValueError(f"bytes {start} to {stop} are not within a file of {size}")


def read_together(
    contents: Sequence[Content], start: int, stop: int, width: int, sink: Sink | None = None
) -> Iterator[tuple[int, Rows]]:
    """Yield (offset, rows) for consecutive ranges of at most ``width`` bytes, which cover ``start`` to before ``stop``.

    A row is valid until the next one is asked for. What is computed of the rows counts only once all of them came.

    Args:
        width: A multiple of 64.
        sink: Takes every range once before it is yielded, in smaller ranges of some of the contents as it may be. What is
            yielded then may be wider than ``width``.

    Raises:
        ReadAgain: Something was amiss, and is mended now.
        BlockMissing, BlockCorrupt, StoreUnavailable: From the contents. ValueError: The range leaves one of them.
    """
    first = contents[0]
    beside = first.read_beside(contents, start, stop, width, sink) if isinstance(first, Pieced) else None
    return _read_each(contents, start, stop, width, sink) if beside is None else beside


def _read_each(
    contents: Sequence[Content], start: int, stop: int, width: int, sink: Sink | None
) -> Iterator[tuple[int, Rows]]:
    for at in range(start, stop, width):
        rows = np.empty((len(contents), min(width, stop - at)), np.uint8)
        for row, content in zip(rows, contents, strict=True):
            content.read_into(at, row.data)
        if sink is not None:
            sink.take(rows, at)
        yield at, rows
