"""Attack: mallory posts under many accounts, each a step apart from the last so that none is a duplicate.

Verdict: copies are refused. Accounts that differ are updates like others, so a rule holds as long as they are no more than
it bears, and falls to one more: how many accounts a person has is for admission to decide. Under a list, accounts that are
not on it have no proof to join with; under standing, accounts without a past are refused (``low-standing``) and earn nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from processor.round import Derivation
from protocol.admission import AdmissionList, AdmissionProof, NotAdmitted
from protocol.merge_terms import Standing
from protocol.past import Past
from tests.attacks.crowd import HONEST, RULES, crowd, is_between, moved, progress, scaled
from tests.attacks.verdicts import verdict_of
from tests.processor.factory import TinyRound, account
from tests.processor.robust_rounds import with_change

ACCOUNTS = [f"mallory {k}" for k in range(12)]


def post_as_many(ring: TinyRound, count: int) -> None:
    """One hostile change, turned against the crowd and three times as long, posted by ``count`` accounts, each a step apart."""
    for k, name in enumerate(ACCOUNTS[:count]):
        update = scaled(ring, "mallory", -3)
        tensor, steps = next(iter(update.deltas.items()))
        ring.post(name, replace(with_change(update, ring.base, tensor, steps + k), author=account(name)))


@pytest.mark.parametrize(("rule", "terms", "bears"), RULES)
def test_as_many_as_the_rule_bears_move_nothing(rule: str, terms: Mapping[str, Any], bears: int) -> None:
    ring, honest = crowd(rule, terms)
    post_as_many(ring, bears)

    derivation = ring.derive()

    assert [verdict_of(derivation, name).verdict for name in ACCOUNTS[:bears]] == ["accepted"] * bears
    assert is_between(ring, moved(ring, derivation), honest)


def test_more_than_half_are_the_median() -> None:
    ring, honest = crowd("median", {})
    post_as_many(ring, len(HONEST) + 1)

    assert progress(ring, ring.derive(), honest) < -2


def test_copies_are_one() -> None:
    ring, honest = crowd("median", {})
    update = scaled(ring, "mallory", -3)
    for name in ACCOUNTS:
        ring.post(name, replace(update, author=account(name)))

    derivation = ring.derive()

    assert [verdict_of(derivation, name).rule for name in ACCOUNTS] == ["", *["duplicate-delta"] * 11]
    assert is_between(ring, moved(ring, derivation), honest)


def test_a_list_admits_no_account_that_is_not_on_it() -> None:
    ring, _ = crowd("median", {})
    admitted = AdmissionList.of([account(name) for name in HONEST])
    borrowed = admitted.proof(ring.federation, account("alice"))

    for name in ACCOUNTS:
        with pytest.raises(NotAdmitted):
            admitted.proof(ring.federation, account(name))
        assert not AdmissionProof(ring.federation, admitted.root, account(name), borrowed.siblings).is_valid
    assert borrowed.is_valid


def test_accounts_without_a_past_are_refused_where_standing_admits() -> None:
    ring, honest = crowd("median", {})
    ring.task = replace(ring.task, standing=Standing(use="admit", least=1))
    post_as_many(ring, len(ACCOUNTS))

    derivation: Derivation = ring.derive(past=Past(standing={account(name): 500 for name in HONEST}))

    assert {verdict_of(derivation, name).rule for name in ACCOUNTS} == {"low-standing"}
    assert all(verdict_of(derivation, name).reward == 0 for name in ACCOUNTS)
    assert is_between(ring, moved(ring, derivation), honest)
