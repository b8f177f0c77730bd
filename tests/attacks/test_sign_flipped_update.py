"""Attack: mallory and her friends train honestly and post the opposite, as long as anybody's change: no norm gives them away.

Verdict: accepted and paid. The plain mean goes two steps back for every one of them; medians and trimmed means stay between
honest changes, and Krum, multi-Krum and Bulyan leave them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.attacks.crowd import RULES, SELECTING, crowd, is_between, moved, progress, scaled
from tests.attacks.verdicts import verdict_of

HOSTILE = ["mallory", "eve", "trudy"]


@pytest.mark.parametrize(("rule", "terms", "bears"), RULES)
def test_every_weight_still_goes_the_honest_way(rule: str, terms: Mapping[str, Any], bears: int) -> None:
    ring, honest = crowd(rule, terms)
    for name in HOSTILE[:bears]:
        ring.post(name, scaled(ring, name, -1))

    derivation = ring.derive()

    assert is_between(ring, moved(ring, derivation), honest)
    assert progress(ring, derivation, honest) > 0.75
    for name in HOSTILE[:bears]:
        assert verdict_of(derivation, name).verdict == "accepted"
        assert (verdict_of(derivation, name).weight == 0) == (rule in SELECTING)


@pytest.mark.parametrize("bound", ["none", "median"])
def test_the_mean_goes_back_for_each_of_them_bounded_or_not(bound: str) -> None:
    ring, honest = crowd("fedavg", {"bound": bound})
    for name in HOSTILE:
        ring.post(name, scaled(ring, name, -1))

    assert 0.3 < progress(ring, ring.derive(), honest) < 0.5  # (7 - 3) / 10


@pytest.mark.parametrize("rule", ["krum", "multi-krum", "median"])
def test_a_majority_of_them_wins(rule: str) -> None:
    """What no rule can bear: of more hostile updates than honest ones the rules keep to the hostile."""
    terms = {} if rule == "median" else {"byzantine": 6}
    ring, honest = crowd(rule, terms)
    for k in range(9):
        ring.post(f"sock puppet {k}", scaled(ring, f"sock puppet {k}", -1))

    assert progress(ring, ring.derive(), honest) < -0.75
