"""The demo's shards: every example once, labels skewed, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rondo.demo_data import HELD_OUT_EXAMPLES, dirichlet_shards, write_digits


@pytest.mark.parametrize("clients", [1, 2, 5, 12])
def test_every_example_goes_to_exactly_one_client(clients: int) -> None:
    labels = np.repeat(np.arange(10), 40)
    shards = dirichlet_shards(labels, clients, 0.5, 3, np.random.default_rng(1))
    assert sorted(np.concatenate(shards).tolist()) == list(range(400))
    assert min(len(shard) for shard in shards) >= 3


def test_small_alpha_skews_labels_more() -> None:
    labels = np.repeat(np.arange(10), 100)

    def spread(alpha: float) -> float:
        shards = dirichlet_shards(labels, 5, alpha, 1, np.random.default_rng(3))
        shares = np.array([np.bincount(labels[shard], minlength=10) for shard in shards]) / 100
        return float(shares.std())

    assert spread(0.1) > spread(1.0) > spread(100.0)


def test_files_hold_what_clients_read(tmp_path: Path) -> None:
    files, held_out = write_digits(tmp_path / "one", 5, seed=7)
    again, _ = write_digits(tmp_path / "two", 5, seed=7)
    other, _ = write_digits(tmp_path / "three", 5, seed=8)
    with np.load(held_out) as data:
        assert data["x"].shape == (HELD_OUT_EXAMPLES, 64)
        assert data["x"].dtype == np.float32 and data["x"].min() >= 0 and data["x"].max() == 1
    sizes = []
    for one, two in zip(files, again, strict=True):
        with np.load(one) as a, np.load(two) as b:
            assert np.array_equal(a["x"], b["x"]) and np.array_equal(a["y"], b["y"])
            sizes.append(len(a["y"]))
    assert sum(sizes) == 1797 - HELD_OUT_EXAMPLES
    with np.load(files[0]) as a, np.load(other[0]) as c:
        assert a["y"].tolist() != c["y"].tolist()
