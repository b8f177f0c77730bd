"""Where the tensors of a safetensors file lie: what its header says, in the one encoding that a header has.

Files of one kind that belong to one model, such as the updates of a round, have the same header byte for byte, so the last
few are remembered by their bytes: a header is read and checked once, not once a file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from protocol import canonical_json
from protocol.errors import NotCanonical, TooLarge, WrongTensor
from protocol.fields import Field

MAX_HEADER_BYTES = 8 * 1024 * 1024
MAX_TENSORS = 65_536
MAX_RANK = 32
MAX_DIMENSION = 1 << 40
ALIGNMENT = 64

REMEMBERED = 8  # headers: those of weights, deltas and importances of two models, and two more
LONGEST_REMEMBERED = 128 * 1024  # bytes; what is read of it takes some ten times as many

Spec = tuple[str, tuple[int, ...]]  # numpy's dtype name, shape

_CODES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bool": "BOOL",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8",
}  # fmt: skip
_NAMES = {code: name for name, code in _CODES.items()}
_DTYPES = {name: np.dtype(name).newbyteorder("<") for name in _CODES}
DTYPES = frozenset(_CODES)

# Names are ASCII without quote and backslash, so that JSON needs no escapes.
_NAME = re.compile(r"[ !#-\[\]-~]{1,256}")


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor's place: ``start`` is the byte of the file at which it begins; ``dtype`` is little-endian."""

    start: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of one file.

    Args:
        header: Its first bytes, up to the data. size: Bytes of the file.
        places: Of each tensor by its name, in name order.
    """

    header: bytes
    size: int
    places: Mapping[str, Place]


def layout_of(specs: Mapping[str, Spec]) -> Layout:
    """Return the one layout of a file with tensors of ``specs``.

    Raises:
        WrongTensor: A name, a dtype or a number of dimensions that the format does not have.
        TooLarge: The header would be over 8 MiB, or there are over 65,536 tensors.
    """
    for name, spec in specs.items():
        _check_spec(name, spec)
    layout = _laid_out(specs)
    _check_sizes(len(layout.header) - 8, len(specs))
    return layout


def read_layout(data: bytes) -> Layout:
    """Return the layout of a file that begins with ``data``, or with more of it than its header.

    Raises:
        NotCanonical: It ends within the header; gaps or overlaps, other order, metadata, other padding.
        WrongTensor: An unknown dtype, a bad name, too many dimensions. WrongField: The header has other fields.
        TooLarge: A header over 8 MiB, over 65,536 tensors.
    """
    length = header_bytes(data)
    if len(data) < length:
        raise refusal("The file ends within its header.")
    header = bytes(data[:length])
    return _remembered(header) if length <= LONGEST_REMEMBERED else _read(header)


def header_bytes(data: bytes) -> int:
    """Return how long the header is at the beginning of a file whose first 8 bytes are ``data``; raises TooLarge."""
    length = int.from_bytes(data[:8], "little")
    _check_sizes(length, 0)
    return 8 + length


def refusal(why: str) -> NotCanonical:
    """Return the error that a file is not the one encoding of its tensors."""
    return NotCanonical("A safetensors file is not canonical.", why, "Write it with protocol.tensors.dumps.")


def _read(header: bytes) -> Layout:
    layout = _laid_out(_read_specs(header[8:]))
    if layout.header != header:
        raise refusal("Offsets, order or padding are not those that its tensors have.")
    return layout


_remembered = lru_cache(REMEMBERED)(_read)  # which keeps no refusal


def _read_specs(text: bytes) -> dict[str, Spec]:
    root = Field(canonical_json.loads(text.rstrip(b" "), MAX_HEADER_BYTES), "header")
    specs = {}
    for name, entry in root.mapping(MAX_TENSORS).items():
        fields = entry.object(("data_offsets", "dtype", "shape"))
        shape = tuple(dimension.integer(0, MAX_DIMENSION) for dimension in fields["shape"].array(MAX_RANK))
        code = fields["dtype"].ascii(16)
        specs[name] = (_NAMES.get(code, code), shape)
        _check_spec(name, specs[name])
    return specs


def _laid_out(specs: Mapping[str, Spec]) -> Layout:
    order = sorted(specs, key=lambda name: (-_DTYPES[specs[name][0]].itemsize, name))
    entries: dict[str, object] = {}
    offsets: dict[str, int] = {}
    end = 0
    for name in order:
        dtype, shape = specs[name]
        offsets[name], end = end, end + _byte_size(specs[name])
        entries[name] = {"data_offsets": [offsets[name], end], "dtype": _CODES[dtype], "shape": list(shape)}
    text = canonical_json.dumps(entries)
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    header = len(text).to_bytes(8, "little") + text
    places = {
        name: Place(len(header) + offsets[name], specs[name][1], _DTYPES[specs[name][0]]) for name in sorted(specs)
    }
    return Layout(header, len(header) + end, MappingProxyType(places))


def _byte_size(spec: Spec) -> int:
    size = _DTYPES[spec[0]].itemsize
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


def _check_sizes(header: int, tensors: int) -> None:
    if header > MAX_HEADER_BYTES or tensors > MAX_TENSORS:
        raise TooLarge(
            f"A safetensors header has {header} bytes.",
            f"At most {MAX_HEADER_BYTES} bytes and {MAX_TENSORS} tensors are read.",
            "Ask its author why.",
        )
