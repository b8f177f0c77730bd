"""The demo's data: scikit-learn's digits, dealt to clients with skewed labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HELD_OUT_EXAMPLES = 360  # a fifth of the 1,797 digits, kept by the organization
DIRICHLET_ALPHA = 0.5
SMALLEST_SHARD = 20


def dirichlet_shards(
    labels: NDArray[np.int64], clients: int, alpha: float, smallest: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Deal examples to clients so that each label is spread by Dirichlet(alpha) (Hsu, Qi and Brown 2019).

    Args:
        labels: int64, shape (examples,).
        smallest: Deals again until every client has at least this many examples.

    Returns:
        One int64 index array a client; together every example once.
    """
    while True:
        shards: list[list[NDArray[np.int64]]] = [[] for _ in range(clients)]
        for label in np.unique(labels):
            members = np.flatnonzero(labels == label)
            rng.shuffle(members)
            cuts = (np.cumsum(rng.dirichlet([alpha] * clients))[:-1] * len(members)).astype(np.int64)
            for shard, part in zip(shards, np.split(members, cuts), strict=True):
                shard.append(part)
        dealt = [np.concatenate(parts) for parts in shards]
        if min(len(part) for part in dealt) >= smallest:
            return dealt


def write_digits(directory: Path, clients: int, seed: int) -> tuple[list[Path], Path]:
    """Write one ``.npz`` (x float32 (n, 64) in [0, 1], y int64 (n,)) a client and the organization's held-out set.

    Returns:
        The clients' files and the held-out file.
    """
    from sklearn.datasets import load_digits

    directory.mkdir(parents=True, exist_ok=True)
    pixels, labels = load_digits(return_X_y=True)
    x, y = (pixels / 16).astype(np.float32), labels.astype(np.int64)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(x))
    held_out, train = order[:HELD_OUT_EXAMPLES], order[HELD_OUT_EXAMPLES:]
    smallest = min(SMALLEST_SHARD, len(train) // (4 * clients))
    files = []
    for number, shard in enumerate(dirichlet_shards(y[train], clients, DIRICHLET_ALPHA, smallest, rng), start=1):
        path = directory / f"client-{number}.npz"
        np.savez(path, x=x[train[shard]], y=y[train[shard]])
        files.append(path)
    held_out_file = directory / "held-out.npz"
    np.savez(held_out_file, x=x[held_out], y=y[held_out])
    return files, held_out_file
