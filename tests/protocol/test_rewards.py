"""Credit and reward: floors are exact, and nothing rounds up."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.merkle import leaf
from protocol.rewards import floor_credit_millis, reward, rewards_tree
from protocol.task import CreditRule
from tests.protocol.samples import ALICE, BOB, ROUND

ratios = st.fractions(0, 1000, max_denominator=1000)


@pytest.mark.parametrize(
    ("recorded", "steps", "reference", "kappa", "credit"),
    [
        (1000, 50, "5", "4", 1000),  # a fast client is paid what it recorded
        (1001, 50, "5", "4", 1000),  # a slow one up to kappa times the reference
        (10**9, 3, "1/3", "1", 1),
        (10**9, 1, "2/3", "3/2", 1),
        (10**9, 7, "1/10", "9/7", 0),  # 9/10 floors to nothing
        (0, 50, "5", "4", 0),
        (1000, 50, "5", "0", 0),
        ((1 << 40) - 1, (1 << 53) - 1, "1000000", "1000000", (1 << 40) - 1),
    ],
)
def test_credit(recorded: int, steps: int, reference: str, kappa: str, credit: int) -> None:
    rule = CreditRule(Fraction(reference), Fraction(kappa))
    assert floor_credit_millis(recorded, steps, rule) == credit


@given(st.integers(0, (1 << 40) - 1), st.integers(0, 1 << 40), ratios, ratios)
def test_credit_is_the_floor_of_the_smaller(recorded: int, steps: int, reference: Fraction, kappa: Fraction) -> None:
    credit = floor_credit_millis(recorded, steps, CreditRule(reference, kappa))
    smaller = min(Fraction(recorded), steps * reference * kappa)
    assert credit <= smaller < credit + 1


def test_reward_is_exactly_rate_times_credit() -> None:
    assert reward(1000, 7 * 10**18) == 7000 * 10**18
    assert reward(0, 7) == 0
    assert reward((1 << 40) - 1, (1 << 56) - 1) == ((1 << 40) - 1) * ((1 << 56) - 1)


def test_the_tree_leaves_out_who_earned_nothing() -> None:
    assert rewards_tree(ROUND, [(ALICE, 5), (BOB, 0)]).leaves == (leaf(ROUND, ALICE, 5),)
