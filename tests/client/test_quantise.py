"""From float32 to an update's integers: everything sent or left over is accounted for, to the grid step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from client.quantise import quantise, quantise_importance
from protocol.errors import NotFinite
from protocol.model import Model, TensorClass, TensorSpec
from protocol.types import Address, Digest, FederationId, RoundId
from protocol.update import WINDOW, Update, check_update

E = -12
DTYPES = st.sampled_from(["int8", "int16", "int32"])
MANTISSAS = arrays.arrays(np.int32, 7, elements=st.integers(-(2**24 - 1), 2**24 - 1))


def model(mantissas: Any, kind: TensorClass = TensorClass.TRAINABLE, non_negative: bool = False) -> Model:
    values = np.asarray(mantissas, np.int32)
    spec = TensorSpec("00000.w", values.shape, kind, E, non_negative=non_negative)
    return Model(b"{}", 0, (), (spec,), {spec.name: values})


def weights(mantissas: Any) -> dict[str, Any]:
    return {"00000.w": (np.asarray(mantissas, np.float64) * 2.0**E).astype(np.float32)}


def update_of(quantised: Any) -> Update:
    ids = FederationId(b"\1" * 32), RoundId(b"\2" * 32), Address("0x" + "1" * 40), Digest(b"\3" * 32)
    return Update(*ids, 1, 1, "", quantised.exponents, quantised.deltas)


# --- refusals ---


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_diverged_weights_are_refused(bad: float) -> None:
    with pytest.raises(NotFinite, match=r"00000\.w"):
        quantise(model([0, 0]), {"00000.w": np.array([0, bad], np.float32)}, "int16")
    with pytest.raises(NotFinite):
        quantise_importance(np.array([1, bad], np.float32))


# --- deltas ---


@given(MANTISSAS, MANTISSAS, DTYPES, st.none() | arrays.arrays(np.int64, 7, elements=st.integers(-32767, 32767)))
def test_what_is_sent_and_what_is_left_add_up(old: Any, new: Any, delta_type: Any, residual: Any) -> None:
    base = model(old)
    kept = None if residual is None else {"00000.w": residual}
    quantised = quantise(base, weights(new), delta_type, kept)
    shift = quantised.exponents["00000.w"] - E
    sent = quantised.deltas["00000.w"].astype(np.int64) << shift
    wanted = new.astype(np.int64) - old + (0 if residual is None else residual)
    assert np.array_equal(sent + quantised.residual["00000.w"], wanted)
    check_update(update_of(quantised), base=base, delta_type=delta_type, importance=False)
    if quantised.clipped == 0:
        assert np.abs(quantised.residual["00000.w"]).max() <= (1 << shift) // 2
    widest, limit = WINDOW[delta_type]
    if 0 < shift <= widest:  # no smaller shift would have held it
        assert np.abs(np.rint(wanted / 2 ** (shift - 1))).max() > limit


@pytest.mark.parametrize(
    ("change", "delta_type", "shift", "delta", "clipped"),
    [
        (127, "int8", 0, 127, 0),
        (128, "int8", 1, 64, 0),
        (255, "int8", 2, 64, 0),  # 255 / 2 = 127.5 rounds to 128, which int8's window does not hold
        (127 << 15, "int8", 15, 127, 0),
        (1 << 23, "int8", 15, 127, 1),
        (32767, "int16", 0, 32767, 0),
        (-32767, "int16", 0, -32767, 0),
        (32768, "int16", 1, 16384, 0),
        (1 << 23, "int16", 7, 32767, 1),
        ((1 << 22) - 1, "int32", 0, (1 << 22) - 1, 0),
        (1 << 22, "int32", 0, (1 << 22) - 1, 1),
    ],
)
def test_the_smallest_exponent_that_holds_the_change(
    change: int, delta_type: Any, shift: int, delta: int, clipped: int
) -> None:
    quantised = quantise(model([0]), weights([change]), delta_type)
    assert quantised.exponents["00000.w"] == E + shift
    assert quantised.deltas["00000.w"].tolist() == [delta]
    assert quantised.deltas["00000.w"].dtype == np.dtype(delta_type)
    assert quantised.clipped == clipped


def test_weights_beyond_the_grid_are_clipped_and_counted() -> None:
    quantised = quantise(model([2**24 - 1, 0]), {"00000.w": np.array([3e38, 0], np.float32)}, "int16")
    assert quantised.deltas["00000.w"].tolist() == [0, 0]
    assert quantised.clipped == 1


@given(MANTISSAS, MANTISSAS, DTYPES)
def test_a_non_negative_statistic_stays_so(old: Any, new: Any, delta_type: Any) -> None:
    base = model(np.abs(old), TensorClass.STATISTIC, non_negative=True)
    quantised = quantise(base, weights(np.abs(new)), delta_type)
    check_update(update_of(quantised), base=base, delta_type=delta_type, importance=False)


def test_statistics_neither_leave_nor_take_a_residual() -> None:
    base = model([0], TensorClass.STATISTIC)
    quantised = quantise(base, weights([1000]), "int8", {})
    assert dict(quantised.residual) == {}


def test_constants_are_passed_over() -> None:
    base = model([0])
    constant = TensorSpec("00001.c", (1,), TensorClass.CONSTANT, None, "int64")
    base = replace(base, specs=(*base.specs, constant), constants={"00001.c": np.array([5])})
    assert list(quantise(base, weights([1]), "int16").deltas) == ["00000.w"]


# --- importance ---


@given(arrays.arrays(np.float32, 5, elements=st.floats(0, 2.0**60, width=32)))
def test_importance_keeps_its_largest_to_eight_bits(values: Any) -> None:
    quantised, exponent = quantise_importance(values)
    assert quantised.dtype == np.uint8
    restored = quantised.astype(np.float64) * 2.0**exponent
    assert np.abs(restored - values).max() <= 2.0**exponent / 2
    if values.max() > 2.0**-100:
        assert quantised.max() >= 128


def test_no_importance_is_zero_on_exponent_zero() -> None:
    quantised, exponent = quantise_importance(np.zeros((2, 2), np.float32))
    assert (quantised.any(), exponent) == (False, 0)
