"""The task: the fixed terms under which a federation trains, an artifact of one file, ``task.json``."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

DeltaType = Literal["int8", "int16", "int32"]


@dataclass(frozen=True, slots=True)
class MergeRule:
    """How updates become one. ``rule`` is "fedavg"; ``weighting`` "examples" (capped) or "uniform"."""

    rule: str = "fedavg"
    weighting: Literal["examples", "uniform"] = "examples"
    examples_cap: int = 10_000  # most examples that count for one client, in weights and in the step plan


@dataclass(frozen=True, slots=True)
class Training:
    """What a client does. ``learning_rate`` and ``momentum`` are exact rationals."""

    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: Fraction = Fraction(1, 10)
    momentum: Fraction = Fraction(0)
    batch_size: int = 32
    epochs: int = 5
    loss: Literal["sparse_categorical_crossentropy"] = "sparse_categorical_crossentropy"

    def planned_steps(self, examples: int) -> int:
        """Optimizer steps for ``examples`` examples: ceil(examples / batch) * epochs (DESIGN 4, credit)."""
        return -(-examples // self.batch_size) * self.epochs


@dataclass(frozen=True, slots=True)
class Consolidation:
    """Elastic Weight Consolidation (Kirkpatrick 2017; online form, Schwarz 2018)."""

    strength: Fraction = Fraction(10)  # lambda of the penalty lambda/2 * sum F (theta - theta*)^2; 0 turns it off
    decay: Fraction = Fraction(9, 10)  # gamma: F <- floor(gamma F) + combination
    combine: Literal["median", "trimmed_mean"] = "median"
    trim: int = 0  # updates dropped at each end of a coordinate by trimmed_mean
    examples: int = 256  # most examples that a client measures its importance on


@dataclass(frozen=True, slots=True)
class CreditRule:
    """Credit = min(recorded ms, floor(steps * reference_millis_per_step * kappa))."""

    reference_millis_per_step: Fraction = Fraction(5)
    kappa: Fraction = Fraction(4)


@dataclass(frozen=True, slots=True)
class Feedback:
    """Client-side error feedback: the rounding residual is clipped at ``clip_steps`` grid steps and dropped after ``drop_after`` missed rounds."""

    clip_steps: int = 32_767
    drop_after: int = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest artifacts in bytes, all files of the directory together."""

    model_bytes: int = 512 * 1024 * 1024
    update_bytes: int = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Task:
    """The fixed terms of a federation."""

    name: str
    merge: MergeRule = MergeRule()
    delta_type: DeltaType = "int16"
    training: Training = Training()
    consolidation: Consolidation = Consolidation()
    credit: CreditRule = CreditRule()
    feedback: Feedback = Feedback()
    limits: Limits = Limits()
    min_updates: int = 1  # fewer accepted updates merge nothing: the model stays the base
    publication_seconds: int = 60  # p: bytes may be published this long after training closes
    rederivation_margin_seconds: int = 60  # time an auditor needs after p, within the challenge window
    retention_seconds: int | None = None  # how long accepted updates are kept; None is for ever
