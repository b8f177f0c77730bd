"""Updates: everything a stranger could send is either an update that fits its base, or refused by a rule's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from protocol import tensors
from protocol.errors import (
    ArtifactRefused,
    EmptyImportance,
    InvalidInput,
    NegativeStatistic,
    NotCanonical,
    OutsideWindow,
    TooLarge,
    UnexpectedImportance,
    WrongField,
    WrongFiles,
    WrongTensor,
)
from protocol.types import Digest
from protocol.update import DELTA, IMPORTANCE, MANIFEST, WINDOW, Update, check_update, decode_update, encode_update
from tests.protocol.samples import CONSOLIDATING, FILES, KERNEL, MODEL, SEED, VARIANCE, update

PLAIN, FULL = FILES["int16 update"], FILES["consolidating update"]
DELTA_TYPES = sorted(WINDOW)


def with_text(old: str, new: str, files: Mapping[str, bytes] = PLAIN) -> dict[str, bytes]:
    """The update's files with ``old`` replaced in update.json."""
    assert old.encode() in files[MANIFEST]
    return {**files, MANIFEST: files[MANIFEST].replace(old.encode(), new.encode(), 1)}


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: {}, WrongFiles),
        (lambda: {DELTA: PLAIN[DELTA]}, WrongFiles),
        (lambda: {**PLAIN, "weights.safetensors": PLAIN[DELTA]}, WrongFiles),
        (lambda: {**PLAIN, MANIFEST: b" " * (5 * 1024 * 1024)}, TooLarge),
        (lambda: {**PLAIN, MANIFEST: PLAIN[MANIFEST] + b"\n"}, NotCanonical),
        (lambda: {**PLAIN, DELTA: PLAIN[DELTA] + b"\0"}, NotCanonical),
        (lambda: {**PLAIN, IMPORTANCE: FULL[IMPORTANCE]}, WrongField),
        (lambda: {**PLAIN, MANIFEST: FULL[MANIFEST]}, WrongField),
        (lambda: {**FULL, IMPORTANCE: tensors.dumps({VARIANCE: np.ones(3, np.uint8)})}, WrongTensor),
        (lambda: with_text("0xA1A1a1a1A1A1A1A1A1a1a1a1a1a1A1A1a1A1a1a1", "0x" + "a1" * 20), WrongField),
        (lambda: with_text('"base":"bafybei', '"base":"bafkrei'), WrongField),
        (lambda: with_text('"examples":320', '"examples":0'), WrongField),
        (lambda: with_text('"examples":320', '"examples":true'), WrongField),
        (lambda: with_text('"examples":320', '"examples":320.0'), NotCanonical),
        (lambda: with_text('"examples":320', '"examples":' + "9" * 5000), NotCanonical),
        (lambda: with_text('"steps":50', '"steps":0'), WrongField),
        (lambda: with_text('"steps":50,', ""), WrongField),
        (lambda: with_text('"steps":50', '"speed":9,"steps":50'), WrongField),
        (lambda: with_text('"version":1', '"version":0'), WrongField),
        (lambda: with_text("rondo 0.1.0", "x" * 201), WrongField),
        (lambda: with_text("rondo 0.1.0", "röndo"), WrongField),
        (lambda: with_text('kernel":-13', 'kernel":1024'), WrongField),
        (lambda: with_text('kernel":-13', 'kernel":-1023'), WrongField),
        (lambda: with_text('kernel":-13', 'kernels":-13'), WrongTensor),
        (lambda: with_text('"00000.dense/kernel":-13,', ""), WrongTensor),
        (lambda: with_text('kernel":-9', 'kernel":-1023', FULL), WrongField),
        (lambda: with_text('{"00000.dense/kernel":-9}', "null", FULL), WrongField),
        (lambda: with_text('{"00000.dense/kernel":-9}', "{}", FULL), WrongTensor),
    ],
)
def test_decoding_refuses(make: Callable[[], Mapping[str, bytes]], error: type[ArtifactRefused]) -> None:
    with pytest.raises(error) as refused:
        decode_update(make())
    assert type(refused.value) is error


