"""What the organization does with a merged change before it is applied (Reddi et al., *Adaptive Federated Optimization*,
ICLR 2021, alg. 2, and Hsu et al., *Measuring the Effects of Non-Identical Data Distribution*, 2019, FedAvgM), in
integers, with a state that is an artifact and so is audited too.

With D the merged change of a coordinate, all of it coordinate by coordinate, and no correction of the moments' bias:

    plain      x <- x + rate D
    momentum   m <- beta1 m + D                    x <- x + rate m
    adam       m <- beta1 m + (1 - beta1) D        v <- beta2 v + (1 - beta2) D^2
    yogi       m as adam                           v <- v - (1 - beta2) D^2 sign(v - D^2)
    adam, yogi                                     x <- x + rate m / (sqrt(v) + tau)

Both moments begin at 0 (in the paper v begins at tau^2 or more; the divisor is at least tau here too).

Units. D and m are int64 in 2^-8 steps of the tensor's grid (`FRACTION_BITS`), v in their squares, so that sqrt is
`isqrt`. D is the merge's exact fraction after one half-even rounding. Every product with beta is exact and rounded once,
half to even. rate and tau are held as R / 2^k with R < 2^28 (`constant`); those of adam and yogi are in the weights'
units, so first divided by the grid step 2^E. What the base is moved by is again an exact fraction, rounded once.

Bounds. |D| <= 2^30, clipped there: a change is below 2^22 steps under every rule (SPECIFICATION A6).
m: of momentum clipped at 2^33, which is 2^25 steps, where any coordinate saturates; of adam and yogi it lies between the
old m and D, so |m| <= 2^33, which is all that a state may hold. v: of adam between the old v and D^2 <= 2^60; of yogi it grows only from
below D^2, and then by at most D^2, so v < 2^61. Then |D^2 - v| < 2^62, which `mul_half_even` takes, and sqrt(v) < 2^31.
Fractions: |m R| < 2^33 2^28 = 2^61; (sqrt(v) + tau) 2^k < (2^31 + 2^31) 2^30 = 2^62.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from processor.blocks import Span
from processor.isqrt import isqrt
from processor.merge import Part, join
from protocol.errors import ArithmeticRefused
from protocol.fixed_point import mul_half_even, round_half_even_div, saturate
from protocol.merge_terms import ServerStep
from protocol.past import Moments
from protocol.server_state import FIRST_LIMIT, FRACTION_BITS, MOMENTS
from protocol.specs import TensorSpec, trainable_specs
from protocol.tensors import read_span

LARGEST_CHANGE = 1 << 22 + FRACTION_BITS
CONSTANT_BITS = 28
MOST_SHIFT = 30
WIDTH = 1 << 14  # coordinates that are stepped at once: what is between stays in a processor's cache
LARGEST_TAU = 1 << 31  # in 2^-8 steps: half of the grid's range

Values = NDArray[np.int64]


class Step(Protocol):
    """One of the four; pure functions of one span."""

    @property
    def moments(self) -> int:
        """How many moments it has a coordinate: 0, 1 or 2."""
        ...

    def apply(self, part: Part, before: tuple[Values, ...], grid: int) -> tuple[Part, tuple[Values, ...]]:
        """Return what the base is moved by, and the moments after.

        Args:
            part: The merged change. before: The moments of these coordinates. grid: E of their tensor.
        """
        ...


@dataclass(frozen=True, slots=True)
class PlainStep:
    """x <- x + rate D; with rate 1 the merge's own fraction, unchanged."""

    rate: Fraction
    moments = 0

    def apply(self, part: Part, before: tuple[Values, ...], grid: int) -> tuple[Part, tuple[Values, ...]]:
        """As `Step.apply`."""
        return (part if self.rate == 1 else _times(fixed(part), self.rate)), ()


