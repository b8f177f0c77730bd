"""Reports: form is checked, truth is not, so that a wrong report still reaches an auditor's comparison."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import report
from protocol.bounds import MAX_REPORTED
from protocol.errors import ArtifactRefused, NotCanonical, WrongField, WrongFiles
from protocol.report import (
    MAX_AGREEMENT,
    MAX_DERIVED_BYTES,
    MAX_MILLIS,
    Outcome,
    Statement,
    UpdateVerdict,
    decode_derived,
    decode_report,
    derived_hash,
    encode_derived,
    encode_report,
)
from protocol.types import Digest, address
from tests.protocol.samples import ALICE, BASE, DERIVED, FILES, STATEMENT

FILES_ = FILES["report"]
DERIVED_FILE, STATEMENT_FILE = report.DERIVED, report.STATEMENT


def with_text(old: str, new: str, name: str = DERIVED_FILE) -> dict[str, bytes]:
    """The report's files with ``old`` replaced in one of them."""
    assert old.encode() in FILES_[name]
    return {**FILES_, name: FILES_[name].replace(old.encode(), new.encode(), 1)}


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: {}, WrongFiles),
        (lambda: {DERIVED_FILE: FILES_[DERIVED_FILE]}, WrongFiles),
        (lambda: {**FILES_, "notes.txt": b""}, WrongFiles),
        (lambda: with_text('"version":2', '"version":1'), WrongField),
        (lambda: with_text('"outcome":"merged"', '"outcome":"kept"'), WrongField),
        (lambda: with_text('"outcome":"merged",', ""), WrongField),
        (lambda: with_text('"stated":false', '"stated":0'), WrongField),
        (lambda: with_text('"agreement":-707', '"agreement":-1001'), WrongField),
        (lambda: with_text('"agreement":-707', '"agreement":1001'), WrongField),
        (lambda: with_text('"agreement":-707', '"agreement":-0.707'), NotCanonical),
        (lambda: with_text('"merged":1', '"merged":-1'), WrongField),
        (lambda: with_text('"merged":1', '"merged":1.5'), NotCanonical),
        (lambda: with_text('"consolidated":false', '"consolidated":0'), WrongField),
        (lambda: with_text('"verdict":"accepted"', '"verdict":"fine"'), WrongField),
        (lambda: with_text('"rule":"fedavg"', '"rule":"Fed Avg"'), WrongField),
        (lambda: with_text('"reward":"0"', '"reward":0'), WrongField),
        (lambda: with_text('"reward":"0"', '"reward":"00"'), WrongField),
        (lambda: with_text('"millis":90', f'"millis":{1 << 40}'), WrongField),
        (lambda: with_text('"rewards_total":"7', '"rewards_total":"-7'), WrongField),
        (lambda: with_text(ALICE, ALICE.lower()), WrongField),
        (lambda: with_text("[91,100]", "[101,100]", STATEMENT_FILE), WrongField),
        (lambda: with_text("[91,100]", "[0,0]", STATEMENT_FILE), WrongField),
        (lambda: with_text("[91,100]", "[91]", STATEMENT_FILE), WrongField),
        (lambda: with_text("[91,100]", "[91,100,1]", STATEMENT_FILE), WrongField),
        (lambda: with_text("accuracy", "a\u0301", STATEMENT_FILE), NotCanonical),
        (lambda: with_text("rondo 0.1.0", "x" * 201, STATEMENT_FILE), WrongField),
    ],
)
def test_decoding_refuses(make: Callable[[], Mapping[str, bytes]], error: type[ArtifactRefused]) -> None:
    with pytest.raises(error) as refused:
        decode_report(make())
    assert type(refused.value) is error


@pytest.mark.parametrize(
    "changes",
    [
        {"merged": -1},
        {"rule": "Fed Avg"},
        {"rewards_total": 1 << 96},
        {"round": b"short"},
        {"saturated": 1 << 53},
        {"outcome": ""},
        {"stated": None},
        {"updates": (replace(DERIVED.updates[0], agreement=1001),)},
    ],
)
def test_encoding_refuses(changes: dict[str, Any]) -> None:
    with pytest.raises(ArtifactRefused):
        encode_derived(replace(DERIVED, **changes))


@pytest.mark.parametrize("metrics", [{"a": (2, 1)}, {"a": (-1, 1)}, {"a": (0, 0)}, {"a" * 65: (0, 1)}, {"a\n": (0, 1)}])
def test_encoding_refuses_metrics(metrics: dict[str, tuple[int, int]]) -> None:
    with pytest.raises(ArtifactRefused):
        encode_report(DERIVED, Statement(metrics, ""))


def test_a_wrong_report_is_still_read() -> None:
    wrong = replace(DERIVED, rewards_total=1, merged=2, updates=DERIVED.updates[1:] * 2)
    assert decode_report(encode_report(wrong, STATEMENT))[0] == wrong


def test_round_trip() -> None:
    assert decode_report(FILES_) == (DERIVED, STATEMENT)
    assert decode_derived(encode_derived(DERIVED)) == DERIVED


def test_the_hash_is_the_sha256_of_the_file_and_no_statement_moves_it() -> None:
    assert derived_hash(DERIVED) == hashlib.sha256(FILES_[DERIVED_FILE]).digest()
    assert encode_report(DERIVED, Statement({}, ""))[DERIVED_FILE] == FILES_[DERIVED_FILE]


def test_the_longest_verdicts_of_a_full_round_can_be_read() -> None:
    count, amount = (1 << 53) - 1, (1 << 96) - 1
    longest = UpdateVerdict(
        ALICE, BASE, MAX_MILLIS, "unavailable", "x" * 64, count, count, count, -MAX_AGREEMENT, MAX_MILLIS, amount
    )
    one, two = (len(encode_derived(replace(DERIVED, updates=(longest,) * many))) for many in (1, 2))
    assert one + (two - one) * MAX_REPORTED < MAX_DERIVED_BYTES


addresses = st.binary(min_size=20, max_size=20).map(lambda raw: address("0x" + raw.hex()))
verdicts = st.builds(
    UpdateVerdict,
    client=addresses,
    digest=st.binary(min_size=32, max_size=32).map(Digest),
    millis=st.integers(0, (1 << 40) - 1),
    verdict=st.sampled_from(["accepted", "refused", "unavailable"]),
    rule=st.sampled_from(["", "foreign-base", "too-large"]),
    examples=st.integers(0, 2**53 - 1),
    steps=st.integers(0, 2**53 - 1),
    weight=st.integers(0, 2**53 - 1),
    agreement=st.integers(-1000, 1000),
    credit_millis=st.integers(0, (1 << 40) - 1),
    reward=st.integers(0, 2**96 - 1),
)


@given(
    st.lists(verdicts, max_size=3),
    st.sampled_from(get_args(Outcome)),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**53 - 1),
    st.integers(0, 2**96 - 1),
)
def test_any_report_round_trips(
    updates: list[UpdateVerdict], outcome: Outcome, stated: bool, consolidated: bool, saturated: int, total: int
) -> None:
    derived = replace(
        DERIVED,
        updates=tuple(updates),
        outcome=outcome,
        stated=stated,
        consolidated=consolidated,
        saturated=saturated,
        rewards_total=total,
    )
    assert decode_derived(encode_derived(derived)) == derived
