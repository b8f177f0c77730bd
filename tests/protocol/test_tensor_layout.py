"""Where tensors lie, read once for all files with one header, and every refusal made again each time."""

from __future__ import annotations

import numpy as np
import pytest

from protocol import tensor_layout
from protocol.content import Held
from protocol.errors import NotCanonical, TooLarge
from protocol.tensor_layout import LONGEST_REMEMBERED, REMEMBERED, layout_of, read_layout
from protocol.tensors import dumps, loads, open_tensors


def file(name: str, values: int = 3) -> bytes:
    return dumps({name: np.arange(values, dtype=np.int16), "other": np.zeros(2)})


@pytest.fixture(autouse=True)
def _forgotten() -> None:
    tensor_layout._remembered.cache_clear()


def test_a_layout_says_where_each_tensor_lies_in_name_order() -> None:
    layout = layout_of({"b": ("int8", (2, 3)), "c": ("float64", ()), "a": ("int8", (5,))})
    at = len(layout.header)

    assert [(name, place.start - at, place.shape) for name, place in layout.places.items()] == [
        ("a", 8, (5,)),
        ("b", 13, (2, 3)),
        ("c", 0, ()),
    ]
    assert layout.size == at + 19
    assert read_layout(layout.header) == layout


def test_a_header_is_read_once_for_all_files_that_have_it() -> None:
    one, other = file("a"), file("b")
    assert read_layout(one) is read_layout(one[:-1]) is read_layout(bytearray(one))
    assert read_layout(other) is not read_layout(one)
    assert list(read_layout(other).places) == ["b", "other"]


def test_a_remembered_layout_cannot_be_changed() -> None:
    layout = read_layout(file("a"))
    with pytest.raises(TypeError):
        layout.places["x"] = layout.places["a"]  # type: ignore[index] # which is what must fail
    loads(file("a")).clear()
    open_tensors(Held(file("a"))).clear()
    assert list(open_tensors(Held(file("a")))) == list(loads(file("a"))) == ["a", "other"]


def test_what_follows_a_known_header_is_checked_in_each_file() -> None:
    good = file("a")
    assert loads(good).keys() == open_tensors(Held(good)).keys()
    for bad in (good[:-1], good + b"\0"):
        with pytest.raises(NotCanonical):
            loads(bad)
        with pytest.raises(NotCanonical):
            open_tensors(Held(bad))


def test_a_header_that_differs_in_one_byte_is_refused_each_time() -> None:
    good = file("a")
    read_layout(good)
    bad = good.replace(b"[0,16]", b"[0,17]", 1)
    for _ in range(2):
        with pytest.raises(NotCanonical):
            read_layout(bad)


def test_a_header_cut_short_is_refused_though_it_is_known() -> None:
    header = read_layout(file("a")).header
    with pytest.raises(NotCanonical):
        read_layout(header[:-1])
    with pytest.raises(TooLarge):
        read_layout(b"\xff" * 8 + header[8:])


def test_few_headers_are_remembered_and_no_long_ones() -> None:
    for number in range(3 * REMEMBERED):
        read_layout(file(f"{number}"))
    assert tensor_layout._remembered.cache_info().currsize == REMEMBERED

    tensor_layout._remembered.cache_clear()
    long = layout_of({f"{number:0250}": ("int8", (1,)) for number in range(500)}).header
    assert len(long) > LONGEST_REMEMBERED
    assert read_layout(long) == read_layout(long)
    assert tensor_layout._remembered.cache_info().currsize == 0
