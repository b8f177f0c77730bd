"""safetensors with one encoding only: the same tensors are always the same bytes, and every reader of the format reads them.

Layout (https://github.com/huggingface/safetensors, §Format): 8 bytes little-endian length N of the header, N bytes of JSON,
data. What we fix beyond it: no metadata; the header is canonical JSON, padded with the fewest spaces after which data
starts at a multiple of 64; data in order of dtype size, largest first, then name, without gaps, little-endian, C order.
Descending sizes keep every tensor aligned to its own dtype.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocol import canonical_json
from protocol.content import Content, check_range
from protocol.errors import NotCanonical, TooLarge, WrongTensor
from protocol.fields import Field

MAX_HEADER_BYTES = 8 * 1024 * 1024
MAX_TENSORS = 65_536
MAX_RANK = 32
MAX_DIMENSION = 1 << 40
ALIGNMENT = 64
SPAN = 1 << 16  # coordinates read at once of a tensor that is looked through: they stay in the cache meanwhile

Array = NDArray[Any]
Spec = tuple[str, tuple[int, ...]]  # numpy's dtype name, shape

_CODES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bool": "BOOL",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8",
}  # fmt: skip
_NAMES = {code: name for name, code in _CODES.items()}
DTYPES = frozenset(_CODES)

# Names are ASCII without quote and backslash, so that JSON needs no escapes.
_NAME = re.compile(r"[ !#-\[\]-~]{1,256}")


def _item_size(dtype: str) -> int:
    return np.dtype(dtype).itemsize


def _byte_size(spec: Spec) -> int:
    size = _item_size(spec[0])
    for dimension in spec[1]:
        size *= dimension
    return size


def _check_spec(name: str, spec: Spec) -> None:
    if not _NAME.fullmatch(name) or name == "__metadata__":
        raise WrongTensor(
            f"{name[:100]!r} is no name for a tensor.", "Names are 1 to 256 ASCII characters.", "Rename it."
        )
    dtype, shape = spec
    if dtype not in DTYPES:
        raise WrongTensor(f"Tensor {name} is {dtype}.", f"Known: {', '.join(sorted(DTYPES))}.", "Convert it.")
    if len(shape) > MAX_RANK or 0 in shape or _byte_size(spec) > canonical_json.MAX_INTEGER:
        raise WrongTensor(
            f"Tensor {name} has shape {list(shape)}.",
            f"Tensors have at most {MAX_RANK} dimensions, none of them 0, and fewer than 2^53 bytes.",
            "Reshape or remove it.",
        )


def _header(specs: Mapping[str, Spec]) -> tuple[bytes, dict[str, int]]:
    """Return the padded header with its length, and each tensor's offset into the data, in data order."""
    order = sorted(specs, key=lambda name: (-_item_size(specs[name][0]), name))
    entries: dict[str, object] = {}
    offsets: dict[str, int] = {}
    end = 0
    for name in order:
        dtype, shape = specs[name]
        offsets[name], end = end, end + _byte_size(specs[name])
        entries[name] = {"data_offsets": [offsets[name], end], "dtype": _CODES[dtype], "shape": list(shape)}
    text = canonical_json.dumps(entries)
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text, offsets


def dumps(tensors: Mapping[str, Array]) -> bytes:
    """Return the one encoding of ``tensors``.

    Raises:
        WrongTensor: A name, a dtype or a number of dimensions that the format does not have.
        NotCanonical: A bool tensor holds other bytes than 0 and 1.
        TooLarge: The header would be over 8 MiB, or there are over 65,536 tensors.
    """
    specs = {name: (array.dtype.name, array.shape) for name, array in tensors.items()}
    for name, spec in specs.items():
        _check_spec(name, spec)
    header, offsets = _header(specs)
    _check_sizes(len(header) - 8, len(specs))
    parts: list[bytes | memoryview] = [header]
    for name in offsets:
        array = np.ascontiguousarray(tensors[name], dtype=np.dtype(specs[name][0]).newbyteorder("<"))
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
    specs = read_specs(data)
    header, offsets = _header(specs)
    if len(data) != len(header) + sum(map(_byte_size, specs.values())):
        raise _refusal("It has fewer or more data than its tensors.")
    views = {name: _view(data, len(header) + offsets[name], specs[name]) for name in sorted(specs)}
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
    length = min(header_bytes(bytes(content.read(0, min(8, content.size)))), content.size)
    specs = read_specs(bytes(content.read(0, length)))
    header, offsets = _header(specs)
    if content.size != len(header) + sum(map(_byte_size, specs.values())):
        raise _refusal("It has fewer or more data than its tensors.")
    opened = {
        name: Stored(content, len(header) + offsets[name], shape, np.dtype(dtype).newbyteorder("<"))
        for name, (dtype, shape) in sorted(specs.items())
    }
    for name, tensor in opened.items():
        if tensor.dtype.kind == "b":
            for _, part in spans_of(tensor):
                check_bool(name, part)
    return opened


