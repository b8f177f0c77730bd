"""A model that the organization states instead of a recomputed one (rule "distilled"): what it must be to be taken.

Its weights are the organization's word. All else is recomputed, so a stated model differs from the round's mean in its
mantissas alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from protocol.committee import CommitteeManifest
from protocol.errors import ArtifactRefused, WrongField, WrongFiles, WrongTensor
from protocol.model import Model
from protocol.types import Digest

# In the order in which they are named where they differ.
_SAME = ("architecture", "round", "parents", "specs", "anchor", "server_state", "committee")


def is_stated(rule: str) -> bool:
    """Whether the merge rule ``rule`` leaves the model to the organization's word."""
    return rule == "distilled"


@dataclass(frozen=True, slots=True)
class Demand:
    """What a round demands of a stated model.

    Args:
        mean: What the updates merge to; a stated model has all of it but the weights.
        committee: The one that ``mean`` names, from which the organization distils.
    """

    mean: Model
    committee: CommitteeManifest


def taken(stated: tuple[Digest, Model] | None, demand: Demand) -> Model | None:
    """Return the stated model where there is one that fits ``demand``, else None: then the base stays."""
    if stated is None:
        return None
    try:
        check_stated(stated[1], demand.mean)
    except ArtifactRefused:
        return None
    return stated[1]


def check_stated(stated: Model, mean: Model) -> None:
    """Refuse a stated model that is not of its round.

    Args:
        stated: A decoded model, so its mantissas lie on its own grids. mean: What the round's updates merge to.

    Raises:
        WrongField: Architecture, round, parents, tensors, anchor, server state or committee are not the mean's.
        WrongTensor: A constant is not. WrongFiles: The importance is not.
    """
    for name in _SAME:
        if getattr(stated, name) != getattr(mean, name):
            raise WrongField(
                f"The stated model has another {name.replace('_', ' ')} than its round demands.",
                "Only its weights are the organization's to choose.",
                "Distil from the round's own mean.",
            )
    if not _same(stated.constants, mean.constants):
        raise WrongTensor(
            "The stated model has other constants than its base.", "Constants are copied.", "Copy the base's."
        )
    if (stated.importance is None) != (mean.importance is None) or not _same(
        stated.importance or {}, mean.importance or {}
    ):
        raise WrongFiles(
            "The stated model has another importance than its round's.",
            "Importance is recomputed, whatever the weights.",
            "Copy the mean's.",
        )


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two sets of tensors are the same to the bit: equal numbers of other dtypes, and 0.0 for -0.0, are not."""
    if one.keys() != other.keys():
        return False
    pairs = ((np.asarray(one[name]), np.asarray(other[name])) for name in one)
    return all(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)
