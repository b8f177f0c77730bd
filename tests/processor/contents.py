"""Contents that merges read piece by piece: real files, bytes made when asked for, and bytes that are gone."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from protocol.content import Content, check_range
from protocol.errors import BlockMissing
from protocol.update import Update, decode_update, encode_update


@dataclass(frozen=True)
class OnDisk:
    """A file on disk, opened for each read as a stranger to every cache of ours."""

    path: Path

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.path.stat().st_size

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from ``start`` to before ``stop``."""
        check_range(self.size, start, stop)
        with self.path.open("rb") as file:
            return os.pread(file.fileno(), stop - start, start)

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out`` with the bytes from ``start`` on."""
        out[:] = self.read(start, start + len(out))


@dataclass(frozen=True)
class Made:
    """A file that exists nowhere: ``head``, then ``length`` bytes that ``make(start, stop)`` gives."""

    head: bytes
    length: int
    make: Callable[[int, int], bytes]

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self.head) + self.length

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from ``start`` to before ``stop``."""
        check_range(self.size, start, stop)
        ahead, head = self.head[start:stop], len(self.head)
        return ahead + (self.make(max(start, head) - head, stop - head) if stop > head else b"")

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out`` with the bytes from ``start`` on."""
        out[:] = self.read(start, start + len(out))


@dataclass(frozen=True)
class Gone:
    """A file of which all was there when it was opened, and its first ``left`` bytes later; the rest has been removed."""

    whole: bytes
    left: int

    @property
    def size(self) -> int:
        """Bytes that the file had."""
        return len(self.whole)

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from ``start`` to before ``stop``; BlockMissing where they are gone."""
        check_range(self.size, start, stop)
        if start and stop > self.left:  # whoever opens it reads from its beginning
            raise BlockMissing("bytes that were verified", "They are gone.")
        return self.whole[start:stop]

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out`` with the bytes from ``start`` on; raises as `read`."""
        out[:] = self.read(start, start + len(out))


def stored(update: Update, folder: Path) -> Update:
    """``update`` with its tensors in files below ``folder``, which a merge reads span by span."""
    return decode_update(files_on_disk(encode_update(update), folder))


def files_on_disk(files: Mapping[str, bytes], folder: Path) -> dict[str, Content]:
    """``files`` written below ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return {name: OnDisk(folder / name) for name in files}


def gone(update: Update, missing: int | None = None) -> Update:
    """``update`` whose deltas vanished after they had been verified: the last ``missing`` bytes of the file, or all of them."""
    files = encode_update(update)
    header = 8 + int.from_bytes(files["delta.safetensors"][:8], "little")
    contents: dict[str, Content] = {name: Gone(data, len(data)) for name, data in files.items()}
    contents["delta.safetensors"] = Gone(
        files["delta.safetensors"], header if missing is None else len(files["delta.safetensors"]) - missing
    )
    return decode_update(contents)
