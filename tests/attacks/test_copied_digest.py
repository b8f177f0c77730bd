"""Attack: mallory sees alice's digest in the mempool and commits it as her own, before or after alice.

Verdict: refused as ``foreign-author``: the artifact names alice. Alice's own update stays accepted even where mallory's
copy is earlier on chain.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.update import encode_update
from tests.attacks.verdicts import assert_refused, verdict_of
from tests.processor.factory import TinyRound, account


@pytest.mark.parametrize("mallory_is_first", [True, False])
def test_a_copied_digest(mallory_is_first: bool) -> None:
    ring = TinyRound().post_all(["bob"])
    digest = ring.post("alice")
    ring.post("mallory", digest)
    if mallory_is_first:
        ring.updates.reverse()
        ring.updates = [replace(update, index=index) for index, update in enumerate(ring.updates)]

    derivation = assert_refused(ring, "foreign-author")

    assert verdict_of(derivation, "alice").verdict == "accepted"


def test_an_author_in_another_spelling() -> None:
    """An address has one spelling, so mallory cannot name herself in lower case either."""
    ring = TinyRound().post_all(["alice", "bob"])
    files = encode_update(ring.update("mallory"))
    mallory = account("mallory")
    ring.post(
        "mallory", {**files, "update.json": files["update.json"].replace(mallory.encode(), mallory.lower().encode())}
    )

    assert_refused(ring, "wrong-field")
