"""What a merge rule is: three pure steps, each over integers, none of which can see how the work was split.

1. ``measure`` one block after another, where the rule needs to know something of all coordinates: integers that add up.
2. ``plan`` from the sum of the measures: whom to take, by which weights.
3. ``merge`` one block after another by that plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from processor.blocks import Block
from processor.merge import Part
from processor.updates import Accepted
from protocol.errors import TooFewUpdates

LIMB = 32  # bits


@dataclass(frozen=True, slots=True)
class Measured:
    """Sums of squares over coordinates on several grids, exactly; blocks' measures are added, in any order.

    Args:
        limbs: By E of the grid, (2, ...) int64 of a shape that the rule chooses: limbs[0] + limbs[1] * 2^32, in 4^E. One
            block's limbs are at most 2^32 in magnitude, so 2^31 blocks add up to less than 2^63.
    """

    limbs: Mapping[int, NDArray[np.int64]]

    @classmethod
    def of(cls, values: NDArray[np.int64], grid: int) -> Measured:
        """Return one block's measure: ``values`` in squared steps of ``grid``."""
        return cls({grid: np.stack([values & ((1 << LIMB) - 1), values >> LIMB])})

    def __add__(self, other: Measured) -> Measured:
        """Return the measure of both."""
        both = dict(self.limbs)
        for grid, limbs in other.limbs.items():
            both[grid] = both[grid] + limbs if grid in both else limbs
        return Measured(both)

    def total(self, finest: int) -> NDArray[np.object_]:
        """Return the sum in squared steps of 2^finest, at most the smallest grid: Python integers of any size."""
        parts = [
            (limbs[0].astype(object) + (limbs[1].astype(object) << LIMB)) * (1 << 2 * (grid - finest))
            for grid, limbs in self.limbs.items()
        ]
        return np.asarray(sum(parts[1:], parts[0]), dtype=object)


Measure = Callable[[Block], Measured]


class Plan(Protocol):
    """How the blocks of one merge are merged; small, picklable, and the same on every machine."""

    @property
    def weights(self) -> tuple[int, ...]:
        """The weight of each member, in the order given to ``plan``; 0 means that the rule left it out."""
        ...

    def merge(self, block: Block) -> Part:
        """Return the change in ``block``, a block of trainable coordinates, before rounding."""
        ...


class Rule(Protocol):
    """A merge rule with its parameters."""

    @property
    def measure(self) -> Measure | None:
        """What the plan needs to know of every trainable block; None where it needs nothing. The sum reaches ``plan``."""
        ...

    @property
    def reads_importance(self) -> bool:
        """Whether blocks must carry ``importance``."""
        ...

    def plan(self, accepted: Sequence[Accepted], measured: Measured | None) -> Plan:
        """Return the plan for the updates ``accepted``, given in order of their clients' addresses.

        Raises:
            TooFewUpdates: There are fewer than the rule needs.
            ArithmeticRefused: A sum could leave its bounds.
        """
        ...


def require_updates(who: str, accepted: Sequence[Accepted], least: int) -> None:
    """Raise TooFewUpdates where fewer than ``least`` are accepted."""
    if len(accepted) < least:
        raise TooFewUpdates(
            f"{who} cannot merge {len(accepted)} updates.",
            f"It needs at least {least} that are accepted.",
            "Let more clients take part, or choose another merge rule for the task.",
        )
