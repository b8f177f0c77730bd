"""An update: the quantised change of one client's weights, optional importance, and metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocol.types import Address, Digest, FederationId, RoundId


@dataclass(frozen=True)
class Update:
    """An update artifact in memory.

    Args:
        federation, round, author, base: What it belongs to; ``author`` is the account that commits it on chain.
        examples: Examples trained on. steps: Optimizer steps done.
        software: Free text, at most 200 ASCII characters.
        exponents: e of each trainable and statistic tensor; change = delta * 2^e, 0 <= e - E <= the dtype's window.
        deltas: int8, int16 or int32, one for each trainable and statistic tensor of the base.
        importance: uint8 for each trainable tensor, or None. importance_exponents: value = u8 * 2^exponent.
    """

    federation: FederationId
    round: RoundId
    author: Address
    base: Digest
    examples: int
    steps: int
    software: str
    exponents: Mapping[str, int]
    deltas: Mapping[str, NDArray[np.signedinteger]]
    importance: Mapping[str, NDArray[np.uint8]] | None = None
    importance_exponents: Mapping[str, int] | None = None
