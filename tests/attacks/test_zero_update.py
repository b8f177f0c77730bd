"""Attack: mallory trains nothing and posts zeros, to be paid for no work and to hold the model back.

Verdict: accepted, since a change of zero can be honest (a model that has converged), and paid for her recorded time up to
the plan, like anybody: credit says what was asked for, not what was done. On each choice of exponents only one can do so a
round: equal deltas are refused (``duplicate-delta``). The merge stays between zero and the honest, and bounding divides by no zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from protocol.specs import merged_specs
from protocol.update import Update
from tests.attacks.crowd import RULES, SELECTING, crowd, is_between, moved, progress
from tests.attacks.verdicts import assert_refused, verdict_of
from tests.processor.factory import TinyRound


def zeros(ring: TinyRound, name: str, shift: int = 0) -> Update:
    """A change of nothing, statistics included, on exponents ``shift`` above the base's grids."""
    return ring.update(
        name,
        deltas={spec.name: np.zeros(spec.shape, np.int16) for spec in merged_specs(ring.base.specs)},
        exponents={spec.name: spec.grid + shift for spec in merged_specs(ring.base.specs)},
    )


@pytest.mark.parametrize(("rule", "terms", "bears"), RULES)
def test_every_weight_still_goes_the_honest_way(rule: str, terms: Mapping[str, Any], bears: int) -> None:
    ring, honest = crowd(rule, terms)
    hostile = ["mallory", "eve", "trudy"][:bears]
    for shift, name in enumerate(hostile):
        ring.post(name, zeros(ring, name, shift))

    derivation = ring.derive()

    assert [verdict_of(derivation, name).verdict for name in hostile] == ["accepted"] * bears
    assert is_between(ring, moved(ring, derivation), honest)
    assert progress(ring, derivation, honest) > 0.75
    assert all((verdict_of(derivation, name).weight == 0) == (rule in SELECTING) for name in hostile)


@pytest.mark.parametrize("bound", ["none", "median"])
def test_the_mean_loses_her_share_and_no_more(bound: str) -> None:
    ring, honest = crowd("fedavg", {"bound": bound})
    ring.post("mallory", zeros(ring, "mallory"))

    assert 0.8 < progress(ring, ring.derive(), honest) < 0.9  # 7/8


def test_a_round_of_nothing_but_zeros_changes_nothing() -> None:
    for rule, terms in [("fedavg", {"bound": "median"}), ("median", {}), ("krum", {"byzantine": 0})]:
        ring, _ = crowd(rule, terms)
        ring.updates.clear()
        for shift, name in enumerate(["mallory", "eve", "trudy"]):
            ring.post(name, zeros(ring, name, shift))

        derivation = ring.derive()

        assert derivation.derived.outcome == "merged"
        assert all(not steps.any() for steps in moved(ring, derivation).values())


def test_the_same_zeros_again_are_refused() -> None:
    ring, _ = crowd("median", {})
    ring.post("eve", zeros(ring, "eve"))
    ring.post("mallory", zeros(ring, "mallory"))

    assert_refused(ring, "duplicate-delta")