@pytest.mark.parametrize(
    "changes",
    [
        {"examples": 0},
        {"steps": 0},
        {"software": "\n"},
        {"federation": b"short"},
        {"author": "alice"},
        {"exponents": {KERNEL: -20}},
        {"exponents": {KERNEL: -20, VARIANCE: 5000}},
        {"importance": CONSOLIDATING.importance},
        {"importance_exponents": CONSOLIDATING.importance_exponents},
    ],
)
def test_encoding_refuses(changes: dict[str, Any]) -> None:
    with pytest.raises(ArtifactRefused):
        encode_update(replace(update("int16"), **changes))


def test_encoding_refuses_a_base_that_is_no_digest() -> None:
    with pytest.raises(InvalidInput):
        encode_update(replace(update("int16"), base=Digest(b"short")))


def changed(original: Update, name: str, **changes: Any) -> Update:
    """``original`` with one tensor's delta, exponent or importance replaced, or removed where None."""
    found: dict[str, Any] = {}
    for field, value in changes.items():
        mapping = {**(getattr(original, field) or {}), name: value}
        found[field] = {key: item for key, item in mapping.items() if item is not None}
    return replace(original, **found)


INT8, INT16, INT32 = (update(delta_type) for delta_type in ("int8", "int16", "int32"))


@pytest.mark.parametrize(
    ("bad", "delta_type", "importance", "error"),
    [
        (INT8, "int16", False, WrongTensor),
        (INT32, "int16", False, WrongTensor),
        (changed(INT16, KERNEL, deltas=None, exponents=None), "int16", False, WrongTensor),
        (changed(INT16, SEED, deltas=np.zeros(2, np.int16), exponents=0), "int16", False, WrongTensor),
        (changed(INT16, KERNEL, deltas=np.zeros(4, np.int16)), "int16", False, WrongTensor),
        (changed(INT16, KERNEL, deltas=np.zeros((2, 2), np.int8)), "int16", False, WrongTensor),
        (changed(INT16, KERNEL, deltas=np.zeros((2, 2), np.uint16)), "int16", False, WrongTensor),
        (changed(INT8, KERNEL, exponents=-21), "int8", False, OutsideWindow),
        (changed(INT8, KERNEL, exponents=-4), "int8", False, OutsideWindow),
        (changed(INT16, KERNEL, exponents=-12), "int16", False, OutsideWindow),
        (changed(INT32, KERNEL, exponents=-19), "int32", False, OutsideWindow),
        (changed(INT32, VARIANCE, exponents=-17), "int32", False, OutsideWindow),
        (changed(INT8, KERNEL, deltas=np.full((2, 2), -128, np.int8)), "int8", False, OutsideWindow),
        (changed(INT16, KERNEL, deltas=np.full((2, 2), -32768, np.int16)), "int16", False, OutsideWindow),
        (changed(INT32, KERNEL, deltas=np.full((2, 2), 1 << 22, np.int32)), "int32", False, OutsideWindow),
        (changed(INT32, KERNEL, deltas=np.full((2, 2), -(1 << 22), np.int32)), "int32", False, OutsideWindow),
        (changed(INT32, KERNEL, deltas=np.full((2, 2), -(1 << 31), np.int32)), "int32", False, OutsideWindow),
        (INT16, "int16", True, UnexpectedImportance),
        (CONSOLIDATING, "int16", False, UnexpectedImportance),
        (changed(CONSOLIDATING, KERNEL, importance=np.ones(4, np.uint8)), "int16", True, WrongTensor),
        (changed(CONSOLIDATING, KERNEL, importance=np.ones((2, 2), np.int8)), "int16", True, WrongTensor),
        (changed(CONSOLIDATING, VARIANCE, importance=np.ones(3, np.uint8)), "int16", True, WrongTensor),
        (changed(CONSOLIDATING, KERNEL, importance=None), "int16", True, WrongTensor),
        (changed(CONSOLIDATING, KERNEL, importance=np.zeros((2, 2), np.uint8)), "int16", True, EmptyImportance),
        (changed(INT16, VARIANCE, deltas=np.array([-1, 0, 0], np.int16)), "int16", False, NegativeStatistic),
        (changed(INT16, VARIANCE, deltas=np.array([0, 0, -8], np.int16)), "int16", False, NegativeStatistic),
        (
            changed(INT16, VARIANCE, deltas=np.array([0, 0, -1], np.int16), exponents=-13),
            "int16",
            False,
            NegativeStatistic,
        ),
    ],
)
def test_check_refuses(bad: Update, delta_type: str, importance: bool, error: type[ArtifactRefused]) -> None:
    with pytest.raises(error) as refused:
        check_update(bad, base=MODEL, delta_type=delta_type, importance=importance)
    assert type(refused.value) is error