@dataclass(frozen=True, slots=True)
class MomentumStep:
    """m <- beta1 m + D, x <- x + rate m."""

    rate: Fraction
    beta1: Fraction
    moments = 1

    def apply(self, part: Part, before: tuple[Values, ...], grid: int) -> tuple[Part, tuple[Values, ...]]:
        """As `Step.apply`."""
        first = saturate(mul_half_even(before[0], self.beta1) + fixed(part), FIRST_LIMIT)[0]
        return _times(first, self.rate), (first,)


@dataclass(frozen=True, slots=True)
class AdaptiveStep:
    """x <- x + rate m / (sqrt(v) + tau), with v of adam or of yogi."""

    rate: Fraction
    beta1: Fraction
    beta2: Fraction
    tau: Fraction
    yogi: bool
    moments = 2

    def apply(self, part: Part, before: tuple[Values, ...], grid: int) -> tuple[Part, tuple[Values, ...]]:
        """As `Step.apply`."""
        change, (first, second) = fixed(part), before
        first = first + mul_half_even(change - first, 1 - self.beta1)
        squares = change * change
        if self.yogi:
            second = second + np.sign(squares - second) * mul_half_even(squares, 1 - self.beta2)
        else:
            second = second + mul_half_even(squares - second, 1 - self.beta2)
        rate, shift = _rate(self.rate, grid)
        divisor = (isqrt(second) + _tau(self.tau, grid)) << shift
        return Part(first * np.int64(rate), divisor), (first, second)


def step_of(terms: ServerStep) -> Step:
    """Return the step that ``terms`` names."""
    if terms.step == "plain":
        return PlainStep(terms.rate)
    if terms.step == "momentum":
        return MomentumStep(terms.rate, terms.beta1)
    return AdaptiveStep(terms.rate, terms.beta1, terms.beta2, terms.tau, terms.step == "yogi")


def check_step(terms: ServerStep, specs: Iterable[TensorSpec]) -> None:
    """Refuse constants that cannot be held on the grids of ``specs``, before a round is launched for them.

    Raises:
        ArithmeticRefused: A beta's denominator is 2^31 or more; the rate is less than 2^-31 or 2^28 and more (of adam and
            yogi: in grid steps); tau is 2^23 grid steps or more, which is half of the grid's range.
    """
    for beta in (terms.beta1, terms.beta2):
        if beta.denominator >= 1 << 31:
            raise ArithmeticRefused(
                f"The server step's {beta} cannot be held.", "A denominator is below 2^31.", "Use fewer digits."
            )
    if terms.step in ("plain", "momentum"):
        constant(terms.rate, "rate")
        return
    for spec in trainable_specs(specs):
        _rate(terms.rate, spec.grid)
        _tau(terms.tau, spec.grid)


class ServerMoments:
    """One round's steps: the state before, and the state after as spans fill it in.

    Threads may call `step` for disjoint spans at once.

    Args:
        specs: Those of the base. before: Its moments; None at the beginning, where all are 0.

    Raises:
        ArithmeticRefused: As `check_step`.
    """

    def __init__(self, terms: ServerStep, specs: Iterable[TensorSpec], before: Moments | None) -> None:
        trainable = trainable_specs(specs)
        check_step(terms, trainable)
        self._step, self._before = step_of(terms), before
        self._after = {
            spec.name: tuple(np.zeros(spec.shape, np.int64) for _ in range(MOMENTS[terms.step])) for spec in trainable
        }

    @property
    def after(self) -> Moments | None:
        """The moments after the round, complete once every span was stepped; None for a step that has none."""
        return self._after if self._step.moments else None

    def step(self, span: Span, part: Part) -> Part:
        """Return what the base is moved by in ``span``, and note its moments."""
        if self._step == PlainStep(Fraction(1)):
            return part
        return join([self._step_piece(piece, _cut(part, span, piece)) for piece in span.cut(WIDTH)])

    def _step_piece(self, span: Span, part: Part) -> Part:
        after = self._after[span.name]
        if self._before is None:
            before = tuple(np.zeros(span.size, np.int64) for _ in after)
        else:
            # the bytes of a file are little-endian on every machine
            stored = (read_span(moment, span.start, span.stop) for moment in self._before[span.name])
            before = tuple(moment.astype(np.int64) for moment in stored)
        stepped, moments = self._step.apply(part, before, span.grid)
        for whole, values in zip(after, moments, strict=True):
            whole.reshape(-1)[span.start : span.stop] = values
        return stepped


