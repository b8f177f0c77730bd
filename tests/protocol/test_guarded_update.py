"""Deltas that are checked when they are read: every mantissa outside the window is met by whoever reads it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from protocol.content import held
from protocol.errors import OutsideWindow
from protocol.tensors import Stored, read_span, read_span_into, whole
from protocol.update import WINDOW, check_update, decode_update, encode_update, guarded
from tests.protocol.samples import KERNEL, MODEL, update


def opened(delta_type: str, value: int) -> object:
    honest = update(delta_type)
    kernel = np.array([[0, 1], [value, 2]], delta_type)
    return decode_update(held(encode_update(replace(honest, deltas={**honest.deltas, KERNEL: kernel}))))


@pytest.mark.parametrize(("delta_type", "sign"), [("int8", -1), ("int16", -1), ("int32", 1), ("int32", -1)])
def test_a_mantissa_outside_is_refused_by_its_reader_alone(delta_type: str, sign: int) -> None:
    value = sign * (WINDOW[delta_type][1] + 1)  # no int8 and no int16 is above its window
    bad = opened(delta_type, value)
    check_update(bad, base=MODEL, delta_type=delta_type, importance=False, mantissas=False)  # type: ignore[arg-type]
    with pytest.raises(OutsideWindow):
        check_update(bad, base=MODEL, delta_type=delta_type, importance=False)  # type: ignore[arg-type]
    tensor = guarded(bad, "mallory's: ").deltas[KERNEL]  # type: ignore[arg-type]
    assert isinstance(tensor, Stored)
    assert list(read_span(tensor, 0, 2)) == [0, 1]
    for read in (
        lambda: read_span(tensor, 2, 3),
        lambda: read_span_into(tensor, 1, np.empty(3, tensor.dtype)),
        lambda: whole(tensor),
    ):
        with pytest.raises(OutsideWindow, match=f"mallory's: The change of {KERNEL}"):
            read()


@pytest.mark.parametrize("delta_type", ["int8", "int16", "int32"])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_widest_mantissas_are_read_as_they_are(delta_type: str, sign: int) -> None:
    honest = opened(delta_type, sign * WINDOW[delta_type][1])
    tensor = guarded(honest, "").deltas[KERNEL]  # type: ignore[arg-type]
    np.testing.assert_array_equal(whole(tensor), whole(honest.deltas[KERNEL]))  # type: ignore[attr-defined]
