"""Attack: mallory is paid twice for one training by posting an update of another round, or of another federation, again.

Verdict: refused as ``foreign-round``.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.types import FederationId, RoundId
from tests.attacks.verdicts import assert_refused
from tests.processor.factory import TinyRound

ELSEWHERE = b"\x09" * 32


@pytest.mark.parametrize("field", ["round", "federation"])
def test_an_update_of_elsewhere(field: str) -> None:
    ring = TinyRound().post_all(["alice", "bob"])
    honest = ring.update("mallory")
    foreign = (
        replace(honest, round=RoundId(ELSEWHERE))
        if field == "round"
        else replace(honest, federation=FederationId(ELSEWHERE))
    )
    ring.post("mallory", foreign)

    assert_refused(ring, "foreign-round")
