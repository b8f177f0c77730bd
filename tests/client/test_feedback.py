"""What a residual file keeps, for how long, and how it takes damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from client.feedback import FeedbackStore, decode_residual, encode_residual
from protocol.task import Feedback

RULE = Feedback(clip_steps=10, drop_after=2)
RESIDUAL = {"00000.w": np.array([[3, -40], [40, 0]], np.int64)}


@pytest.fixture
def store(tmp_path: Path) -> FeedbackStore:
    return FeedbackStore(tmp_path / "residual.npz", RULE)


@pytest.mark.parametrize("data", [b"", b"not a zip", encode_residual(1, RESIDUAL, RULE)[:-30]])
def test_a_damaged_file_counts_as_absent(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "residual.npz"
    path.write_bytes(data)
    assert FeedbackStore(path, RULE).kept(2) is None


def test_nothing_is_kept_at_first(store: FeedbackStore) -> None:
    assert store.kept(1) is None


def test_a_residual_is_clipped(store: FeedbackStore) -> None:
    index, residual = decode_residual(encode_residual(7, RESIDUAL, RULE))
    assert index == 7
    assert residual["00000.w"].tolist() == [[3, -10], [10, 0]]
    assert residual["00000.w"].dtype == np.int64


@pytest.mark.parametrize(("index", "kept"), [(2, True), (3, True), (4, False), (9, False)])
def test_a_residual_is_dropped_after_k_missed_rounds(store: FeedbackStore, index: int, kept: bool) -> None:
    store.commit(1, encode_residual(1, RESIDUAL, RULE))
    assert (store.kept(index) is not None) == kept


def test_dropping_after_none_turns_feedback_off(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path / "residual.npz", Feedback(drop_after=0))
    store.commit(1, encode_residual(1, RESIDUAL, RULE))
    assert store.kept(2) is None


def test_a_later_merge_replaces_the_residual_and_an_earlier_one_never_does(store: FeedbackStore) -> None:
    store.commit(2, encode_residual(2, RESIDUAL, RULE))
    store.commit(1, encode_residual(1, {"00000.w": np.zeros(1, np.int64)}, RULE))
    assert store.merged_round() == 2
    store.commit(3, encode_residual(3, {"00000.w": np.ones(1, np.int64)}, RULE))
    kept = store.kept(4)
    assert kept is not None
    assert kept["00000.w"].tolist() == [1]
