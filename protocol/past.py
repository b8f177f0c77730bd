"""What a round goes on from beside its base model, all of it named by the base or by earlier rounds' records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from protocol.committee import CommitteeManifest
from protocol.model import Model
from protocol.tensors import Tensor
from protocol.types import Address, Digest

# Of the server's step, by trainable tensor: int64, in the tensor's shape (protocol.server_state).
Moments = Mapping[str, tuple[Tensor, ...]]


@dataclass(frozen=True)
class Past:
    """What the caller of a derivation has fetched and verified; empty where the task needs nothing of it.

    Args:
        moments: What ``base.server_state`` names; None where the base names none.
        standing: Each client's standing before this round, in thousandths; a client that is not in it has 0.
        committee: What ``base.committee`` names; None likewise.
        stated: The model that the organization states where the rule is "distilled", with its digest; None where there is
            none, or none that can be one.
    """

    moments: Moments | None = None
    standing: Mapping[Address, int] = field(default_factory=dict)
    committee: CommitteeManifest | None = None
    stated: tuple[Digest, Model] | None = None


NOTHING = Past()
