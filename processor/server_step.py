"""What the organization does with a merged change before it is applied (Reddi et al., *Adaptive Federated Optimization*,
ICLR 2021, alg. 2), in integers, with a state that is an artifact and so is audited too.
"""

from __future__ import annotations

from processor.blocks import Span
from processor.merge import Part
from protocol.merge_terms import ServerStep
from protocol.model import Model
from protocol.past import Moments


class PlainStep:
    """The merged change times the task's rate; no state."""


def step_of(terms: ServerStep) -> PlainStep:
    """Return the step that ``terms`` names."""
    return PlainStep()


class ServerMoments:
    """One round's steps: the state before, and the state after as spans fill it in."""

    def __init__(self, step: PlainStep, base: Model, before: Moments | None) -> None:
        self.after: Moments | None = None

    def step(self, span: Span, part: Part) -> Part:
        """Return what the base is moved by in ``span``."""
        return part
