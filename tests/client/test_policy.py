"""What a client agrees to, term by term."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from client.policy import Policy, RoundRefused, check_base, check_round, pay_line
from network.memory_chain import MemoryChain
from network.memory_ledger import MemoryLedger
from protocol.state import FederationState, RoundState
from protocol.task import CreditRule, Task
from protocol.terms import FederationTerms
from protocol.types import ZERO_HASH, Digest, Hash
from tests.client.world import ACME, ALICE, CAROL, FORFEITS, TERMS, TOKEN
from tests.processor.factory import tiny_model

TASK = Task("terms", publication_seconds=30, rederivation_margin_seconds=60)


def launched(*, audited: bool, **change: Any) -> tuple[RoundState, FederationState]:
    ledger = MemoryLedger()
    ledger.mint(TOKEN, ACME, 10**15)
    auditors = (CAROL,) if audited else ()
    chain = MemoryChain(ledger, ACME)
    terms = FederationTerms(TOKEN, Digest(b"\1" * 32), Digest(b"\2" * 32), FORFEITS, len(auditors), ZERO_HASH, auditors)
    federation = chain.create_federation(Hash(bytes(32)), terms)
    round_id = chain.launch_round(federation, terms.model, replace(TERMS, **change))
    state = ledger.state()
    return state.rounds[round_id], state.federations[federation]


def check(
    *, audited: bool = True, task: Task = TASK, allow_unpaid: bool = False, examples: int = 60, **change: Any
) -> None:
    round_, federation = launched(audited=audited, **change)
    check_round(round_, federation, task, ALICE, examples, Policy(allow_unpaid=allow_unpaid))


# --- pay ---


@pytest.mark.parametrize("audited", [True, False])
def test_a_rate_of_nothing_is_refused(audited: bool) -> None:
    with pytest.raises(RoundRefused, match=r"0 base units.*--allow-unpaid"):
        check(audited=audited, reward_per_milli=0)
    check(audited=audited, reward_per_milli=1)
    check(audited=audited, reward_per_milli=0, allow_unpaid=True)


def test_silence_that_pays_nothing_is_refused_where_there_are_auditors() -> None:
    with pytest.raises(RoundRefused, match="by time"):
        check(time_cap_millis=0)
    check(time_cap_millis=1)
    check(time_cap_millis=0, audited=False)  # there the organization's word decides anyhow
    check(time_cap_millis=0, allow_unpaid=True)


@pytest.mark.parametrize(
    "rule",
    [
        CreditRule(kappa=Fraction(0)),
        CreditRule(reference_millis_per_step=Fraction(0)),
        CreditRule(Fraction(1, 1000), Fraction(1, 1000)),  # rounds down to nothing
    ],
)
@pytest.mark.parametrize("audited", [True, False])
def test_a_credit_rule_that_gives_nothing_is_refused(rule: CreditRule, audited: bool) -> None:
    task = replace(TASK, credit=rule)
    with pytest.raises(RoundRefused, match="credit"):
        check(audited=audited, task=task)
    check(audited=audited, task=task, allow_unpaid=True)


def test_the_smallest_credit_is_enough() -> None:
    steps = TASK.training.planned_steps(60)
    check(task=replace(TASK, credit=CreditRule(Fraction(1, steps), Fraction(1))))
    with pytest.raises(RoundRefused, match="credit"):
        check(task=replace(TASK, credit=CreditRule(Fraction(1, steps + 1), Fraction(1))))


def test_what_is_paid_is_said_in_one_line() -> None:
    round_, federation = launched(audited=True)
    receiver = federation.terms.forfeit_to
    assert pay_line(round_, federation) == (
        "3 base units per ms for up to 60000 ms, by time alone for up to 1000 ms; bond 50 base units,"
        f" forfeited to {receiver}"
    )
    own = replace(federation, terms=replace(federation.terms, forfeit_to=federation.organization))
    assert pay_line(round_, own).endswith(
        f"{federation.organization}, the organization itself: it loses nothing by silence"
    )
    [auditor, *_] = federation.terms.auditors
    auditors = replace(federation, terms=replace(federation.terms, forfeit_to=auditor))
    assert pay_line(round_, auditors).endswith(f"{auditor}, an auditor that decides over it")


# --- windows ---


@pytest.mark.parametrize("audited", [True, False])
def test_publication_must_fit_before_the_settlement_ends_whoever_decides(audited: bool) -> None:
    with pytest.raises(RoundRefused, match="settlement window"):
        check(audited=audited, settlement_seconds=30)
    check(audited=audited, settlement_seconds=31)


def test_auditors_need_their_time_only_where_there_are_any() -> None:
    with pytest.raises(RoundRefused, match="challenge window"):
        check(challenge_seconds=90)
    check(challenge_seconds=91)
    check(challenge_seconds=90, audited=False)


def test_being_unpaid_by_choice_waives_no_other_term() -> None:
    with pytest.raises(RoundRefused, match="settlement window"):
        check(settlement_seconds=30, allow_unpaid=True)


def test_a_policy_refuses_everything_unusual_unless_told_otherwise() -> None:
    policy = Policy()
    assert (policy.allow_unaudited, policy.allow_unpaid, policy.trusted_auditors) == (False, False, frozenset())


@pytest.mark.parametrize("name", ["server_state", "committee"])
def test_a_first_model_that_names_what_only_rounds_make_is_not_trained(name: str) -> None:
    named = replace(tiny_model(), **{name: Digest(bytes(32))})
    with pytest.raises(RoundRefused, match="first model"):
        check_base(named)
    check_base(replace(named, round=3))
    check_base(tiny_model())
