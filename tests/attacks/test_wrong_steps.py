"""Attack: mallory states more steps than the task plans, since credit grows with steps; or examples she cannot have.

Verdict: refused as ``wrong-steps`` where steps are not ceil(examples / batch) * epochs, and as ``wrong-field`` where
examples are not from 1 to the cap.
"""

from __future__ import annotations

import pytest

from protocol.update import encode_update
from tests.attacks.verdicts import assert_refused, verdict_of
from tests.processor.factory import TinyRound, with_json


@pytest.mark.parametrize("steps", [1, 19, 21, 2**53 - 1])
def test_steps_beside_the_plan(steps: int) -> None:
    ring = TinyRound().post_all(["alice", "bob"])
    ring.post("mallory", ring.update("mallory", examples=95, steps=steps))  # the plan: ceil(95 / 10) * 2 = 20

    assert_refused(ring, "wrong-steps")


@pytest.mark.parametrize("examples", [-1, 0, 1001, 2**53 - 1])
def test_examples_out_of_range(examples: int) -> None:
    ring = TinyRound().post_all(["alice", "bob"])
    files = encode_update(ring.update("mallory", examples=1000))
    ring.post("mallory", with_json(files, examples=examples, steps=abs(examples) // 10 * 2 + 2))

    assert_refused(ring, "wrong-field")


@pytest.mark.parametrize("examples", [1, 1000])
def test_the_range_includes_its_ends(examples: int) -> None:
    ring = TinyRound()
    ring.post("alice", ring.update("alice", examples=examples))

    assert verdict_of(ring.derive(), "alice").weight == examples