def _cut(part: Part, span: Span, piece: Span) -> Part:
    """The part of ``piece``, which lies within ``span``, whose part is given."""
    cut = slice(piece.start - span.start, piece.stop - span.start)
    denominator = part.denominator if isinstance(part.denominator, int) else part.denominator[cut]
    return Part(part.numerators[cut], denominator)


def fixed(part: Part) -> Values:
    """Return the change in 2^-8 grid steps: one half-even rounding of the exact fraction, clipped at ±2^30.

    With n = q d + r, 0 <= r < d, it is q 2^8 + r 2^8 / d rounded. q 2^8 is even, so the ties of the fraction are those of
    the whole. |q| is clipped at 2^22 first, which changes no result that is not clipped itself. r 2^8 < 2^63 because
    d < 2^55; a larger d is refused.
    """
    largest = part.denominator if isinstance(part.denominator, int) else int(part.denominator.max(initial=1))
    if largest >= 1 << 55:
        raise ArithmeticRefused(
            f"A merged change has the denominator {largest}.", "A server step takes less than 2^55."
        )
    by = np.asarray(part.denominator, np.int64)
    quotients: Values = np.floor_divide(part.numerators, by)
    fractions = round_half_even_div((part.numerators - quotients * by) << FRACTION_BITS, part.denominator)
    most = LARGEST_CHANGE >> FRACTION_BITS
    whole = np.clip(quotients, np.int64(-most - 1), np.int64(most)) * np.int64(1 << FRACTION_BITS)
    return saturate(whole + fractions, LARGEST_CHANGE)[0]


def constant(value: Fraction, what: str) -> tuple[int, int]:
    """Return (R, k) such that R / 2^k is ``value`` rounded half to even, with the most bits that R < 2^28, k <= 30 allow.

    Raises:
        ArithmeticRefused: ``value``, called ``what`` in the error, is 2^28 or more, or rounds to 0.
    """
    shift = MOST_SHIFT
    while shift >= 0:
        significand = round_half_even_div(value.numerator << shift, value.denominator)
        if significand < 1 << CONSTANT_BITS:
            break
        shift -= 1
    if shift < 0 or not significand:
        raise ArithmeticRefused(
            f"The server step's {what} is {float(value):.3g}, which cannot be held.",
            f"It lies above 2^-{MOST_SHIFT + 1} and below 2^{CONSTANT_BITS}.",
            "Change it in the task, or snap the first model to another grid.",
        )
    return significand, shift


def _rate(rate: Fraction, grid: int) -> tuple[int, int]:
    return constant(rate / Fraction(2) ** grid, f"rate in steps of 2^{grid}")


def _tau(tau: Fraction, grid: int) -> np.int64:
    """Return tau in 2^-8 grid steps, rounded half to even, at least 1."""
    scaled = tau * (1 << FRACTION_BITS) / Fraction(2) ** grid
    found = max(1, round_half_even_div(scaled.numerator, scaled.denominator))
    if found >= LARGEST_TAU:
        raise ArithmeticRefused(
            f"The server step's tau is {float(tau):.3g}, on a grid of steps of 2^{grid}.",
            "It is less than 2^23 steps, half of the grid's range.",
            "Lower tau in the task.",
        )
    return np.int64(found)


def _times(values: Values, rate: Fraction) -> Part:
    significand, shift = constant(rate, "rate")
    return Part(values * np.int64(significand), 1 << FRACTION_BITS + shift)
