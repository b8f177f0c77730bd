"""Attack: mallory posts a change from another base model, an old round's say, which means nothing on this one.

Verdict: refused as ``foreign-base``.
"""

from __future__ import annotations

from protocol.types import Digest
from tests.attacks.verdicts import assert_refused
from tests.processor.factory import TinyRound


def test_another_base() -> None:
    ring = TinyRound().post_all(["alice", "bob"])
    ring.post("mallory", ring.update("mallory", base=Digest(b"\x07" * 32)))

    assert_refused(ring, "foreign-base")
