"""safetensors with one encoding only: the same tensors are always the same bytes, and every reader of the format reads them.

Layout (https://github.com/huggingface/safetensors, §Format): 8 bytes little-endian length N of the header, N bytes of JSON,
data. What we fix beyond it: no metadata; the header is canonical JSON, padded with the fewest spaces after which data
starts at a multiple of 64; data in order of dtype size, largest first, then name, without gaps, little-endian, C order.
Descending sizes keep every tensor aligned to its own dtype.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocol.content import Content
from protocol.runs import Run, serial
from protocol.tensor_layout import (
    ALIGNMENT,
    DTYPES,
    MAX_DIMENSION,
    MAX_HEADER_BYTES,
    MAX_RANK,
    MAX_TENSORS,
    Layout,
    Place,
    Spec,
    header_bytes,
    layout_of,
    read_layout,
    refusal,
)

__all__ = [
    "DTYPES",
    "MAX_DIMENSION",
    "MAX_HEADER_BYTES",
    "MAX_RANK",
    "MAX_TENSORS",
    "PIECE",
    "SPAN",
    "Array",
    "Spec",
    "Stored",
    "Tensor",
    "check_bool",
    "dumps",
    "empty_arrays",
    "header_bytes",
    "in_data_order",
    "loads",
    "open_file",
    "open_tensors",
    "pieces_of",
    "read_layout",
    "read_span",
    "read_span_into",
    "spans_of",
    "whole",
    "whole_each",
]

SPAN = 1 << 16  # coordinates read at once of a tensor that is looked through: they stay in the cache meanwhile
PIECE = 1 << 18  # coordinates of a piece of work, where several threads share that of reading whole tensors
FIRST_READ = 4096  # bytes of a file, in which most headers end: reading so many takes no longer than reading 8

Array = NDArray[Any]


def dumps(tensors: Mapping[str, Array]) -> bytes:
    """Return the one encoding of ``tensors``.

    Raises:
        WrongTensor: A name, a dtype or a number of dimensions that the format does not have.
        NotCanonical: A bool tensor holds other bytes than 0 and 1.
        TooLarge: The header would be over 8 MiB, or there are over 65,536 tensors.
    """
    layout = layout_of({name: (array.dtype.name, array.shape) for name, array in tensors.items()})
    parts: list[bytes | memoryview] = [layout.header]
    for name, place in in_data_order(layout):
        array = np.ascontiguousarray(tensors[name], dtype=place.dtype)
        check_bool(name, array)
        parts.append(array.reshape(-1).view(np.uint8).data)
    return b"".join(parts)


def loads(data: bytes) -> dict[str, Array]:
    """Return the tensors in ``data``, in name order, as read-only views of it: nothing is copied.

    Raises:
        NotCanonical: Truncated, trailing bytes, gaps or overlaps, other order, metadata, other padding.
        WrongTensor: An unknown dtype, a bad name, too many dimensions. WrongField: The header has other fields.
        TooLarge: A header over 8 MiB, over 65,536 tensors.
    """
    layout = read_layout(data)
    _check_size(layout, len(data))
    views = {name: _view(data, place) for name, place in layout.places.items()}
    for name, view in views.items():
        check_bool(name, view)
    return views


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor in a file that is read span by span, so that it need not fit into memory.

    Args:
        content: The whole file. start: Where the tensor's bytes begin in it.
        shape: Of the tensor. dtype: In the byte order of the format, little-endian.
    """

    content: Content
    start: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Coordinates of the tensor."""
        return math.prod(self.shape)

    def read_into(self, start: int, out: Array) -> None:
        """Fill ``out``, 1-D, contiguous and of the tensor's dtype, with the coordinates from ``start`` on, in C order.

        Raises:
            BlockMissing, BlockCorrupt, StoreUnavailable: From the content. ValueError: ``out`` does not fit.
        """
        if out.dtype != self.dtype or not 0 <= start <= start + out.size <= self.size:
            raise ValueError(f"{out.size} of {out.dtype} from {start} on are not within {self.size} of {self.dtype}")
        self.content.read_into(self.start + start * self.dtype.itemsize, out.view(np.uint8).data)
        self.check(out)

    def check(self, values: Array) -> None:
        """Refuse coordinates that were read of it and may not stand in it; a plain tensor takes all."""


Tensor = Array | Stored


def read_span(tensor: Tensor, start: int, stop: int) -> Array:
    """Return the coordinates ``start`` to before ``stop`` of ``tensor``, 1-D in C order; a view where it is in memory."""
    if not isinstance(tensor, Stored):
        return tensor.reshape(-1)[start:stop]
    out = np.empty(stop - start, tensor.dtype)
    tensor.read_into(start, out)
    return out


def read_span_into(tensor: Tensor, start: int, out: Array) -> None:
    """Fill ``out``, 1-D and of the tensor's dtype, with the coordinates of ``tensor`` from ``start`` on."""
    if isinstance(tensor, Stored):
        tensor.read_into(start, out)
    else:
        out[:] = tensor.reshape(-1)[start : start + out.size]


