"""The digest that witnesses a merge, and the one rounding of a coordinate."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace

import numpy as np

from processor.merge import BLOCK, Merged, apply, merge_digest
from protocol.fixed_point import INT64_MAX
from protocol.specs import TensorClass, TensorSpec
from tests.processor.factory import tiny_model

WEIGHT = "00000.w"


def one_tensor(mantissas: list[int], numerators: list[int], denominator: int) -> tuple[list[int], int]:
    base = replace(
        tiny_model(),
        specs=(TensorSpec(WEIGHT, (len(mantissas),), TensorClass.TRAINABLE, 0),),
        mantissas={WEIGHT: np.array(mantissas, dtype=np.int32)},
    )
    merged = Merged({WEIGHT: np.array(numerators, dtype=np.int64)}, {WEIGHT: denominator})
    result, saturated = apply(base, merged)
    return result[WEIGHT].tolist(), saturated


def test_nothing_merged_is_sha256_of_nothing() -> None:
    assert merge_digest(None) == hashlib.sha256(b"").digest()


def test_digest_layout() -> None:
    merged = Merged(
        {"00001.b": np.array([-1], dtype=np.int64), "00000.a": np.array([[2, 3], [4, 5]], dtype=np.int64)},
        {"00000.a": 7, "00001.b": INT64_MAX},
    )

    expected = b"00000.a" + struct.pack("<Q4q", 7, 2, 3, 4, 5) + b"00001.b" + struct.pack("<Qq", INT64_MAX, -1)

    assert merge_digest(merged) == hashlib.sha256(expected).digest()


def test_digest_is_of_c_order() -> None:
    square = np.array([[1, 2], [3, 4]], dtype=np.int64)

    assert merge_digest(Merged({"00000.a": np.asfortranarray(square)}, {"00000.a": 1})) == merge_digest(
        Merged({"00000.a": square}, {"00000.a": 1})
    )


def test_change_is_rounded_once_half_to_even() -> None:
    assert one_tensor([10, 10, 10, 10], [1, 3, -1, -3], 2) == ([10, 12, 10, 8], 0)


def test_saturation_at_both_ends() -> None:
    top = (1 << 24) - 1

    assert one_tensor([top, top, -top, -top], [1, -1, -1, 1], 1) == ([top, top - 1, -top, 1 - top], 2)


def test_numerators_at_the_edge_of_int64_saturate() -> None:
    top = (1 << 24) - 1

    assert one_tensor([0, 0], [INT64_MAX, -INT64_MAX - 1], 1) == ([top, -top], 2)


def test_blocks_leave_no_seam() -> None:
    size = 2 * BLOCK + 3
    base = np.arange(size, dtype=np.int32)

    mantissas, saturated = one_tensor(base.tolist(), (3 * base.astype(np.int64)).tolist(), 3)

    assert (mantissas, saturated) == ((2 * base).tolist(), 0)
