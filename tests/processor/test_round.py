"""A whole round: what leaves the base, what the merged model is, what is reckoned and reported."""

from __future__ import annotations

import hashlib
from fractions import Fraction

import pytest

from processor.round import facts
from protocol.errors import ArithmeticRefused
from protocol.hashing import result_hash
from protocol.merkle import leaf, verify
from protocol.model import decode_model, encode_model, weights_cid
from protocol.replay import RoundState
from protocol.report import Statement, decode_report, derived_hash, encode_report
from protocol.task import Consolidation, CreditRule, Limits, MergeRule
from protocol.terms import PayBasis, Phase
from protocol.types import ZERO_HASH, Hash
from protocol.unixfs import directory_digest
from tests.processor import reference
from tests.processor.factory import CHAIN_ID, TinyRound, account, saturating_model, tiny_model, tiny_task, tiny_terms

PEOPLE = ["alice", "bob", "carol"]
NOTHING_MERGED = hashlib.sha256(b"").digest()


# --- nothing to merge ---


def test_terms_that_could_overflow_are_refused() -> None:
    ring = TinyRound(task=tiny_task(merge=MergeRule(examples_cap=1 << 25)), terms=tiny_terms(max_updates=1 << 16))

    with pytest.raises(ArithmeticRefused):
        ring.post_all(PEOPLE).derive()


@pytest.mark.parametrize("consolidate", [False, True])
def test_too_few_accepted_updates_leave_the_base_and_keep_their_credit(consolidate: bool) -> None:
    ring = TinyRound(task=tiny_task(min_updates=3), terms=tiny_terms(consolidate=consolidate)).post_all(PEOPLE[:2])
    ring.post("mallory", {})

    derivation = ring.derive()

    assert (derivation.model, derivation.model_files) == (None, None)
    assert derivation.derived.outcome == "too-few-updates"
    assert derivation.derived.model == ring.base_digest
    assert [(one.weight, one.agreement) for one in derivation.derived.updates] == [(95, 0), (95, 0), (0, 0)]
    assert (derivation.derived.merged, derivation.derived.saturated, derivation.derived.consolidated) == (0, 0, False)
    assert derivation.merge_digest == NOTHING_MERGED
    assert [one.credit_millis for one in derivation.derived.updates] == [400, 400, 0]
    assert derivation.derived.rewards_total == 2 * 3 * 400


@pytest.mark.parametrize("consolidate", [False, True])
def test_a_result_over_the_limit_leaves_the_base_and_keeps_the_credit(consolidate: bool) -> None:
    terms = tiny_terms(consolidate=consolidate)
    fits = TinyRound(terms=terms).post_all(PEOPLE).derive()
    assert fits.model_files is not None
    size = sum(map(len, fits.model_files.values()))
    just = tiny_task(limits=Limits(model_bytes=size))
    assert TinyRound(terms=terms, task=just).post_all(PEOPLE).derive().result_hash == fits.result_hash

    over = tiny_task(limits=Limits(model_bytes=size - 1))
    derivation = TinyRound(terms=terms, task=over).post_all(PEOPLE).derive()

    assert (derivation.model, derivation.model_files) == (None, None)
    assert derivation.derived.outcome == "too-large"
    assert [(one.weight, one.agreement) for one in derivation.derived.updates] == [(95, 0)] * 3
    assert derivation.derived.model == derivation.derived.base
    assert (derivation.derived.merged, derivation.derived.saturated, derivation.derived.consolidated) == (0, 0, False)
    assert derivation.merge_digest == NOTHING_MERGED
    assert derivation.derived.rewards_total == fits.derived.rewards_total > 0


