"""Verdicts in chain order: which rule comes first, what an accepted update weighs, whose standing counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from processor.runs import Run, Threads, serial
from processor.screening import Screened, screen
from processor.updates import UpdateReader
from protocol.errors import BlockMissing
from protocol.task import MergeRule
from protocol.types import Address, Digest, FederationId
from tests.processor.factory import KERNEL, TinyRound, account, tiny_task


def verdicts(ring: TinyRound, unavailable: frozenset[Address] = frozenset(), run: Run = serial) -> list[Screened]:
    return list(screen(ring.facts, ring.task, ring.base, UpdateReader(ring.fetch), unavailable, run=run))


def test_the_first_broken_rule_is_the_verdict() -> None:
    """Everything is wrong with this update; mending one thing after another shows the order of the rules."""
    ring = TinyRound()
    honest = ring.update("mallory")
    broken = replace(
        honest,
        author=account("alice"),
        federation=FederationId(bytes(32)),
        base=Digest(bytes(32)),
        examples=5000,
        steps=1,
        exponents={**honest.exponents, KERNEL: 0},
    )
    repairs = [
        ("foreign-author", {"author": honest.author}),
        ("foreign-round", {"federation": honest.federation}),
        ("foreign-base", {"base": honest.base}),
        ("wrong-field", {"examples": honest.examples}),
        ("wrong-steps", {"steps": honest.steps}),
        ("outside-window", {"exponents": honest.exponents}),
    ]
    for rule, repair in repairs:
        one = TinyRound()
        one.post("mallory", broken)
        assert [found.rule for found in verdicts(one)] == [rule]
        broken = replace(broken, **repair)  # type: ignore[arg-type]

    one = TinyRound()
    one.post("mallory", broken)
    assert [found.verdict for found in verdicts(one)] == ["accepted"]


def test_verdicts_are_in_chain_order_and_unavailable_updates_are_not_loaded() -> None:
    ring = TinyRound()
    ring.post("carol", Digest(b"\x01" * 32))
    ring.post("mallory", {})
    ring.post("alice")

    with pytest.raises(BlockMissing):
        verdicts(ring)

    found = verdicts(ring, frozenset({account("carol")}))
    assert [(one.verdict, one.rule) for one in found] == [
        ("unavailable", ""),
        ("refused", "wrong-files"),
        ("accepted", ""),
    ]


@pytest.mark.parametrize("threads", [2, 8])
def test_threads_reach_the_same_verdicts(threads: int) -> None:
    """Which of two copies was first, and which error comes first, is the chain's order, not that of the work."""
    ring = TinyRound().post_all(["alice", "bob", "carol"])
    ring.post("mallory", replace(ring.update("alice"), author=account("mallory")))
    ring.post("dave", {})
    ring.post("erin", Digest(b"\x01" * 32))
    ring.post("frank", replace(ring.update("frank"), steps=1))
    ring.post("grace", replace(ring.update("frank"), author=account("grace")))  # a copy of one that is refused
    ring.post("heidi", Digest(b"\x02" * 32))
    absent = frozenset({account("erin"), account("heidi")})

    found = verdicts(ring, absent, Threads(threads))

    assert found == verdicts(ring, absent)
    assert [one.rule or one.verdict for one in found] == [
        *["accepted"] * 3,
        *["duplicate-delta", "wrong-files", "unavailable", "wrong-steps", "accepted", "unavailable"],
    ]
    with pytest.raises(BlockMissing, match="01" * 32):
        verdicts(ring, frozenset(), Threads(threads))


def test_a_refusal_says_what_why_and_what_to_do() -> None:
    ring = TinyRound()
    ring.post("mallory", ring.update("mallory", steps=3))

    (found,) = verdicts(ring)

    assert "3 steps" in found.reason
    assert "= 20 steps" in found.reason
    assert "plan" in found.reason


@pytest.mark.parametrize(("weighting", "weight"), [("examples", 95), ("uniform", 1)])
def test_weight(weighting: str, weight: int) -> None:
    ring = TinyRound(task=tiny_task(merge=MergeRule(weighting=weighting, examples_cap=1000)))  # type: ignore[arg-type]
    ring.post("alice", ring.update("alice", examples=95))

    (found,) = verdicts(ring)

    assert found.accepted is not None
    assert (found.accepted.weight, found.accepted.examples, found.accepted.steps) == (weight, 95, 20)
