"""The one encoding of tensors as a content that is made when it is read, piece by piece, where it is wanted."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from protocol.content import check_range
from protocol.tensor_layout import layout_of
from protocol.tensors import Array, in_data_order


@dataclass(frozen=True, slots=True)
class Source:
    """A tensor that is made span by span.

    Args:
        dtype: numpy's name of it. shape: Of the tensor.
        fill: ``fill(start, out)`` fills ``out``, 1-D and contiguous, of the dtype in little-endian order, with the
            coordinates from ``start`` on, in C order. Any number of threads may call it.
    """

    dtype: str
    shape: tuple[int, ...]
    fill: Callable[[int, Array], None]


class Encoding:
    """The one encoding of tensors as a `protocol.content.Content`: made when it is read, never held as a whole.

    Any number of threads may read.

    Raises:
        WrongTensor, TooLarge: As `protocol.tensors.dumps`.
    """

    def __init__(self, tensors: Mapping[str, Source]) -> None:
        layout = layout_of({name: (source.dtype, source.shape) for name, source in tensors.items()})
        self._header, self.size = layout.header, layout.size
        self._pieces = [(place.start, place.dtype, tensors[name]) for name, place in in_data_order(layout)]
        self._ends = [start for start, _, _ in self._pieces[1:]] + [layout.size] * bool(self._pieces)

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
        for number in range(bisect_right(self._ends, start), len(self._ends)):
            begin, dtype, source = self._pieces[number]
            if begin >= stop:
                break
            low, high = max(begin, start), min(self._ends[number], stop)
            _fill_bytes(source, dtype, low - begin, out[low - start : high - start])


def _fill_bytes(source: Source, dtype: np.dtype[Any], start: int, out: memoryview) -> None:
    """Fill ``out`` with the bytes of a tensor from ``start`` on, which need neither begin nor end with a coordinate."""
    first, before = divmod(start, dtype.itemsize)
    last, after = divmod(start + len(out), dtype.itemsize)
    if not before and not after:
        values = np.frombuffer(out, dtype)
        if values.flags.aligned:
            source.fill(first, values)
            return
    values = np.empty(last + bool(after) - first, dtype)
    source.fill(first, values)
    out[:] = values.view(np.uint8).data[before : before + len(out)]
