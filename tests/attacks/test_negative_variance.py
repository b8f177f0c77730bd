"""Attack: mallory drives a batch norm's variance below zero, after which the model computes the root of a negative number.

Verdict: refused as ``negative-statistic``. An update that brings it to exactly zero is accepted.
"""

from __future__ import annotations

import numpy as np

from tests.attacks.verdicts import assert_refused, verdict_of
from tests.processor.factory import VARIANCE, TinyRound, tiny_model


def lowered(ring: TinyRound, name: str, by: int) -> None:
    update = ring.update(name)
    delta = (-ring.base.mantissas[VARIANCE] - by).astype(np.int16)
    exponents = {**update.exponents, VARIANCE: -16}
    ring.post(name, ring.update(name, deltas={**update.deltas, VARIANCE: delta}, exponents=exponents))


def test_a_variance_below_zero() -> None:
    ring = TinyRound(base=tiny_model(span=1000)).post_all(["alice", "bob"])
    lowered(ring, "mallory", by=1)

    assert_refused(ring, "negative-statistic")


def test_a_variance_of_zero() -> None:
    ring = TinyRound(base=tiny_model(span=1000))
    lowered(ring, "alice", by=0)

    derivation = ring.derive()

    assert verdict_of(derivation, "alice").verdict == "accepted"
    assert derivation.model is not None
    assert not derivation.model.mantissas[VARIANCE].any()
