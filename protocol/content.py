"""The bytes of one verified file, wherever they lie: in memory, or in the blocks of a store, read piece by piece."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Protocol, cast


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
