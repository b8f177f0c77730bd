"""The server's step once more, slow and plain: one coordinate at a time, in exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction

from protocol.merge_terms import ServerStep

UNITS, LARGEST_CHANGE, LARGEST_VELOCITY = 256, 1 << 30, 1 << 33
Moments = tuple[int, ...]


def in_units(change: Fraction) -> int:
    """A change in grid steps as a whole number of 2^-8 steps."""
    return max(-LARGEST_CHANGE, min(LARGEST_CHANGE, round(change * UNITS)))


def held(value: Fraction) -> Fraction:
    """The nearest number that 28 bits and at most 30 binary places hold."""
    for places in range(30, -1, -1):
        significand = round(value * 2**places)
        if significand < 2**28:
            return Fraction(significand, 2**places)
    raise ValueError(value)


def start(terms: ServerStep) -> Moments:
    """The moments before the first round."""
    return {"plain": (), "momentum": (0,), "adam": (0, 0), "yogi": (0, 0)}[terms.step]


def step(terms: ServerStep, grid: int, change: Fraction, before: Moments) -> tuple[Fraction, Moments]:
    """What a coordinate on a grid of steps of 2^grid is moved by, in grid steps, and its moments afterwards."""
    if terms.step == "plain":
        return (change if terms.rate == 1 else held(terms.rate) * Fraction(in_units(change), UNITS)), ()
    d = in_units(change)
    if terms.step == "momentum":
        m = max(-LARGEST_VELOCITY, min(LARGEST_VELOCITY, round(terms.beta1 * before[0]) + d))
        return held(terms.rate) * Fraction(m, UNITS), (m,)
    m, v = before
    m += round((1 - terms.beta1) * (d - m))
    if terms.step == "adam":
        v += round((1 - terms.beta2) * (d * d - v))
    elif d * d > v:
        v += round((1 - terms.beta2) * d * d)
    elif d * d < v:
        v -= round((1 - terms.beta2) * d * d)
    tau = max(1, round(terms.tau * UNITS / Fraction(2) ** grid))
    return held(terms.rate / Fraction(2) ** grid) * m / (math.isqrt(v) + tau), (m, v)
