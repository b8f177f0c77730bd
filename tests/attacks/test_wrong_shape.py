"""Attack: mallory posts tensors that are not the model's: another shape, name or dtype, one more, one fewer.

Verdict: refused as ``wrong-tensor``; nothing is broadcast, cast, skipped or filled in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from protocol.update import encode_update
from tests.attacks.verdicts import assert_refused
from tests.processor.factory import BIAS, COUNT, KERNEL, TinyRound

Deltas = dict[str, Any]


def broadcastable(deltas: Deltas) -> Deltas:
    return {**deltas, KERNEL: deltas[KERNEL][:1]}


def transposed(deltas: Deltas) -> Deltas:
    return {**deltas, KERNEL: deltas[KERNEL].T.copy()}


def scalar(deltas: Deltas) -> Deltas:
    return {**deltas, BIAS: np.array(1, dtype=np.int16)}


def missing(deltas: Deltas) -> Deltas:
    return {name: delta for name, delta in deltas.items() if name != BIAS}


def extra(deltas: Deltas) -> Deltas:
    return {**deltas, "00099.mine": deltas[BIAS]}


def constant(deltas: Deltas) -> Deltas:
    return {**deltas, COUNT: np.ones(2, dtype=np.int16)}


def wider(deltas: Deltas) -> Deltas:
    return {**deltas, BIAS: deltas[BIAS].astype(np.int32)}


def unsigned(deltas: Deltas) -> Deltas:
    return {**deltas, BIAS: deltas[BIAS].astype(np.uint16)}


@pytest.mark.parametrize("distort", [broadcastable, transposed, scalar, missing, extra, constant, wider, unsigned])
def test_other_tensors_than_the_models(distort: Callable[[Deltas], Deltas]) -> None:
    ring = TinyRound().post_all(["alice", "bob"])
    update = ring.update("mallory")
    deltas = distort(dict(update.deltas))
    exponents = {name: update.exponents.get(name, 0) for name in deltas}
    ring.post("mallory", encode_update(ring.update("mallory", deltas=deltas, exponents=exponents)))

    assert_refused(ring, "wrong-tensor")
