"""Norm bounding: before any rule, an update whose change is longer than a bound is shortened to it (Sun et al., *Can You
Really Backdoor Federated Learning?*, 2019: delta / max(1, ||delta|| / C)), in integers.

    m = min(2^16, floor(2^16 C / ||delta||)),  change = round_half_even(delta * m / 2^16)

C is the task's ``bound_norm``, or the lower middle one of the updates' own norms, so that fewer than half of them, however
long or short, cannot move it beyond those of the others. The factor is rounded down: ||delta|| * m / 2^16 <= C, and rounding
moves a coordinate by half a step of its grid at most, so the bounded norm exceeds C by no more than half a step times
the root of the number of coordinates. A change more than 2^16 times as long as C becomes 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

import numpy as np

from processor.blocks import Block
from processor.distances import require_narrow
from processor.kernels import COMPILED_FROM, compiled
from processor.rule import Measured
from protocol.merge_terms import MergeRule

FACTOR_BITS = 16  # a factor is m / 2^16, 0 <= m <= 2^16
WHOLE = 1 << FACTOR_BITS


@dataclass(frozen=True, slots=True)
class Norms:
    """Measures every member's squared norm over all trainable coordinates."""

    def measure(self, block: Block) -> Measured:
        """Return each member's sum of squares; raises ArithmeticRefused as `processor.distances.require_narrow`."""
        require_narrow(block)
        fast = compiled("compiled_norm_bound") if block.rows.size >= COMPILED_FROM else None
        if fast is not None:
            squares = fast.squares(block.rows)
        else:
            wide = (row.astype(np.int64) for row in block.rows)
            squares = np.array([np.dot(row, row) for row in wide])
        return Measured.of(squares << (2 * np.array(block.shifts, np.int64)), block.span.grid)


def factors(terms: MergeRule, norms: Measured, finest: int) -> tuple[int, ...]:
    """Return what each member's change is multiplied by, in 2^-16: min(2^16, floor(2^16 C / norm)).

    floor(2^16 sqrt(C^2 / S)) = floor(sqrt(2^32 C^2 / S)) = isqrt(floor(2^32 C^2 / S)), because a whole number is at most a
    root exactly where its square is at most the floor of what is under it. A change of norm 0 stays: 2^16.

    Args:
        terms: Whose ``bound`` is "fixed" or "median".
        norms: Each member's squared norm S, at least one.
        finest: The smallest E of all trainable tensors: ``bound_norm`` is in the weights' units, C in steps of 2^finest.
    """
    squares: list[int] = norms.total(finest).tolist()
    if terms.bound == "median":
        bound = Fraction(sorted(squares)[(len(squares) - 1) // 2])
    else:
        bound = (terms.bound_norm / Fraction(2) ** finest) ** 2
    return tuple(_factor(bound, square) for square in squares)


def _factor(bound: Fraction, square: int) -> int:
    if square * bound.denominator <= bound.numerator:  # 0 among them
        return WHOLE
    return isqrt((bound.numerator << 2 * FACTOR_BITS) // (bound.denominator * square))


def bounded(block: Block, factors: tuple[int, ...]) -> Block:
    """Return ``block`` with each row multiplied by its factor and rounded half to even: int32 grid steps, shifts 0.

    |change| stays below 2^22, since no factor is above 1. float64 is exact here: |change| * m < 2^22 * 2^16 = 2^38, and 2^-16
    only moves the exponent; numpy.rint rounds what it got to the nearest integer, ties to the even one (IEEE 754).

    Args:
        factors: One a member, 0 to 2^16.
    """
    rows = np.empty(block.rows.shape, np.int32)
    scales = [(factor << shift) / WHOLE for factor, shift in zip(factors, block.shifts, strict=True)]
    fast = compiled("compiled_norm_bound") if rows.size >= COMPILED_FROM else None
    if fast is not None:
        fast.scale(block.rows, np.array(scales), rows)
    else:
        for row, scale, out in zip(block.rows, scales, rows, strict=True):
            scaled = np.multiply(row, scale, dtype=np.float64)
            out[:] = np.rint(scaled, out=scaled)
    return Block(block.span, rows, (0,) * len(rows), block.importance)
