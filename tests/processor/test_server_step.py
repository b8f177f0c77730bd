"""The server's step, against exact fractions: one coordinate at a time, over several rounds, at the edges of its bounds."""

from __future__ import annotations

from fractions import Fraction
from itertools import chain
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.blocks import Span, spans
from processor.merge import Part, moved
from processor.runs import Run, Threads, serial
from processor.server_step import ServerMoments, check_step, constant, fixed, step_of
from protocol.errors import ArithmeticRefused
from protocol.merge_terms import ServerStep, Step
from protocol.server_state import FIRST_LIMIT, MOMENTS, SECOND_LIMIT
from protocol.specs import TensorClass, TensorSpec
from tests.processor import reference_steps

STEPS = get_args(Step)
MOST_CHANGE = (1 << 22) - 1  # of any rule, in grid steps

# denominators as merges have them: below 2^41, one for all or one a coordinate
denominators = st.integers(1, (1 << 41) - 1)
fractions_of_steps = st.builds(
    lambda denominator, steps, rest: (
        min(steps * denominator + rest % denominator, MOST_CHANGE * denominator),
        denominator,
    ),
    denominators,
    st.integers(-MOST_CHANGE, MOST_CHANGE - 1) | st.integers(-3, 3),
    st.integers(0, 1 << 41),
)
betas = st.fractions(0, 1, max_denominator=(1 << 31) - 1).filter(lambda beta: beta < 1)
terms = st.builds(
    ServerStep,
    step=st.sampled_from(STEPS),
    rate=st.fractions(Fraction(1, 1000), 10, max_denominator=10**6),
    beta1=betas,
    beta2=betas,
    tau=st.fractions(Fraction(1, 10**6), Fraction(1, 10), max_denominator=10**6),
)


def part_of(fraction: tuple[int, int], as_array: bool = False) -> Part:
    numerator, denominator = fraction
    return Part(np.array([numerator]), np.array([denominator]) if as_array else denominator)


# --- refusals ---


@pytest.mark.parametrize("step", STEPS)
def test_refuses_betas_whose_products_would_overflow(step: Step) -> None:
    spec = TensorSpec("00000.w", (1,), TensorClass.TRAINABLE, -20)
    for name in ("beta1", "beta2"):
        with pytest.raises(ArithmeticRefused, match="denominator"):
            check_step(ServerStep(step, **{name: Fraction(1, 1 << 31)}), [spec])  # type: ignore[arg-type]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("rate", "grid"), [(Fraction(1 << 28), 0), (Fraction(1, 1 << 32), 0)])
def test_refuses_rates_that_no_constant_holds(step: Step, rate: Fraction, grid: int) -> None:
    spec = TensorSpec("00000.w", (1,), TensorClass.TRAINABLE, grid)
    with pytest.raises(ArithmeticRefused, match="rate"):
        check_step(ServerStep(step, rate), [spec])


def test_the_rate_of_adam_is_in_the_weights_units() -> None:
    """What a coarse grid holds, a fine one may not: 2^-10 is 2^15 steps of 2^-25, and 2^30 of 2^-40."""
    coarse, fine = (TensorSpec("00000.w", (1,), TensorClass.TRAINABLE, grid) for grid in (-25, -40))
    tiny_tau = ServerStep("adam", Fraction(1, 1 << 10), tau=Fraction(1, 1 << 30))
    check_step(tiny_tau, [coarse])
    check_step(ServerStep("plain", Fraction(1, 1 << 10)), [fine])
    with pytest.raises(ArithmeticRefused, match=r"steps of 2\^-40"):
        check_step(tiny_tau, [coarse, fine])


def test_refuses_a_tau_of_half_the_grid() -> None:
    spec = TensorSpec("00000.w", (1,), TensorClass.TRAINABLE, -20)
    check_step(ServerStep("yogi", tau=Fraction((1 << 23) - 1, 1 << 20)), [spec])
    with pytest.raises(ArithmeticRefused, match="tau"):
        check_step(ServerStep("yogi", tau=Fraction(1 << 23, 1 << 20)), [spec])


def test_refuses_denominators_that_no_merge_has() -> None:
    for denominator in (1 << 55, np.array([1, 1 << 55])):
        with pytest.raises(ArithmeticRefused, match="denominator"):
            fixed(Part(np.array([1, 1]), denominator))