def test_a_result_whose_manifest_would_be_too_large_leaves_the_base(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = TinyRound().post_all(PEOPLE)
    monkeypatch.setattr("protocol.model.MAX_MANIFEST_BYTES", 500)

    assert ring.derive().derived.model == ring.base_digest


def test_a_round_of_refused_updates_pays_nothing() -> None:
    ring = TinyRound(task=tiny_task(min_updates=0))
    ring.post("mallory", {})

    derivation = ring.derive()

    assert derivation.model is None
    assert (derivation.derived.rewards_root, derivation.derived.rewards_total) == (ZERO_HASH, 0)


def test_a_client_without_an_update_may_be_called_unavailable() -> None:
    ring = TinyRound().post_all(PEOPLE)

    assert ring.derive(unavailable=["nobody"]).result_hash == ring.derive().result_hash


# --- the merged model ---


def test_the_result_is_the_next_base() -> None:
    ring = TinyRound(index=7).post_all(PEOPLE)

    derivation = ring.derive()

    model, files = derivation.model, derivation.model_files
    assert model is not None
    assert files is not None
    assert (model.round, model.parents, model.architecture) == (7, (ring.base_digest,), ring.base.architecture)
    assert (model.specs, model.importance, model.anchor) == (ring.base.specs, None, None)
    assert derivation.derived.model == directory_digest(files)
    assert encode_model(decode_model(files)) == files
    assert derivation.derived.merged == 3
    assert (derivation.derived.outcome, derivation.derived.stated) == ("merged", False)


@pytest.mark.parametrize("weighting", ["examples", "uniform"])
def test_the_model_equals_the_exact_mean(weighting: str) -> None:
    ring = TinyRound(task=tiny_task(merge=MergeRule(weighting=weighting, examples_cap=1000)))  # type: ignore[arg-type]
    updates = [ring.update(name, examples=n) for name, n in zip(PEOPLE, (3, 1000, 71), strict=True)]
    for name, update in zip(PEOPLE, updates, strict=True):
        ring.post(name, update)

    model = ring.derive().model

    expected, _ = reference.fedavg(ring.base, updates, weighting == "uniform")
    assert model is not None
    assert {name: q.reshape(-1).tolist() for name, q in model.mantissas.items()} == expected


def test_saturated_coordinates_are_reported() -> None:
    ring = TinyRound(base=saturating_model()).post_all(PEOPLE)

    _, expected = reference.fedavg(ring.base, [ring.update(name) for name in PEOPLE])

    assert expected > 0
    assert ring.derive().derived.saturated == expected


def test_importance_and_anchor_are_carried_through_ordinary_rounds() -> None:
    ring = TinyRound(base=tiny_model(consolidated=True)).post_all(PEOPLE)

    derivation = ring.derive()

    assert derivation.model is not None
    assert derivation.model.anchor == ring.base.anchor
    assert derivation.model.importance == ring.base.importance
    assert not derivation.derived.consolidated


@pytest.mark.parametrize("before", [False, True])
def test_consolidation_sets_importance_and_anchor(before: bool) -> None:
    rule = Consolidation(decay=Fraction(2, 3), combine="trimmed_mean", trim=1)
    ring = TinyRound(
        task=tiny_task(consolidation=rule), terms=tiny_terms(consolidate=True), base=tiny_model(consolidated=before)
    ).post_all(PEOPLE)

    derivation = ring.derive()

    assert derivation.derived.consolidated
    assert derivation.model is not None
    assert derivation.model.importance is not None
    assert derivation.model.anchor == str(weights_cid(ring.base))
    found = {name: f.reshape(-1).tolist() for name, f in derivation.model.importance.items()}
    assert found == reference.consolidated(rule, ring.base, [ring.update(name) for name in PEOPLE])


def test_too_few_updates_to_trim_leave_importance_and_anchor() -> None:
    rule = Consolidation(combine="trimmed_mean", trim=2)
    ring = TinyRound(
        task=tiny_task(consolidation=rule), terms=tiny_terms(consolidate=True), base=tiny_model(consolidated=True)
    ).post_all(PEOPLE)

    derivation = ring.derive()

    assert derivation.derived.merged == 3
    assert not derivation.derived.consolidated
    assert derivation.model is not None
    assert (derivation.model.anchor, derivation.model.importance) == (ring.base.anchor, ring.base.importance)


# --- credit, rewards, report ---


def test_credit_is_the_recorded_time_up_to_the_plans() -> None:
    rule = CreditRule(reference_millis_per_step=Fraction(7, 3), kappa=Fraction(2))
    ring = TinyRound(task=tiny_task(credit=rule))
    ring.post("alice", millis=92)
    ring.post("bob", millis=5000)  # 20 steps x 7/3 x 2 = 93 1/3

    derivation = ring.derive()

    assert [(one.credit_millis, one.reward) for one in derivation.derived.updates] == [(92, 276), (93, 279)]
    assert derivation.derived.rewards_total == 555
    alices = leaf(ring.round, account("alice"), 276)
    assert verify(derivation.derived.rewards_root, alices, derivation.rewards.proof(alices))


def test_an_accepted_update_without_time_earns_nothing_but_counts() -> None:
    ring = TinyRound()
    ring.post("alice", millis=0)

    derived = ring.derive().derived

    assert (derived.merged, derived.rewards_root, derived.rewards_total) == (1, ZERO_HASH, 0)


def test_the_record_says_everything_that_is_settled() -> None:
    ring = TinyRound().post_all(PEOPLE)
    ring.post("mallory", {})

    derivation = ring.derive()

    derived = derivation.derived
    assert decode_report(encode_report(derived, Statement({}, "tiny"))) == (derived, Statement({}, "tiny"))
    assert [(one.client, one.verdict) for one in derived.updates] == [
        (account(name), "refused" if name == "mallory" else "accepted") for name in [*PEOPLE, "mallory"]
    ]
    assert set(derivation.refusals) == {account("mallory")}
    assert derivation.result_hash == result_hash(
        CHAIN_ID,
        ring.contract,
        ring.round,
        ring.base_digest,
        ring.facts.updates_hash,
        derived.model,
        derived_hash(derived),
        derived.rewards_root,
        derived.rewards_total,
    )


def test_facts_are_read_from_the_chains_state() -> None:
    ring = TinyRound().post_all(PEOPLE)
    expected = ring.facts
    state = RoundState(
        id=ring.round,
        federation=ring.federation,
        index=ring.index,
        base=ring.base_digest,
        admission_root=ZERO_HASH,
        terms=ring.terms,
        terms_hash=Hash(bytes(32)),
        launched_at=0,
        training_ends=600,
        settlement_ends=1200,
        escrow=1,
        phase=Phase.SETTLEMENT,
        basis=PayBasis.UNDECIDED,
        training_closed_at=600,
        updates=expected.updates,
        updates_hash=expected.updates_hash,
        settled=None,
        attestations={},
        quorum_hash=None,
        revealed=None,
        reveal_ends=None,
        paid_clients=0,
        paid_auditors={},
        returned=0,
        forfeited=0,
        withdrawable=0,
    )

    assert facts(CHAIN_ID, ring.contract, state) == expected
