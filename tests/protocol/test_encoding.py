"""An encoding that is never held as a whole: the bytes of one that is, in any pieces, from any thread."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.encoding import Encoding, Source
from protocol.errors import WrongTensor
from protocol.tensors import Array, dumps
from tests.protocol.test_tensors import TWO, tensors


def source(array: Array) -> Source:
    """A tensor as one that is made when asked for."""

    def fill(start: int, out: Array) -> None:
        assert out.ndim == 1
        assert out.flags.c_contiguous
        assert out.flags.aligned
        assert out.dtype == array.dtype.newbyteorder("<")
        out[:] = array.reshape(-1)[start : start + out.size]

    return Source(array.dtype.name, array.shape, fill)


def sources(found: dict[str, Array]) -> dict[str, Source]:
    return {name: source(array) for name, array in found.items()}


@pytest.mark.parametrize(("name", "dtype"), [("", "int8"), ("__metadata__", "int8"), ("a", "complex64")])
def test_an_encoding_refuses_what_dumps_does(name: str, dtype: str) -> None:
    with pytest.raises(WrongTensor):
        Encoding({name: source(np.zeros(1, dtype))})


@given(tensors, st.data())
def test_an_encoding_gives_the_bytes_of_dumps_in_any_pieces(found: dict[str, Array], data: st.DataObject) -> None:
    whole, encoding = dumps(found), Encoding(sources(found))
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    out = bytearray(stop - start)
    encoding.read_into(start, memoryview(out))

    assert encoding.size == len(whole)
    assert bytes(encoding.read(start, stop)) == bytes(out) == whole[start:stop]
    assert bytes(encoding.read(0, len(whole))) == whole


@pytest.mark.parametrize("shift", range(9))
def test_it_fills_memory_that_is_not_aligned(shift: int) -> None:
    whole = dumps(TWO)
    room = bytearray(len(whole) + shift)
    Encoding(sources(TWO)).read_into(0, memoryview(room)[shift:])
    assert room == bytes(shift) + whole


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (0, 1 << 20), (64, 1 << 20)])
def test_an_encoding_refuses_what_leaves_it(start: int, stop: int) -> None:
    with pytest.raises(ValueError, match="not within"):
        Encoding(sources(TWO)).read(start, stop)
