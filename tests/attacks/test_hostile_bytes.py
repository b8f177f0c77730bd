"""Attack: mallory publishes arbitrary bytes: truncated, flipped, empty, foreign files; hoping that the processor crashes.

Verdict: every one is a named refusal or, where the bytes still are a canonical update, a verdict like any other; the
round is always derived and the honest updates are merged. Missing bytes are no verdict at all: the caller decides.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import BlockMissing
from protocol.types import Digest
from protocol.update import encode_update
from tests.attacks.verdicts import assert_as_if_absent, assert_refused, verdict_of
from tests.processor.factory import TinyRound, tiny_terms, with_json

FILES = ["update.json", "delta.safetensors", "importance.safetensors"]


def judge(files: Mapping[str, bytes]) -> None:
    ring = TinyRound(terms=tiny_terms(consolidate=True)).post_all(["alice", "bob"])
    ring.post("mallory", files)

    derivation = ring.derive()

    if verdict_of(derivation, "mallory").verdict == "refused":
        assert_as_if_absent(ring, derivation, "mallory")
    assert all(verdict_of(derivation, name).verdict == "accepted" for name in ("alice", "bob"))


def honest_files() -> dict[str, bytes]:
    return encode_update(TinyRound(terms=tiny_terms(consolidate=True)).update("mallory"))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FILES), st.binary(max_size=300))
def test_random_files(file: str, data: bytes) -> None:
    judge({**honest_files(), file: data})


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FILES), st.data())
def test_flipped_inserted_and_removed_bytes(file: str, data: st.DataObject) -> None:
    files = honest_files()
    content = bytearray(files[file])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    judge({**files, file: bytes(content)})


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(1 - 2**53, 2**53 - 1) | st.text("abc019/.-x", max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(
        ["author", "base", "examples", "exponents", "federation", "importance_exponents", "round", "software", "steps"]
    ),
    JSON_VALUES,
)
def test_fields_of_any_type(field: str, value: object) -> None:
    judge(with_json(honest_files(), **{field: value}))


@pytest.mark.parametrize("names", [[], FILES[:1], FILES[1:], [*FILES, "mine.txt"]])
def test_other_files(names: list[str]) -> None:
    files = {name: honest_files().get(name, b"!") for name in names}
    ring = TinyRound(terms=tiny_terms(consolidate=True)).post_all(["alice", "bob"])
    ring.post("mallory", files)

    assert_refused(ring, "wrong-files")


def test_missing_bytes_are_no_verdict() -> None:
    ring = TinyRound().post_all(["alice", "bob"])
    ring.post("mallory", Digest(b"\x05" * 32))

    with pytest.raises(BlockMissing):
        ring.derive()

    absent = ring.derive(unavailable=["mallory"])
    assert verdict_of(absent, "mallory").verdict == "unavailable"
    assert_as_if_absent(ring, absent, "mallory")
