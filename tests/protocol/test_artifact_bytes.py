"""Golden bytes of each artifact, and what becomes of damaged ones: refused by name, or another artifact's one encoding."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.cid import directory_cid
from protocol.errors import ArtifactRefused, RondoError
from protocol.unixfs import directory_digest
from tests.protocol.samples import FILES, Files, again

GOLDEN = json.loads((Path(__file__).parents[1] / "vectors" / "artifacts.json").read_text())
KINDS = sorted(FILES)


def readable(files: Files) -> dict[str, str]:
    """JSON files as text, others in hex."""
    return {name: data.decode() if name.endswith(".json") else data.hex() for name, data in sorted(files.items())}


def holds_or_refuses(kind: str, files: Files) -> None:
    """The one law of decoding strange bytes."""
    try:
        found = again(kind)(files)
    except ArtifactRefused:
        return
    assert dict(found) == dict(files)


@pytest.mark.parametrize("kind", KINDS)
def test_golden_bytes(kind: str) -> None:
    assert readable(FILES[kind]) == GOLDEN[kind]["files"]
    assert str(directory_cid(directory_digest(FILES[kind]))) == GOLDEN[kind]["cid"]


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(kind: str) -> None:
    assert again(kind)(FILES[kind]) == FILES[kind]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80, 0xFF])
def test_any_flipped_byte_is_refused_or_is_another_artifact(kind: str, mask: int) -> None:
    for name, data in FILES[kind].items():
        for position in range(len(data)):
            damaged = bytearray(data)
            damaged[position] ^= mask
            holds_or_refuses(kind, {**FILES[kind], name: bytes(damaged)})


@pytest.mark.parametrize("kind", KINDS)
def test_every_truncation_and_every_extension_is_refused(kind: str) -> None:
    for name, data in FILES[kind].items():
        if name == "architecture.json":  # opaque: any bytes are its content
            continue
        for damaged in [*(data[:length] for length in range(len(data))), data + b" ", data + b"\0", b" " + data]:
            with pytest.raises(ArtifactRefused):
                again(kind)({**FILES[kind], name: damaged})


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_or_an_unknown_file_is_refused(kind: str) -> None:
    for name in FILES[kind]:
        with pytest.raises(ArtifactRefused):
            again(kind)({other: data for other, data in FILES[kind].items() if other != name})
    with pytest.raises(ArtifactRefused):
        again(kind)({**FILES[kind], "mallory.txt": b""})


@given(st.sampled_from(KINDS), st.data())
def test_swapped_ranges_never_raise_a_foreign_exception(kind: str, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(FILES[kind])))
    content = FILES[kind][name]
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    damaged = content[:start] + data.draw(st.binary(max_size=40)) + content[end:]
    holds_or_refuses(kind, {**FILES[kind], name: damaged})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 60), 1 << 60) | st.text(max_size=8) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(KINDS), st.data())
def test_a_json_field_of_any_other_value_never_raises_a_foreign_exception(kind: str, data: st.DataObject) -> None:
    name = data.draw(
        st.sampled_from(sorted(f for f in FILES[kind] if f.endswith(".json") and f != "architecture.json"))
    )
    value = json.loads(FILES[kind][name])
    holder = value
    while True:
        key = data.draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
        if not holder[key] or not isinstance(holder[key], dict | list) or data.draw(st.booleans()):
            break
        holder = holder[key]
    holder[key] = data.draw(json_values)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    holds_or_refuses(kind, {**FILES[kind], name: text.encode("utf-8", "surrogatepass")})


def test_refusals_are_our_own_errors() -> None:
    assert issubclass(ArtifactRefused, RondoError)
