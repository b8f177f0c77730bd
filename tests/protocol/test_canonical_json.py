"""Canonical JSON: one encoding, and a refusal for everything else."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.canonical_json import MAX_DEPTH, MAX_INTEGER, dumps, is_nested_deeper, loads
from protocol.errors import NotCanonical, TooLarge

ascii_keys = st.text(st.characters(max_codepoint=0x7F), max_size=5)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
scalars = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | texts
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(ascii_keys, inner), max_leaves=8).filter(
    lambda value: depth(value) <= MAX_DEPTH
)


def depth(value: object) -> int:
    """How deep containers are nested."""
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" {}",
        b"{} ",
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a":1,"a":2}',
        b"1.0",
        b"1e3",
        b"-0",
        b"01",
        b"+1",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"9007199254740992",
        b"-9007199254740992",
        b"9" * 5000,
        b'"\\u0061"',
        b'"\\/"',
        b'"\\u000A"',
        b'"\\ud800"',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"a',
        b"{'a':1}",
        b"[1,]",
        b'{"\xc3\xa9":1}',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b"[" * 10 + b"]" * 10,
        b"{}{}",
        b"nul",
    ],
    ids=lambda data: repr(data[:24]),
)
def test_refuses_what_it_would_not_write(data: bytes) -> None:
    with pytest.raises(NotCanonical):
        loads(data)


@pytest.mark.parametrize(
    "value",
    [0.5, float("nan"), b"x", (1,), {1: 2}, {"é": 1}, MAX_INTEGER + 1, -MAX_INTEGER - 1, "\ud800", {"a": {"b": {1}}}],
)
def test_refuses_to_write_what_it_could_not_read(value: object) -> None:
    with pytest.raises(NotCanonical):
        dumps(value)


def test_refuses_to_write_too_deep() -> None:
    value: object = 1
    for _ in range(MAX_DEPTH + 1):
        value = [value]
    with pytest.raises(NotCanonical):
        dumps(value)


def test_refuses_large_files_before_parsing_them() -> None:
    with pytest.raises(TooLarge):
        loads(b"x" * 11, limit=10)


def test_golden_bytes() -> None:
    value = {"z": [1, -2, True, None], "Z": {"b": "é\u2028\x7f", "a": '\x00\b\t\n\f\r"\\/'}, "": 2**53 - 1}
    assert dumps(value) == (
        b'{"":9007199254740991,"Z":{"a":"\\u0000\\b\\t\\n\\f\\r\\"\\\\/","b":"\xc3\xa9\xe2\x80\xa8\x7f"},'
        b'"z":[1,-2,true,null]}'
    )


@given(values)
def test_round_trip(value: object) -> None:
    data = dumps(value)
    assert loads(data) == value
    assert json.loads(data) == value
    assert dumps(loads(data)) == data


@given(st.binary(max_size=30))
def test_whatever_is_read_is_written_the_same(data: bytes) -> None:
    try:
        value = loads(data)
    except NotCanonical:
        return
    assert dumps(value) == data


def test_nesting_is_bounded_before_the_parser_whatever_its_recursion_limit() -> None:
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(10**9)  # as some library in the process may have done
        with pytest.raises(NotCanonical, match="deeper"):
            loads(b"[" * 1_000_000)
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize("data", [b'"[[[[[[[[[[[[[[[["', rb'"\"', rb'"a\"[[[[[[[[[[[[[[["'])
def test_brackets_in_strings_are_no_nesting(data: bytes) -> None:
    assert not is_nested_deeper(data, 3)


def test_an_unclosed_string_of_quotes_takes_no_quadratic_time() -> None:
    with pytest.raises(NotCanonical):
        loads(rb'"' + rb"\"" * 1_500_000)
