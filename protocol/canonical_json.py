"""Canonical JSON: one value, one byte string. A subset of RFC 8785 (JSON Canonicalization Scheme) without floats.

Keys are ASCII and sorted, nothing is spaced, integers lie within ±(2^53 - 1) so that every reader of JSON keeps them
exactly, and nesting is shallow. Typed reading of the values is in ``protocol.fields``.
"""

from __future__ import annotations

import json
import re

from protocol.errors import NotCanonical, TooLarge

MAX_INTEGER = (1 << 53) - 1
MAX_DEPTH = 8
MAX_BYTES = 4 * 1024 * 1024


def _refusal(why: str) -> NotCanonical:
    return NotCanonical("JSON is not canonical.", why, "Write it with protocol.canonical_json.dumps.")


# A string that is not closed reaches to the end: trying again from each of its quotes would take quadratic time.
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


def is_nested_deeper(data: bytes | bytearray, most: int) -> bool:
    """Whether lists and objects in JSON text are nested deeper than ``most``; brackets inside strings do not count.

    Ask this before a recursive parser reads the text. Parsers differ, and the same one differs with its process's settings,
    in how deep they go before they fail or crash.
    """
    if data.count(b"[") + data.count(b"{") <= most:  # what opens no more brackets nests no deeper
        return False
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(data):
        first = token.group()[:1]
        depth += (first in b"[{") - (first in b"]}")
        if depth > most:
            return True
    return False


def _check(value: object, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise _refusal(f"It is nested deeper than {MAX_DEPTH}.")
    if value is None or isinstance(value, bool | str):
        return
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise _refusal("An integer lies outside ±(2^53 - 1).")
    elif isinstance(value, list):
        for item in value:
            _check(item, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str) or not key.isascii():
                raise _refusal(f"The key {key!r} is not ASCII text.")
            _check(item, depth + 1)
    else:
        raise _refusal(f"It has no {type(value).__name__}; rationals and amounts are strings.")


def dumps(value: object) -> bytes:
    """Return the one encoding of ``value``: dict, list, str, int, bool or None, nested at most 8 deep.

    Raises:
        NotCanonical: It holds a float, a non-ASCII key, an integer outside ±(2^53 - 1), or half a surrogate pair.
    """
    _check(value)
    try:
        # ASCII keys sort alike as UTF-16 code units (RFC 8785 §3.2.3) and as Python strings.
        return _ENCODER.encode(value).encode()
    except UnicodeEncodeError:
        raise _refusal("A string holds half a surrogate pair.") from None


def _integer(text: str) -> int:
    if len(text) > 17:  # before int(): its time grows with the square of the digits
        raise _refusal("An integer lies outside ±(2^53 - 1).")
    return int(text)


def _no_float(text: str) -> object:
    raise _refusal(f"{text[:40]} is not an integer; rationals are strings.")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _refusal("An object names a key twice.")
    return value


_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))
_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_no_float, parse_constant=_no_float
)


def loads(data: bytes, limit: int = MAX_BYTES) -> object:
    """Return the value that ``data`` is the canonical encoding of.

    Every refusal of content is the same rule, so that it cannot depend on which check came first on which machine.

    Raises:
        TooLarge: ``data`` is over ``limit`` bytes.
        NotCanonical: It is not JSON, or not the bytes that ``dumps`` writes for its value.
    """
    if len(data) > limit:
        raise TooLarge(f"A JSON file has {len(data)} bytes.", f"At most {limit} are read.", "Ask its author why.")
    if is_nested_deeper(data, MAX_DEPTH + 1):
        raise _refusal(f"It is nested deeper than {MAX_DEPTH}.")
    try:
        value: object = _DECODER.decode(data.decode())
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise _refusal(f"It cannot be parsed ({type(error).__name__}).") from None
    if dumps(value) != data:
        raise _refusal("Encoding its value again gives other bytes (spaces, key order or escapes).")
    return value
