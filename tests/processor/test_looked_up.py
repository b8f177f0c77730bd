"""Values by table: the same whether compiled or not, at every block size and for every value."""

from __future__ import annotations

import numpy as np
import pytest

from processor.kernels import COMPILED_FROM, looked_up


@pytest.mark.parametrize("width", [1, 1000, COMPILED_FROM // 3 - 1, COMPILED_FROM // 3 + 1])
def test_every_value_becomes_what_its_own_table_says(width: int) -> None:
    random = np.random.default_rng(width)
    values = random.integers(0, 256, (3, width), dtype=np.uint8)
    values[:, -1] = (0, 128, 255)
    tables = random.integers(0, 1 << 32, (3, 256), dtype=np.uint32)
    found = looked_up(values, tables)
    assert found.dtype == np.uint32
    for row, value, table in zip(found, values, tables, strict=True):
        np.testing.assert_array_equal(row, table[value])
