"""Attack: mallory and her friends post garbage, or nothing behind their digests, so that a rule that needs many updates is left with too few and never merges.

Verdict: what is refused or withheld counts as what it is, hostile: the rule assumes that many fewer among the rest, and
merges exactly the honest updates it is left with. Without losses nothing changes.
"""

from __future__ import annotations

import pytest

from processor.round import derive_round
from protocol.merge_terms import MergeRule, Standing
from protocol.past import Past
from protocol.update import encode_update
from tests.processor.factory import TinyRound, account, tiny_task, with_json

HONEST = ["alice", "bob", "carol", "dave", "erin", "frank", "grace"]
RULES = [
    MergeRule("krum", examples_cap=1000, byzantine=3),
    MergeRule("multi-krum", examples_cap=1000, byzantine=3),
    MergeRule("bulyan", examples_cap=1000, byzantine=1),
    MergeRule("trimmed-mean", examples_cap=1000, trim=4),
]


def garbage(ring: TinyRound, names: list[str]) -> None:
    for name in names:
        ring.post(name, with_json(encode_update(ring.update(name)), steps=1))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.rule)
def test_garbage_does_not_keep_a_rule_from_merging(rule: MergeRule) -> None:
    ring = TinyRound(task=tiny_task(merge=rule)).post_all(HONEST)
    garbage(ring, ["mallory", "eve", "trudy"][: max(rule.byzantine, rule.trim)])

    derived = ring.derive().derived

    assert derived.outcome == "merged"
    assert derived.merged > 0


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.rule)
def test_withheld_bytes_do_not_keep_a_rule_from_merging(rule: MergeRule) -> None:
    hostile = ["mallory", "eve", "trudy"][: max(rule.byzantine, rule.trim)]
    ring = TinyRound(task=tiny_task(merge=rule)).post_all([*HONEST, *hostile])

    assert ring.derive(unavailable=hostile).derived.outcome == "merged"


@pytest.mark.parametrize("rule", RULES[:3], ids=lambda rule: rule.rule)
def test_who_weighs_nothing_does_not_keep_a_rule_from_merging(rule: MergeRule) -> None:
    hostile = ["mallory", "eve", "trudy"][: rule.byzantine]
    task = tiny_task(merge=rule, standing=Standing("weight"))
    ring = TinyRound(task=task).post_all([*HONEST, *hostile])
    past = Past(standing={account(name): -100_000 for name in hostile})

    derived = derive_round(ring.facts, ring.task, ring.base, ring.fetch, frozenset(), past).derived

    assert derived.outcome == "merged"


@pytest.mark.parametrize("rule", RULES[:3], ids=lambda rule: rule.rule)
def test_too_few_without_any_refusal_still_merge_nothing(rule: MergeRule) -> None:
    ring = TinyRound(task=tiny_task(merge=rule)).post_all(HONEST[: rule.least_updates() - 1])

    assert ring.derive().derived.outcome == "too-few-updates"


def test_refusals_beyond_what_was_assumed_leave_a_rule_without_hostile_updates() -> None:
    assert MergeRule("krum", byzantine=1).after_losses(5).byzantine == 0
    assert MergeRule("trimmed-mean", trim=2).after_losses(1).trim == 1
