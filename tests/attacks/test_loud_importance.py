"""Attack: mallory declares her importance enormous, to brake every weight, or all of it on one weight, to freeze that one.

Verdict: accepted, and harmless: every client's importance is rescaled to the same mean, and the median over coordinates
keeps to what the honest majority says. Importance where nobody asked for it, or none where it was asked for, or nothing
but zeros is refused (``unexpected-importance``, ``empty-importance``).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from protocol.update import Update
from tests.attacks.verdicts import assert_refused, verdict_of
from tests.processor.factory import BIAS, KERNEL, TinyRound, tiny_terms
from tests.processor.reference import rescaled

HONEST = ["alice", "bob", "carol"]


def consolidating() -> TinyRound:
    return TinyRound(terms=tiny_terms(consolidate=True)).post_all(HONEST)


def louder(update: Update, by: int) -> Update:
    exponents = {name: exponent + by for name, exponent in (update.importance_exponents or {}).items()}
    return replace(update, importance_exponents=exponents)


def test_loudness_changes_no_byte() -> None:
    quiet, loud = consolidating(), consolidating()
    quiet.post("mallory", louder(quiet.update("mallory"), -500))
    loud.post("mallory", louder(loud.update("mallory"), 500))

    assert verdict_of(loud.derive(), "mallory").verdict == "accepted"
    assert loud.derive().derived.model == quiet.derive().derived.model


def test_one_seized_coordinate_stays_within_what_others_say() -> None:
    ring = consolidating()
    grab = np.zeros((4, 3), dtype=np.uint8)
    grab[2, 1] = 255
    importance = {KERNEL: grab, BIAS: np.zeros(3, dtype=np.uint8)}
    ring.post("mallory", ring.update("mallory", importance=importance))

    derivation = ring.derive()

    assert derivation.model is not None
    assert derivation.model.importance is not None
    honest = [np.array(rescaled(ring.update(name))[:12]).reshape(4, 3) for name in HONEST]
    assert (derivation.model.importance[KERNEL] <= np.max(honest, axis=0)).all()
    assert (derivation.model.importance[KERNEL] >= np.min(honest, axis=0) // 2).all()  # even count: mean of two


def test_zeros_are_refused() -> None:
    ring = consolidating()
    zeros = {KERNEL: np.zeros((4, 3), dtype=np.uint8), BIAS: np.zeros(3, dtype=np.uint8)}
    ring.post("mallory", ring.update("mallory", importance=zeros))

    assert_refused(ring, "empty-importance")


def test_missing_importance_is_refused() -> None:
    ring = consolidating()
    ring.post("mallory", ring.update("mallory", importance=None, importance_exponents=None))

    assert_refused(ring, "unexpected-importance")


def test_importance_that_nobody_asked_for_is_refused() -> None:
    generous = TinyRound(terms=tiny_terms(consolidate=True)).update("mallory")
    ring = TinyRound().post_all(HONEST)
    ring.post(
        "mallory",
        ring.update("mallory", importance=generous.importance, importance_exponents=generous.importance_exponents),
    )

    assert_refused(ring, "unexpected-importance")
