"""Attack: mallory posts NaN, which would turn every merged weight into NaN.

Verdict: refused as ``wrong-tensor``. Deltas are integers of the task's dtype; there is no room for a NaN.
"""

from __future__ import annotations

import numpy as np
import pytest

from protocol import tensors
from protocol.update import encode_update
from tests.attacks.verdicts import assert_refused
from tests.processor.factory import TinyRound, tiny_terms


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_floats_are_no_deltas(value: float, dtype: type[np.floating]) -> None:
    ring = TinyRound().post_all(["alice", "bob"])
    update = ring.update("mallory")
    poisoned = {name: np.full(delta.shape, value, dtype=dtype) for name, delta in update.deltas.items()}
    ring.post("mallory", {**encode_update(update), "delta.safetensors": tensors.dumps(poisoned)})

    assert_refused(ring, "wrong-tensor")


def test_floats_are_no_importance() -> None:
    ring = TinyRound(terms=tiny_terms(consolidate=True)).post_all(["alice", "bob"])
    update = ring.update("mallory")
    poisoned = {name: np.full(u.shape, np.nan, dtype=np.float32) for name, u in (update.importance or {}).items()}
    ring.post("mallory", {**encode_update(update), "importance.safetensors": tensors.dumps(poisoned)})

    assert_refused(ring, "wrong-tensor")