# --- against the reference ---


@given(fractions_of_steps, st.booleans())
def test_a_change_in_units_is_rounded_once(fraction: tuple[int, int], as_array: bool) -> None:
    assert fixed(part_of(fraction, as_array)).tolist() == [reference_steps.in_units(Fraction(*fraction))]


@given(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(1, (1 << 55) - 1))
def test_a_change_in_units_is_exact_for_every_int64(numerator: int, denominator: int) -> None:
    assert fixed(part_of((numerator, denominator))).tolist() == [
        reference_steps.in_units(Fraction(numerator, denominator))
    ]


def test_ties_go_to_even_units() -> None:
    halves = [Fraction(odd, 512) for odd in (-5, -3, -1, 1, 3, 5)]
    found = fixed(Part(np.array([half.numerator for half in halves]), 512))
    assert found.tolist() == [-2, -2, 0, 0, 2, 2]


@given(st.fractions(Fraction(1, 1 << 30), (1 << 28) - 1))
def test_constants_have_28_bits(value: Fraction) -> None:
    significand, shift = constant(value, "rate")
    assert Fraction(significand, 1 << shift) == reference_steps.held(value)
    assert 0 < significand < 1 << 28 and 0 <= shift <= 30
    if value >= 1:
        assert abs(Fraction(significand, 1 << shift) - value) <= value / (1 << 27)


@given(terms, st.lists(fractions_of_steps, min_size=1, max_size=6), st.integers(-26, -18), st.booleans())
def test_rounds_in_a_row(terms: ServerStep, changes: list[tuple[int, int]], grid: int, as_array: bool) -> None:
    step, moments = step_of(terms), tuple(np.zeros(1, np.int64) for _ in range(MOMENTS[terms.step]))
    expected = reference_steps.start(terms)
    for change in changes:
        part, moments = step.apply(part_of(change, as_array), moments, grid)
        moved, expected = reference_steps.step(terms, grid, Fraction(*change), expected)
        assert tuple(int(moment[0]) for moment in moments) == expected
        numerator, denominator = int(part.numerators[0]), np.asarray(part.denominator, np.int64).reshape(-1)[0]
        assert Fraction(numerator, int(denominator)) == moved


@pytest.mark.parametrize("denominator", [7, np.array([7, 3])])
def test_plain_with_rate_1_is_the_merge_itself(denominator: int) -> None:
    part = Part(np.array([5, -(1 << 62)]), denominator)
    assert step_of(ServerStep()).apply(part, (), -20) == (part, ())


# --- the bounds that the proofs state ---


@pytest.mark.parametrize("step", ["momentum", "adam", "yogi"])
@pytest.mark.parametrize("beta", [Fraction(0), Fraction(999_999, 1_000_000), Fraction((1 << 31) - 2, (1 << 31) - 1)])
@pytest.mark.parametrize("pattern", [(1,), (-1,), (1, -1), (1, 1, 1, 0)])
def test_the_largest_changes_for_ever_stay_inside_the_bounds(
    step: Step, beta: Fraction, pattern: tuple[int, ...]
) -> None:
    grid, worst = -24, ServerStep(step, Fraction(8), beta, beta, Fraction(1, 10**6))
    moments, expected = tuple(np.zeros(1, np.int64) for _ in range(MOMENTS[step])), reference_steps.start(worst)
    for sign in pattern * 20:
        change = (sign * ((1 << 63) - 1), (1 << 41) - 1)
        part, moments = step_of(worst).apply(part_of(change), moments, grid)
        moved, expected = reference_steps.step(worst, grid, Fraction(*change), expected)
        denominator = np.asarray(part.denominator, np.int64).reshape(-1)[0]
        assert Fraction(int(part.numerators[0]), int(denominator)) == moved
        assert tuple(int(moment[0]) for moment in moments) == expected


