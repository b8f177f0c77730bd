"""Agreement and standing once more, slow and plain: one coordinate at a time, in exact fractions of real numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from protocol.model import Model
from protocol.specs import trainable_specs
from protocol.update import Update


def thousandths(dot: Fraction, left: Fraction, right: Fraction) -> int:
    """1000 * cosine without its fraction, found by trying: the largest t with (t / 1000)^2 <= cosine^2."""
    if not left or not right:
        return 0
    size = max(t for t in range(1001) if Fraction(t, 1000) ** 2 * left * right <= dot**2)
    return size if dot > 0 else -size


def agreement(base: Model, mantissas: Mapping[str, NDArray[np.int32]], update: Update) -> int:
    """Thousandths of the cosine between the change of ``update`` and that from ``base`` to ``mantissas``."""
    theirs, models = list[Fraction](), list[Fraction]()
    for spec in trainable_specs(base.specs):
        step, unit = Fraction(2) ** update.exponents[spec.name], Fraction(2) ** spec.grid
        theirs += [int(q) * step for q in np.asarray(update.deltas[spec.name]).reshape(-1)]
        moved = zip(
            mantissas[spec.name].reshape(-1).tolist(), base.mantissas[spec.name].reshape(-1).tolist(), strict=True
        )
        models += [(after - before) * unit for after, before in moved]
    return thousandths(_dot(theirs, models), _dot(theirs, theirs), _dot(models, models))


def standing(points: Sequence[int], decay: Fraction) -> int:
    """The decayed sum of ``points``, oldest first: s <- trunc(s * decay) + points."""
    total = 0
    for one in points:
        total = math.trunc(Fraction(total) * decay) + one
    return total


def _dot(left: Sequence[Fraction], right: Sequence[Fraction]) -> Fraction:
    return sum((a * b for a, b in zip(left, right, strict=True)), Fraction(0))
