"""Attack: mallory scales her delta up beyond the window of its dtype, to outweigh everybody or overflow the sum.

Verdict: refused as ``outside-window``, alone: the others' merge stands. At the window's edge she is accepted.
"""

from __future__ import annotations

import numpy as np
import pytest

from protocol.task import DeltaType
from protocol.update import encode_update
from tests.attacks.verdicts import assert_refused, verdict_of
from tests.processor.factory import BIAS, KERNEL, TinyRound, tiny_task, with_json


@pytest.mark.parametrize(("delta_type", "beyond"), [("int8", 16), ("int16", 8), ("int32", 1)])
def test_exponents_above_and_below_the_window(delta_type: DeltaType, beyond: int) -> None:
    for shift in (beyond, -1):
        ring = TinyRound(task=tiny_task(delta_type=delta_type)).post_all(["alice", "bob"])
        update = ring.update("mallory")
        ring.post("mallory", ring.update("mallory", exponents={**update.exponents, KERNEL: -20 + shift}))

        assert_refused(ring, "outside-window")


@pytest.mark.parametrize("exponent", [2**53 - 1, 1 - 2**53, 10**6])
def test_absurd_exponents(exponent: int) -> None:
    ring = TinyRound().post_all(["alice", "bob"])
    update = ring.update("mallory")
    ring.post("mallory", with_json(encode_update(update), exponents={**update.exponents, KERNEL: exponent}))

    derivation = ring.derive()

    assert verdict_of(derivation, "mallory").rule in {"outside-window", "wrong-field"}
    assert derivation.derived.merged == 2


@pytest.mark.parametrize(("delta_type", "least"), [("int8", -128), ("int16", -(2**15)), ("int32", -(2**22))])
def test_mantissas_beyond_the_symmetric_range(delta_type: DeltaType, least: int) -> None:
    ring = TinyRound(task=tiny_task(delta_type=delta_type)).post_all(["alice", "bob"])
    update = ring.update("mallory")
    deltas = {**update.deltas, BIAS: np.full(3, least, dtype=delta_type)}
    ring.post("mallory", ring.update("mallory", deltas=deltas))

    assert_refused(ring, "outside-window")


@pytest.mark.parametrize(("delta_type", "widest"), [("int8", 15), ("int16", 7), ("int32", 0)])
def test_the_edge_is_inside(delta_type: DeltaType, widest: int) -> None:
    ring = TinyRound(task=tiny_task(delta_type=delta_type))
    update = ring.update("alice")
    ring.post("alice", ring.update("alice", exponents={**update.exponents, KERNEL: -20 + widest}))

    assert verdict_of(ring.derive(), "alice").verdict == "accepted"
