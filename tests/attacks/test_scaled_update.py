"""Attack: mallory and her friends post a thousand times what training gave them, to make the model theirs.

Verdict: accepted and paid, since size alone proves nothing; what it does is the rule's to bound. The plain mean does follow
them. Medians and trimmed means keep every weight between two honest changes; Krum, multi-Krum and Bulyan leave them out
(weight 0); norm bounding makes them no longer than the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import pytest

from tests.attacks.crowd import RULES, SELECTING, crowd, is_between, length, moved, progress, scaled, wanted
from tests.attacks.verdicts import verdict_of

HOSTILE = ["mallory", "eve", "trudy"]


@pytest.mark.parametrize(("rule", "terms", "bears"), RULES)
@pytest.mark.parametrize("factor", [1000, -1000])
def test_no_weight_moves_beyond_what_the_honest_want(
    rule: str, terms: Mapping[str, Any], bears: int, factor: int
) -> None:
    ring, honest = crowd(rule, terms)
    for name in HOSTILE[:bears]:
        ring.post(name, scaled(ring, name, factor))

    derivation = ring.derive()

    assert is_between(ring, moved(ring, derivation), honest)
    for name in HOSTILE[:bears]:
        verdict = verdict_of(derivation, name)
        assert verdict.verdict == "accepted"
        assert (verdict.weight == 0) == (rule in SELECTING)
        assert verdict.credit_millis == verdict_of(derivation, "alice").credit_millis > 0  # selection never changes pay


def test_multi_krum_merges_as_if_she_had_stayed_away() -> None:
    ring, _ = crowd("multi-krum", {"byzantine": 1, "keep": 6})
    alone = ring.derive()
    ring.post("mallory", scaled(ring, "mallory", 1000))

    assert ring.derive().derived.model == alone.derived.model != ring.base_digest


def test_the_plain_mean_follows_her() -> None:
    ring, honest = crowd("fedavg", {})
    ring.post("mallory", scaled(ring, "mallory", 1000))

    move = moved(ring, ring.derive())

    assert not is_between(ring, move, honest)
    assert length(ring, move) > 100 * max(length(ring, wanted(ring, update)) for update in honest)


@pytest.mark.parametrize("bound", ["median", "fixed"])
def test_bounding_makes_her_no_longer_than_the_others(bound: str) -> None:
    plain, honest = crowd("fedavg", {})
    most = max(length(plain, wanted(plain, update)) for update in honest)
    norm = {"bound_norm": Fraction(most)} if bound == "fixed" else {}
    ring, honest = crowd("fedavg", {"bound": bound, **norm})
    ring.post("mallory", scaled(ring, "mallory", -1000))

    derivation = ring.derive()

    assert verdict_of(derivation, "mallory").weight == verdict_of(derivation, "alice").weight > 0
    assert length(ring, moved(ring, derivation)) <= most
    assert 0.6 < progress(ring, derivation, honest) < 0.9  # seven forward and one back, of equal length: 3/4
