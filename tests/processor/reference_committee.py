"""The committee by hand: one Python integer at a time, rounds as lists of lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from protocol.model import Model
from protocol.update import Update

TOP = (1 << 24) - 1


def member_weights(base: Model, update: Update) -> Mapping[str, list[Fraction]]:
    """Each weight of base + update as an exact rational, saturated at the grid's range, flat in C order."""
    found = {}
    for spec in base.specs:
        if spec.exponent is None:
            continue
        step = Fraction(2) ** spec.exponent
        before = [Fraction(int(q)) * step for q in base.mantissas[spec.name].reshape(-1)]
        unit = Fraction(2) ** update.exponents[spec.name]
        change = [Fraction(int(q)) * unit for q in update.deltas[spec.name].reshape(-1)]
        found[spec.name] = [max(-TOP * step, min(TOP * step, a + b)) for a, b in zip(before, change, strict=True)]
    return found


def last_rounds(rounds: Sequence[Mapping[str, int]], keep: int) -> list[tuple[int, str, int]]:
    """(round, client, weight) of the last ``keep`` of ``rounds`` that took part, by round and client; rounds count from 1."""
    taking_part = [
        [
            (number, client, weight)
            for client, weight in sorted(weights.items(), key=lambda item: item[0].lower())
            if weight > 0
        ]
        for number, weights in enumerate(rounds, start=1)
    ]
    return [one for members in [found for found in taking_part if found][-keep:] for one in members]