@pytest.mark.parametrize("step", ["momentum", "adam", "yogi"])
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_state_that_an_artifact_may_hold_overflows_nothing(step: Step, sign: int) -> None:
    terms = ServerStep(step, Fraction(8), tau=Fraction(1, 10**6))
    largest = (sign * FIRST_LIMIT, SECOND_LIMIT - 1)[: MOMENTS[step]]
    for change in (((1 << 63) - 1, 1 << 41), (-(1 << 63), 1 << 41), (0, 1)):
        part, moments = step_of(terms).apply(part_of(change), tuple(np.array([one]) for one in largest), -24)
        moved, expected = reference_steps.step(terms, -24, Fraction(*change), largest)
        denominator = np.asarray(part.denominator, np.int64).reshape(-1)[0]
        assert Fraction(int(part.numerators[0]), int(denominator)) == moved
        assert tuple(int(moment[0]) for moment in moments) == expected
        assert abs(expected[0]) <= FIRST_LIMIT and expected[-1 if len(expected) > 1 else 0] * sign**2 + FIRST_LIMIT >= 0


# --- spans ---

SPECS = (
    TensorSpec("00000.a", (7, 50), TensorClass.TRAINABLE, -20),
    TensorSpec("00001.b", (11,), TensorClass.TRAINABLE, -24),
    TensorSpec("00002.c", (3,), TensorClass.STATISTIC, -18),
)


@pytest.mark.parametrize("step", ["momentum", "adam", "yogi"])
@pytest.mark.parametrize(("width", "run"), [(1, serial), (13, Threads(3)), (64, Threads(2))])
def test_no_moment_depends_on_how_the_work_is_split(step: Step, width: int, run: Run) -> None:
    random, terms = np.random.default_rng(1), ServerStep(step, Fraction(1, 10))
    shapes = {spec.name: int(np.prod(spec.shape)) for spec in SPECS[:2]}
    changes = {name: random.integers(-(1 << 40), 1 << 40, size) for name, size in shapes.items()}

    def rounds(width: int, run: Run) -> tuple[list[int], list[list[int]]]:
        state = None
        for _ in range(2):
            moments = ServerMoments(terms, SPECS, state)

            def work(span: Span, moments: ServerMoments = moments) -> list[int]:
                part = Part(changes[span.name][span.start : span.stop], 1 << 20)
                return moments.step(span, part).numerators.tolist()  # type: ignore[no-any-return]

            parts = list(run(work, spans(SPECS[:2], width)))
            state = moments.after
        assert state is not None
        found = [np.asarray(moment).reshape(-1).tolist() for values in state.values() for moment in values]
        return list(chain.from_iterable(parts)), found

    assert rounds(width, run) == rounds(1 << 17, serial)


def test_only_trainables_have_moments_in_their_shapes() -> None:
    after = ServerMoments(ServerStep("adam"), SPECS, None).after
    assert after is not None and {name: [one.shape for one in values] for name, values in after.items()} == {
        "00000.a": [(7, 50)] * 2,
        "00001.b": [(11,)] * 2,
    }
    assert ServerMoments(ServerStep(), SPECS, None).after is None


# --- against the paper, in floats ---


@pytest.mark.parametrize("step", ["momentum", "adam", "yogi"])
def test_follows_the_paper_in_floats(step: Step) -> None:
    """Reddi et al. 2021, alg. 2 (FedAvgM: Hsu et al. 2019) in float64 and in the weights' units, over 20 rounds."""
    grid, size, random = -20, 200, np.random.default_rng(3)
    terms = ServerStep(step, Fraction(1, 3) if step == "momentum" else Fraction(1, 100))
    rate, beta1, beta2, tau = map(float, (terms.rate, terms.beta1, terms.beta2, terms.tau))
    drift = random.normal(0, 0.01, size)  # what all rounds have in common
    state, x, m, v = tuple(np.zeros(size, np.int64) for _ in range(MOMENTS[step])), np.zeros(size), 0.0, 0.0
    q = np.zeros(size, np.int32)
    for _ in range(20):
        change = np.rint((drift + random.normal(0, 0.01, size)) / 2.0**grid).astype(np.int64)
        d = change * 2.0**grid
        m = beta1 * m + (d if step == "momentum" else (1 - beta1) * d)
        v = beta2 * v + (1 - beta2) * d**2 if step == "adam" else v - (1 - beta2) * d**2 * np.sign(v - d**2)
        x = x + rate * (m if step == "momentum" else m / (np.sqrt(v) + tau))
        part, state = step_of(terms).apply(Part(change * 1000, 1000), state, grid)
        q, _ = moved(q, part)
    assert np.abs(x).max() > 0.01  # thousands of grid steps
    np.testing.assert_allclose(q * 2.0**grid, x, atol=40 * 2.0**grid, rtol=1e-5)
