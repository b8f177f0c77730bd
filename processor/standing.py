"""What a client's standing (protocol.standing) makes of its weight, where a task weighs by it."""

from __future__ import annotations

from protocol.merge_terms import MAX_STANDING_FACTOR

MAX_FACTOR = MAX_STANDING_FACTOR  # of any client: protocol.bounds.check_bounds counts on it
NEUTRAL_FACTOR = 8  # of a client without a past
# Thousandths that move the factor by 1. At a decay of 9/10 four refusals one after another (-3439) leave 2 of 8, five
# (-4095) nothing; one that always agrees by 500 comes to the most within 16 rounds.
FACTOR_STEP = 500


def weight_factor(standing: int) -> int:
    """Return what a client's weight is multiplied by: NEUTRAL + trunc(standing / STEP), from 0 to `MAX_FACTOR`.

    It never falls as ``standing`` (in thousandths) rises, and is `NEUTRAL_FACTOR` at 0. A client whose factor is 0 is
    screened and paid like any other, and its agreement is measured, so that it can come back; nothing is merged of it.
    """
    steps = abs(standing) // FACTOR_STEP
    return max(0, min(MAX_FACTOR, NEUTRAL_FACTOR + (steps if standing > 0 else -steps)))
