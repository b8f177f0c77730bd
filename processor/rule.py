"""What a merge rule is: three pure steps, each over integers, none of which can see how the work was split.

1. ``measure`` one block after another, where the rule needs to know something of all coordinates: integers that add up.
2. ``plan`` from the sum of the measures: whom to take, by which weights.
3. ``merge`` one block after another by that plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from processor.blocks import Block
from processor.merge import Part
from processor.updates import Accepted
from protocol.errors import TooFewUpdates

Measured = NDArray[np.object_]  # Python integers, of a shape that the rule chooses; blocks' measures are added


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
    def measures(self) -> bool:
        """Whether it has to ``measure`` all trainable blocks first."""
        ...

    @property
    def reads_importance(self) -> bool:
        """Whether blocks must carry ``importance``."""
        ...

    def measure(self, block: Block) -> Measured:
        """Return what the plan needs to know of ``block``, as integers; the sum over all blocks reaches ``plan``."""
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
