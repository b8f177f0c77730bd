"""Attack: one training, two accounts: mallory posts alice's delta under her own name, to weigh and be paid twice.

Verdict: refused as ``duplicate-delta``: the first on chain counts, whatever else the second one says. Bytes are published
only after the deadline, so a stranger cannot be first; a refused first one does not stand in the way.
"""

from __future__ import annotations

from dataclasses import replace

from tests.attacks.verdicts import assert_refused, verdict_of
from tests.processor.factory import BIAS, TinyRound, account


def test_the_second_copy_is_refused() -> None:
    ring = TinyRound().post_all(["bob"])
    alice = ring.update("alice")
    ring.post("alice", alice)
    ring.post("mallory", replace(alice, author=account("mallory"), examples=200, steps=40, software="hers"))

    derivation = assert_refused(ring, "duplicate-delta")

    assert verdict_of(derivation, "alice").verdict == "accepted"


def test_the_order_on_chain_decides() -> None:
    ring = TinyRound()
    alice = ring.update("alice")
    ring.post("mallory", replace(alice, author=account("mallory")))
    ring.post("alice", alice)

    assert_refused(ring, "duplicate-delta", "alice")


def test_a_refused_copy_does_not_void_the_original() -> None:
    ring = TinyRound()
    alice = ring.update("alice")
    ring.post("mallory", replace(alice, author=account("mallory"), steps=alice.steps + 1))
    ring.post("alice", alice)

    derivation = assert_refused(ring, "wrong-steps")

    assert verdict_of(derivation, "alice").verdict == "accepted"


def test_the_same_mantissas_on_another_exponent_are_another_delta() -> None:
    ring = TinyRound()
    alice = ring.update("alice")
    step = 1 if alice.exponents[BIAS] == -24 else -1
    exponents = {**alice.exponents, BIAS: alice.exponents[BIAS] + step}
    ring.post("alice", alice)
    ring.post("bob", replace(alice, author=account("bob"), exponents=exponents))

    assert [one.verdict for one in ring.derive().derived.updates] == ["accepted", "accepted"]
