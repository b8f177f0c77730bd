"""How far each update points where the model went: thousandths of the cosine between the two, in integers.

    agreement_k = trunc(1000 * <d_k, c> / (|d_k| |c|)) = sign(<d_k, c>) * isqrt(floor(10^6 <d_k, c>^2 / (|d_k|^2 |c|^2)))

with d_k the update's change and c the model's, over all trainable coordinates in the weights' own units. The square root
of the floor is exact: isqrt(floor(x)) = floor(sqrt(x)). It lies within ±1000 (Cauchy and Schwarz), and is 0 where either
change is. A multiple of an update agrees as the update does, so bounding or boasting changes nothing of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processor.blocks import Member, Span, block_width, read_block, spans
from processor.engine import Merged
from processor.kernels import change_products
from processor.runs import Run, serial
from protocol.grid import MANTISSA_LIMIT
from protocol.model import Model
from protocol.report import MAX_AGREEMENT
from protocol.specs import trainable_specs

# Coordinates of one sum. An update's mantissa is below 2^22 in magnitude (SPECIFICATION A6) and the model's change below
# 2^25, so a product is below 2^47, and 2^16 of them below 2^63 in whatever order they are added; squares are smaller.
PIECE = 1 << 16
# The model's change squared is below 2^50: this many stay below 2^63.
SQUARES = 1 << 13
assert 2 * MANTISSA_LIMIT <= 1 << 25  # noqa: S101 - what both rest on


@dataclass(frozen=True, slots=True)
class _Sums:
    """Of one span: <d_k, c> and |d_k|^2 by member, |c|^2, in squared steps of the span's grid. Python integers."""

    dots: list[int]
    squares: list[int]
    change: int


def agreements(base: Model, merged: Merged, members: Sequence[Member], run: Run = serial) -> list[int]:
    """Return the agreement of each of ``members``, from -1000 to 1000, in their order.

    Args:
        base: What the updates start from. merged: What became of it; its change is merged - base, rounded and saturated.
        members: Every update has passed the screening against ``base``, taken into the merge or not.

    Raises:
        BlockMissing, BlockCorrupt, StoreUnavailable: An update's bytes, verified before, are gone.
    """
    trainable = trainable_specs(base.specs)
    finest = min(spec.grid for spec in trainable)
    width = min(PIECE, block_width(len(members), 8))  # rows are int64 where nothing is compiled
    pieces = spans(trainable, width)
    dots, squares, change = [0] * len(members), [0] * len(members), 0
    found = run(lambda span: _sums(span, base.mantissas, merged.mantissas, members), pieces)
    for span, sums in zip(pieces, found, strict=True):
        scale = 2 * (span.grid - finest)  # (2^(E - finest))^2, so that all tensors are summed in one unit
        change += sums.change << scale
        for k, (dot, square) in enumerate(zip(sums.dots, sums.squares, strict=True)):
            dots[k] += dot << scale
            squares[k] += square << scale
    return [cosine_thousandths(dot, square, change) for dot, square in zip(dots, squares, strict=True)]


def cosine_thousandths(dot: int, left: int, right: int) -> int:
    """Return trunc(1000 * dot / sqrt(left * right)) exactly; 0 where a squared norm is 0.

    Args:
        dot: Of two vectors. left, right: Their squared norms.
    """
    if not left or not right:
        return 0
    size = math.isqrt(MAX_AGREEMENT**2 * dot * dot // (left * right))
    return -size if dot < 0 else size


def _sums(
    span: Span,
    before: Mapping[str, NDArray[np.int32]],
    after: Mapping[str, NDArray[np.int32]],
    members: Sequence[Member],
) -> _Sums:
    part = slice(span.start, span.stop)
    # Both are below 2^24, so int32 holds their difference.
    change = after[span.name].reshape(-1)[part] - before[span.name].reshape(-1)[part]
    block = read_block(span, members)
    dots, squares = change_products(block.rows, change)
    wide = np.square(change, dtype=np.int64)
    return _Sums(
        [int(dot) << shift for dot, shift in zip(dots, block.shifts, strict=True)],
        [int(square) << 2 * shift for square, shift in zip(squares, block.shifts, strict=True)],
        sum(int(wide[start : start + SQUARES].sum()) for start in range(0, span.size, SQUARES)),
    )
