"""A client's standing: what its earlier rounds say of it, from chain and reports alone, in integers, decayed."""

from __future__ import annotations

NEUTRAL_FACTOR = 8  # what the weight of a client without a past is multiplied by, where standing counts as weight
MAX_FACTOR = 16  # of any client: check_bounds counts on it (protocol.task)


def weight_factor(standing: int) -> int:
    """Return what a client's weight is multiplied by, from 0 to `MAX_FACTOR`, `NEUTRAL_FACTOR` at standing 0."""
    raise NotImplementedError
