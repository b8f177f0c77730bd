"""scikit-learn's digits, split by label: the classes 0 to 4 are one task, 5 to 9 the next."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from client.data import Dataset

CLASSES = 10
SPLIT = ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9))
TEST_SHARE = 4  # every fourth example is for testing


def load_label_tasks() -> list[tuple[Dataset, Dataset]]:
    """Return (training, test) of each task: 64 pixels as float32 from 0 to 1; every fourth example of all is a test's."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    every = Dataset(x.astype(np.float32) / np.float32(16), y.astype(np.int64))
    for_test = np.arange(len(every)) % TEST_SHARE == 0
    tasks = []
    for classes in SPLIT:
        ours = np.isin(every.y, classes)
        tasks.append((every.take(np.flatnonzero(ours & ~for_test)), every.take(np.flatnonzero(ours & for_test))))
    return tasks


def allowed_classes(task: int) -> NDArray[np.bool_]:
    """Return which of the ten logits belong to task number ``task``, bool of shape (10,)."""
    return np.isin(np.arange(CLASSES), SPLIT[task])