@pytest.mark.parametrize("delta_type", DELTA_TYPES)
def test_the_edges_of_each_window_fit(delta_type: str) -> None:
    shift, limit = WINDOW[delta_type]
    deltas = {KERNEL: np.array([[limit, -limit], [0, 1]], delta_type), VARIANCE: np.array([limit, 0, 0], delta_type)}
    for above in {0, shift}:
        fitting = replace(update(delta_type, above), deltas=deltas)
        check_update(decode_update(encode_update(fitting)), base=MODEL, delta_type=delta_type, importance=False)


def test_a_statistic_may_fall_to_zero() -> None:
    falling = changed(INT16, VARIANCE, deltas=np.array([0, -32767, -7], np.int16))
    check_update(falling, base=MODEL, delta_type="int16", importance=False)


def test_importance_fits_a_consolidation_round() -> None:
    check_update(decode_update(FULL), base=MODEL, delta_type="int16", importance=True)


@pytest.mark.parametrize("delta_type", DELTA_TYPES)
def test_no_window_reaches_2_to_the_22(delta_type: str) -> None:
    """What the merge's overflow bound rests on (protocol.bounds.check_bounds)."""
    shift, limit = WINDOW[delta_type]
    assert limit << shift < 1 << 22
    assert limit <= np.iinfo(delta_type).max


def test_round_trip() -> None:
    found = decode_update(FULL)
    assert replace(found, deltas={}, importance=None) == replace(CONSOLIDATING, deltas={}, importance=None)
    assert found.importance is not None
    assert CONSOLIDATING.importance is not None
    for ours, theirs in ((found.deltas, CONSOLIDATING.deltas), (found.importance, CONSOLIDATING.importance)):
        assert ours.keys() == theirs.keys()
        for name, array in ours.items():
            assert array.dtype == theirs[name].dtype
            assert not array.flags.writeable
            np.testing.assert_array_equal(array, theirs[name])


@given(st.sampled_from(DELTA_TYPES), st.integers(-140, 140), st.data())
def test_check_takes_exactly_the_window(delta_type: str, exponent: int, data: st.DataObject) -> None:
    shift, limit = WINDOW[delta_type]
    top = np.iinfo(delta_type).max
    elements = st.sampled_from([-top - 1, -limit - 1, -limit, 0, limit, min(limit + 1, top), top])
    delta = data.draw(hnp.arrays(delta_type, (2, 2), elements=elements.filter(lambda value: -top - 1 <= value <= top)))
    exponent = data.draw(st.sampled_from([exponent, -21, -20, -20 + shift, -19 + shift]))
    candidate = changed(update(delta_type), KERNEL, deltas=delta, exponents=exponent)
    fits = 0 <= exponent + 20 <= shift and max(abs(int(value)) for value in delta.flat) <= limit
    if fits:
        check_update(candidate, base=MODEL, delta_type=delta_type, importance=False)
    else:
        with pytest.raises(OutsideWindow):
            check_update(candidate, base=MODEL, delta_type=delta_type, importance=False)


@given(st.sampled_from(["int8", "int16"]), st.integers(0, 7), st.data())
def test_check_takes_exactly_the_statistics_that_stay_non_negative(
    delta_type: str, shift: int, data: st.DataObject
) -> None:
    limit = WINDOW[delta_type][1]
    delta = data.draw(hnp.arrays(delta_type, 3, elements=st.integers(-limit, limit)))
    candidate = changed(update(delta_type, shift), VARIANCE, deltas=delta)
    exact = [int(q) + int(d) * 2**shift for q, d in zip(MODEL.mantissas[VARIANCE], delta, strict=True)]
    if min(exact) >= 0:
        check_update(candidate, base=MODEL, delta_type=delta_type, importance=False)
    else:
        with pytest.raises(NegativeStatistic):
            check_update(candidate, base=MODEL, delta_type=delta_type, importance=False)
