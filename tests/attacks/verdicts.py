"""What every update attack must come to: a named refusal, no credit, and the merge as if the attacker had stayed away."""

from __future__ import annotations

from dataclasses import replace

from processor.round import Derivation
from protocol.report import UpdateVerdict
from tests.processor.factory import TinyRound, account


def verdict_of(derivation: Derivation, name: str) -> UpdateVerdict:
    """The verdict on the update of ``name``."""
    return next(one for one in derivation.derived.updates if one.client == account(name))


def assert_refused(ring: TinyRound, rule: str, name: str = "mallory") -> Derivation:
    """Assert that ``name`` is refused by ``rule``, earns nothing, is told why, and changes nothing of the model."""
    derivation = ring.derive()
    verdict = verdict_of(derivation, name)
    assert (verdict.verdict, verdict.rule) == ("refused", rule)
    assert (verdict.examples, verdict.steps, verdict.weight, verdict.credit_millis, verdict.reward) == (0, 0, 0, 0, 0)
    assert len(derivation.refusals[account(name)]) > 20
    assert_as_if_absent(ring, derivation, name)
    return derivation


def assert_as_if_absent(ring: TinyRound, derivation: Derivation, name: str) -> None:
    """Assert that model, witness and everybody else's verdicts are those of the round without ``name``."""
    without = replace(ring, updates=[update for update in ring.updates if update.client != account(name)])
    alone = without.derive()
    assert derivation.merge_digest == alone.merge_digest
    assert derivation.derived.model == alone.derived.model
    assert derivation.derived.saturated == alone.derived.saturated
    assert derivation.rewards.root == alone.rewards.root
    others = [one for one in derivation.derived.updates if one.client != account(name)]
    assert others == list(alone.derived.updates)