def open_file(file: bytes | Content) -> Mapping[str, Tensor]:
    """Return the tensors of a safetensors file: views of bytes, or tensors that are read when asked for; raises as both."""
    return loads(file) if isinstance(file, bytes) else open_tensors(file)


@dataclass(frozen=True, slots=True)
class Source:
    """A tensor that is made span by span: ``read(start, stop)`` gives the coordinates of that span, 1-D, in C order."""

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[int, int], Array]


class Encoding:
    """The one encoding of tensors as a `protocol.content.Content`: made when it is read, never held as a whole.

    Raises:
        WrongTensor, TooLarge: As `dumps`.
    """

    def __init__(self, tensors: Mapping[str, Source]) -> None:
        specs = {name: (source.dtype, source.shape) for name, source in tensors.items()}
        for name, spec in specs.items():
            _check_spec(name, spec)
        self._header, offsets = _header(specs)
        _check_sizes(len(self._header) - 8, len(specs))
        self._pieces = [(len(self._header) + offset, tensors[name]) for name, offset in offsets.items()]
        self._ends = [start + _byte_size((source.dtype, source.shape)) for start, source in self._pieces]

    @property
    def size(self) -> int:
        """Bytes of the encoding."""
        return self._ends[-1] if self._ends else len(self._header)

    def read(self, start: int, stop: int) -> memoryview:
        """Return the bytes ``start`` to before ``stop``; raises ValueError where they leave the encoding."""
        out = memoryview(bytearray(stop - start))
        self.read_into(start, out)
        return out

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out`` with the bytes from ``start`` on; raises as `read`."""
        stop = start + len(out)
        check_range(self.size, start, stop)
        if start < len(self._header):
            part = self._header[start:stop]
            out[: len(part)] = part
        first = bisect_right(self._ends, start)
        for (begin, source), end in zip(self._pieces[first:], self._ends[first:], strict=True):
            if begin >= stop:
                break
            low, high = max(begin, start), min(end, stop)
            out[low - start : high - start] = _bytes_of(source, low - begin, high - begin)


def _bytes_of(source: Source, start: int, stop: int) -> memoryview:
    dtype = np.dtype(source.dtype).newbyteorder("<")
    size = dtype.itemsize
    first, last = start // size, -(-stop // size)
    values = np.ascontiguousarray(source.read(first, last), dtype=dtype)
    view: memoryview = values.view(np.uint8).data
    return view[start - first * size : stop - first * size]


def header_bytes(data: bytes) -> int:
    """Return how long the header is at the beginning of a file whose first 8 bytes are ``data``; raises TooLarge."""
    length = int.from_bytes(data[:8], "little")
    _check_sizes(length, 0)
    return 8 + length


def read_specs(data: bytes) -> dict[str, Spec]:
    """Return what the header says of each tensor, of a file that begins with ``data``; raises as ``loads``."""
    length = header_bytes(data)
    if len(data) < length:
        raise _refusal("The file ends within its header.")
    specs = _read_header(data[8:length])
    if _header(specs)[0] != data[:length]:
        raise _refusal("Offsets, order or padding are not those that its tensors have.")
    return specs


def _read_header(text: bytes) -> dict[str, Spec]:
    root = Field(canonical_json.loads(text.rstrip(b" "), MAX_HEADER_BYTES), "header")
    specs = {}
    for name, entry in root.mapping(MAX_TENSORS).items():
        fields = entry.object(("data_offsets", "dtype", "shape"))
        shape = tuple(dimension.integer(0, MAX_DIMENSION) for dimension in fields["shape"].array(MAX_RANK))
        code = fields["dtype"].ascii(16)
        specs[name] = (_NAMES.get(code, code), shape)
        _check_spec(name, specs[name])
    return specs


def _view(data: bytes, start: int, spec: Spec) -> Array:
    dtype = np.dtype(spec[0]).newbyteorder("<")
    count = _byte_size(spec) // dtype.itemsize
    view = np.frombuffer(data, dtype, count, start).reshape(spec[1])
    view.flags.writeable = False
    return view


def check_bool(name: str, array: Array) -> None:
    """Refuse bool tensors that hold other bytes than 0 and 1; raises NotCanonical."""
    if array.dtype.kind == "b" and array.view(np.uint8).max() > 1:
        raise _refusal(f"The bool tensor {name} holds other bytes than 0 and 1.")


def _check_sizes(header: int, tensors: int) -> None:
    if header > MAX_HEADER_BYTES or tensors > MAX_TENSORS:
        raise TooLarge(
            f"A safetensors header has {header} bytes.",
            f"At most {MAX_HEADER_BYTES} bytes and {MAX_TENSORS} tensors are read.",
            "Ask its author why.",
        )


def _refusal(why: str) -> NotCanonical:
    return NotCanonical("A safetensors file is not canonical.", why, "Write it with protocol.tensors.dumps.")
