"""safetensors: one encoding, read by everybody, and every other encoding refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from protocol.content import Held
from protocol.errors import ArtifactRefused, NotCanonical, TooLarge, WrongField, WrongTensor
from protocol.tensors import (
    DTYPES,
    FIRST_READ,
    MAX_HEADER_BYTES,
    Array,
    Stored,
    dumps,
    loads,
    open_tensors,
    read_span,
    read_span_into,
    spans_of,
    whole,
)

TWO: dict[str, Array] = {"b": np.array([1, 2], np.float32), "a": np.array([[3]], np.int8), "c": np.array(4, np.float64)}
GOLDEN = (
    (184).to_bytes(8, "little")
    + b'{"a":{"data_offsets":[16,17],"dtype":"I8","shape":[1,1]},'
    + b'"b":{"data_offsets":[8,16],"dtype":"F32","shape":[2]},'
    + b'"c":{"data_offsets":[0,8],"dtype":"F64","shape":[]}}'
    + b" " * 21
    + bytes.fromhex("0000000000001040" + "0000803f" + "00000040" + "03")
)

names = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters='"\\'), min_size=1, max_size=20
)
arrays = st.sampled_from(sorted(DTYPES)).flatmap(
    lambda dtype: hnp.arrays(np.dtype(dtype), hnp.array_shapes(min_dims=0, max_dims=3, max_side=3))
)
tensors = st.dictionaries(names.filter(lambda name: name != "__metadata__"), arrays, max_size=4)


def written(header: object, data: bytes = b"", pad: bytes | None = None) -> bytes:
    """A file with any header, padded as ours unless ``pad`` says otherwise."""
    text = header if isinstance(header, bytes) else json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64) if pad is None else pad
    return len(text).to_bytes(8, "little") + text + data


def entry(start: int, end: int, dtype: str = "U8", shape: list[int] | None = None) -> dict[str, object]:
    """One tensor of a header; a vector unless a shape is given."""
    return {"data_offsets": [start, end], "dtype": dtype, "shape": [end - start] if shape is None else shape}


MALFORMED: list[tuple[bytes, type[ArtifactRefused]]] = [
    (b"", NotCanonical),
    (b"\0" * 7, NotCanonical),
    (b"\0" * 8, NotCanonical),
    (b"\xff" * 8, TooLarge),
    ((MAX_HEADER_BYTES + 1).to_bytes(8, "little") + b"{}", TooLarge),
    ((56).to_bytes(8, "little") + b"{}", NotCanonical),
    (written(b"[]"), WrongField),
    (written(b"{"), NotCanonical),
    (written({"a": entry(0, 2), "b": entry(1, 3)}, b"abc"), NotCanonical),  # overlap
    (written({"a": entry(0, 1), "b": entry(2, 3)}, b"abc"), NotCanonical),  # gap
    (written({"a": entry(1, 2), "b": entry(0, 1)}, b"ab"), NotCanonical),  # order
    (written({"a": entry(0, 2, "U16", [1]), "b": entry(2, 10, "U64", [1])}, bytes(10)), NotCanonical),  # order
    (written({"a": entry(0, 3, shape=[2])}, b"abc"), NotCanonical),  # size of the offsets
    (written({"a": entry(0, 3)}, b"ab"), NotCanonical),
    (written({"a": entry(0, 3)}, b"abcd"), NotCanonical),
    (written({"a": entry(0, 3)}, b"abc", b""), NotCanonical),
    (written({"a": entry(0, 3)}, b"abc", b" " * 200), NotCanonical),
    (written({"a": entry(0, 3)}, b"abc", b"\t" * 5), NotCanonical),
    (written({"__metadata__": {"format": "pt"}}), WrongField),
    (written({"__metadata__": entry(0, 1)}, b"a"), WrongTensor),
    (written({"a": entry(0, 2, "BF16", [1])}, b"ab"), WrongTensor),
    (written({"a": entry(0, 0, shape=[0])}), WrongTensor),
    (written({"a": entry(0, 0, shape=[0, 1 << 40, 1 << 40])}), WrongTensor),
    (written({"a": entry(0, 1, shape=[1 << 40, 1 << 40])}, b"a"), WrongTensor),
    (written({"a": entry(0, 1, shape=[1] * 33)}, b"a"), WrongField),
    (written({"a": entry(0, 1, shape=[-1])}, b"a"), WrongField),
    (written({"a": {**entry(0, 1), "more": 1}}, b"a"), WrongField),
    (written({"a": {"dtype": "U8", "shape": [1]}}, b"a"), WrongField),
    (written({"": entry(0, 1)}, b"a"), WrongTensor),
    (written({'a"': entry(0, 1)}, b"a"), WrongTensor),
    (written({"a\n": entry(0, 1)}, b"a"), WrongTensor),
    (written({"x" * 257: entry(0, 1)}, b"a"), WrongTensor),
    (written(b'{"a":{"data_offsets":[0,1],"dtype":"U8","shape":[1]},"a":{}}', b"a"), NotCanonical),
    (written({"a": entry(0, 1, "BOOL")}, b"\2"), NotCanonical),
    (written({"a": entry(0, 1 << 17, "BOOL")}, bytes((1 << 17) - 1) + b"\2"), NotCanonical),
]


@pytest.mark.parametrize(("data", "error"), MALFORMED)
def test_refuses(data: bytes, error: type[ArtifactRefused]) -> None:
    with pytest.raises(error) as refused:
        loads(data)
    assert type(refused.value) is error


@pytest.mark.parametrize(("data", "error"), MALFORMED)
def test_opening_refuses_what_loading_does(data: bytes, error: type[ArtifactRefused]) -> None:
    with pytest.raises(error) as refused:
        open_tensors(Held(data))
    assert type(refused.value) is error


@pytest.mark.parametrize("count", [1, 40, 400])
def test_opening_reads_the_header_alone(count: int) -> None:
    data = dumps({f"{number:05}": np.arange(10_000) for number in range(count)})
    header = 8 + int.from_bytes(data[:8], "little")

    class HeaderOnly(Held):
        def read(self, start: int, stop: int) -> memoryview:
            assert stop <= max(header, FIRST_READ)
            return super().read(start, stop)

        def read_into(self, start: int, out: memoryview) -> None:
            raise AssertionError

    opened = open_tensors(HeaderOnly(data))
    assert len(opened) == count
    assert {tensor.shape for tensor in opened.values()} == {(10_000,)}


@pytest.mark.parametrize(
    ("start", "out"),
    [
        (-1, np.zeros(1, np.int16)),
        (4, np.zeros(3, np.int16)),
        (7, np.zeros(0, np.int16)),
        (0, np.zeros(1, np.uint16)),
        (0, np.zeros(1, np.int32)),
        (0, np.zeros(1, ">i2")),
    ],
)
def test_a_stored_tensor_fills_only_what_fits(start: int, out: Array) -> None:
    stored = open_tensors(Held(dumps({"a": np.arange(6, dtype=np.int16), "b": np.arange(9, dtype=np.int16)})))["a"]
    with pytest.raises(ValueError, match="not within 6"):
        stored.read_into(start, out)


@pytest.mark.parametrize(
    "bad",
    [
        {"": np.zeros(1)},
        {"é": np.zeros(1)},
        {"__metadata__": np.zeros(1)},
        {"a": np.zeros(1, np.complex64)},
        {"a": np.zeros(1, object)},
        {"a": np.zeros(1, "U1")},
        {"a": np.zeros(0)},
        {"a": np.zeros((1,) * 33)},
    ],
)
def test_refuses_to_write(bad: dict[str, Array]) -> None:
    with pytest.raises(WrongTensor):
        dumps(bad)


def test_refuses_to_write_a_bool_that_is_neither() -> None:
    with pytest.raises(NotCanonical):
        dumps({"a": np.array([2], np.uint8).view(bool)})


def test_other_writers_bytes_are_not_canonical() -> None:
    assert safetensors.numpy.save(TWO) != dumps(TWO)
    with pytest.raises(NotCanonical):
        loads(safetensors.numpy.save(TWO))


def test_golden_bytes() -> None:
    assert dumps(TWO) == GOLDEN
    assert dumps({}) == written({})
    assert (len(GOLDEN) - 17) % 64 == 0


def test_order_of_the_mapping_and_layout_in_memory_do_not_matter() -> None:
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    expected = dumps({"a": array, "b": array.T.copy()})
    assert dumps({"b": np.asarray(array.T), "a": np.asfortranarray(array)}) == expected
    assert dumps({"b": array.T, "a": array.astype(">i2")}) == expected
    assert dumps({"b": array.T, "a": np.repeat(array, 2, axis=0)[::2]}) == expected


def test_views_are_read_only_and_copy_nothing() -> None:
    data = dumps({"a": np.arange(1000)})
    view = loads(data)["a"]
    assert not view.flags.writeable
    assert np.shares_memory(view, np.frombuffer(data, np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1


@given(tensors)
def test_round_trip_and_the_official_reader_agrees(found: dict[str, Array]) -> None:
    data = dumps(found)
    ours, theirs = loads(data), safetensors.numpy.load(data)
    assert list(ours) == sorted(found)
    assert ours.keys() == theirs.keys()
    for name, array in found.items():
        for other in (ours[name], theirs[name]):
            assert (other.dtype, other.shape) == (array.dtype, array.shape)
            assert other.tobytes() == array.tobytes()
    assert dumps(ours) == data


@given(tensors)
def test_every_tensor_is_aligned_to_its_dtype(found: dict[str, Array]) -> None:
    data = dumps(found)
    length = int.from_bytes(data[:8], "little")
    assert (8 + length) % 64 == 0
    for item in json.loads(data[8 : 8 + length]).values():
        assert item["data_offsets"][0] % (int(item["dtype"].lstrip("FIUBOL") or 8) // 8) == 0


# --- tensors that stay in their file ---


@given(tensors)
def test_stored_tensors_are_those_that_loads_gives(found: dict[str, Array]) -> None:
    data = dumps(found)
    loaded, opened = loads(data), open_tensors(Held(data))

    assert list(opened) == list(loaded)
    for name, array in loaded.items():
        stored = opened[name]
        assert (stored.dtype, stored.shape, stored.size) == (array.dtype, array.shape, array.size)
        assert (whole(stored).shape, whole(stored).tobytes()) == (array.shape, array.tobytes())
        assert whole(array) is array


@given(hnp.arrays(np.int16, hnp.array_shapes(max_dims=3, max_side=5)), st.integers(1, 50), st.data())
def test_any_span_is_the_same_coordinates_wherever_they_lie(array: Array, width: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, array.size))
    stop = data.draw(st.integers(start, array.size))
    flat = array.reshape(-1).tolist()
    stored = open_tensors(Held(dumps({"before": np.arange(3.0), "it": array, "then": array})))["it"]

    for tensor in (array, np.asfortranarray(array), stored):
        assert read_span(tensor, start, stop).tolist() == flat[start:stop]
        out = np.zeros(stop - start, tensor.dtype)
        read_span_into(tensor, start, out)
        assert out.tolist() == flat[start:stop]
        spans = list(spans_of(tensor, width))
        assert [start for start, _ in spans] == list(range(0, array.size, width))
        assert [value for _, part in spans for value in part.tolist()] == flat
        assert all(part.ndim == 1 and 1 <= part.size <= width for _, part in spans)


def test_a_span_of_a_tensor_in_memory_is_a_view_and_of_a_stored_one_is_its_own() -> None:
    array = np.arange(12).reshape(3, 4)
    stored = open_tensors(Held(dumps({"a": array})))["a"]

    assert np.shares_memory(read_span(array, 2, 9), array)
    span = read_span(stored, 2, 9)
    span[:] = 0
    assert read_span(stored, 2, 9).tolist() == list(range(2, 9))
    assert isinstance(stored, Stored)


@pytest.mark.parametrize("size", [(1 << 16) - 1, 1 << 16, (1 << 16) + 1])
def test_spans_of_the_usual_width_leave_no_seam(size: int) -> None:
    array = np.arange(size, dtype=np.uint32)
    stored = open_tensors(Held(dumps({"a": array})))["a"]

    assert np.array_equal(np.concatenate([part for _, part in spans_of(stored)]), array)