def whole(tensor: Tensor) -> Array:
    """Return ``tensor`` as an array of its shape; a copy where it is in a file."""
    return tensor if not isinstance(tensor, Stored) else read_span(tensor, 0, tensor.size).reshape(tensor.shape)


def whole_each(tensors: Mapping[str, Tensor], dtype: np.dtype[Any], run: Run = serial) -> dict[str, Array]:
    """Return `whole` of each of ``tensors``, all of ``dtype``, read-only where they are copies.

    Args:
        run: Who reads pieces of those in files, in this process.
    """
    stored = {name: tensor for name, tensor in tensors.items() if isinstance(tensor, Stored)}
    arrays = empty_arrays({name: tensor.shape for name, tensor in stored.items()}, dtype)

    def fill(piece: tuple[str, int, int]) -> None:
        name, start, stop = piece
        stored[name].read_into(start, arrays[name].reshape(-1)[start:stop])

    for _ in run(fill, pieces_of(arrays)):
        pass
    for array in arrays.values():
        array.flags.writeable = False
    return {name: arrays[name] if isinstance(tensor, Stored) else tensor for name, tensor in tensors.items()}


def empty_arrays(shapes: Mapping[str, tuple[int, ...]], dtype: np.dtype[Any]) -> dict[str, Array]:
    """Return an array of each of ``shapes``, not filled, all in one piece of memory.

    A large piece comes in large pages, where the system has them: taking millions of coordinates page by page takes
    longer than to fill them.
    """
    ends = list(accumulate((_rounded(math.prod(shape), dtype) for shape in shapes.values()), initial=0))
    room = np.empty(ends[-1], dtype)
    return {
        name: room[start : start + math.prod(shape)].reshape(shape)
        for (name, shape), start in zip(shapes.items(), ends[:-1], strict=True)
    }


def pieces_of(arrays: Mapping[str, Array]) -> list[tuple[str, int, int]]:
    """Return (name, start, stop) of consecutive spans of at most ``PIECE`` coordinates, which cover each of ``arrays``."""
    return [
        (name, start, min(start + PIECE, array.size))
        for name, array in arrays.items()
        for start in range(0, array.size, PIECE)
    ]


def spans_of(tensor: Tensor, width: int = SPAN) -> Iterator[tuple[int, Array]]:
    """Yield (start, coordinates) of consecutive spans of at most ``width`` coordinates, which cover ``tensor``."""
    for start in range(0, tensor.size, width):
        yield start, read_span(tensor, start, min(start + width, tensor.size))


def open_tensors(content: Content) -> dict[str, Stored]:
    """Return the tensors of the safetensors file ``content``, in name order; only its header is read.

    Raises:
        As `loads`; bool tensors are read for it.
        BlockMissing, BlockCorrupt, StoreUnavailable: From the content.
    """
    layout = read_layout(_beginning(content))
    _check_size(layout, content.size)
    opened = {name: Stored(content, place.start, place.shape, place.dtype) for name, place in layout.places.items()}
    for name, tensor in opened.items():
        if tensor.dtype.kind == "b":
            for _, part in spans_of(tensor):
                check_bool(name, part)
    return opened


def open_file(file: bytes | Content) -> Mapping[str, Tensor]:
    """Return the tensors of a safetensors file: views of bytes, or tensors that are read when asked for; raises as both."""
    return loads(file) if isinstance(file, bytes) else open_tensors(file)


def _beginning(content: Content) -> bytes:
    """Return the first bytes of a file, in which its whole header lies, unless the file ends before; raises TooLarge."""
    first = bytes(content.read(0, min(FIRST_READ, content.size)))
    length = min(header_bytes(first), content.size)
    return first if length <= len(first) else first + bytes(content.read(len(first), length))


def _rounded(count: int, dtype: np.dtype[Any]) -> int:
    """Return the coordinates that take as many bytes as ``count`` do, and up to the next multiple of 64."""
    return -(-count * dtype.itemsize // ALIGNMENT) * ALIGNMENT // dtype.itemsize


def in_data_order(layout: Layout) -> list[tuple[str, Place]]:
    """Return the tensors in the order of the data."""
    return sorted(layout.places.items(), key=lambda item: item[1].start)


def _check_size(layout: Layout, size: int) -> None:
    if size != layout.size:
        raise refusal("It has fewer or more data than its tensors.")


def _view(data: bytes, place: Place) -> Array:
    view = np.frombuffer(data, place.dtype, math.prod(place.shape), place.start).reshape(place.shape)
    view.flags.writeable = False
    return view


def check_bool(name: str, array: Array) -> None:
    """Refuse bool tensors that hold other bytes than 0 and 1; raises NotCanonical."""
    if array.dtype.kind == "b" and array.view(np.uint8).max() > 1:
        raise refusal(f"The bool tensor {name} holds other bytes than 0 and 1.")
