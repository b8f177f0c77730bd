"""How finely Fisher-weighted merging counts importance, so that its sums stay inside int64."""

from __future__ import annotations

from protocol.errors import ArithmeticRefused
from protocol.fixed_point import UINT32_MAX, round_half_even_div
from protocol.merge_terms import MergeRule

FRACTION_BITS = 16  # of a rescaled importance (processor.importance)
LARGEST_TOTAL = 1 << 41  # of all weights times importances: times 2^22, the largest change, it stays below 2^63
FEWEST_UNITS = 16  # that the floor must still be: importance is cut off, so a client gains or loses 1/16 at most


def fisher_units(terms: MergeRule) -> tuple[int, int]:
    """Return floor and cap of an importance with 16 fraction bits, rounded half to even; no importance is above 2^32 - 1."""
    scaled = (value * (1 << FRACTION_BITS) for value in (terms.fisher_floor, terms.fisher_cap))
    floor, cap = (round_half_even_div(value.numerator, value.denominator) for value in scaled)
    return floor, min(cap, UINT32_MAX)


def fisher_shift(terms: MergeRule, total_weight: int) -> int:
    """Return the fewest low bits that importances lose so that updates of ``total_weight`` can be merged exactly.

    With s of them, f = (floor + min(F, cap)) >> s is at most (floor + cap) >> s for every update, so that the sum of the
    weights times f is at most total_weight * ((floor + cap) >> s) < 2^41. Less weight never needs more.

    Raises:
        ArithmeticRefused: The floor would keep fewer than 16 units: no number of bits is both few and enough.
    """
    floor, cap = fisher_units(terms)
    shift = 0
    while total_weight * (floor + cap >> shift) >= LARGEST_TOTAL:
        shift += 1
    if floor >> shift < FEWEST_UNITS:
        raise ArithmeticRefused(
            f"Updates of total weight {total_weight} cannot be weighed by importance.",
            f"With {shift} of 16 fraction bits cut off, as sums below 2^63 need it, nothing is left of a floor of "
            f"{terms.fisher_floor} beside a cap of {terms.fisher_cap}.",
            "Raise fisher_floor, or lower fisher_cap, examples_cap or max_updates.",
        )
    return shift
