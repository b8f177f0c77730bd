"""A committee is exactly the updates that rounds merged, and a member exactly its base and its update."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor import committee as committee_module
from processor.committee import member_model, renewed
from processor.round import Derivation, derive_round
from processor.updates import Accepted
from protocol.committee import CommitteeManifest, decode_committee, encode_committee
from protocol.errors import OutsideWindow, WrongTensor
from protocol.merge_terms import Committee, MergeRule
from protocol.model import decode_model, encode_model
from protocol.past import NOTHING, Past
from protocol.task import Task
from protocol.types import Digest
from protocol.unixfs import directory_digest
from protocol.update import decode_update, encode_update
from tests.processor.factory import KERNEL, TinyRound, account, saturating_model, tiny_model, tiny_task
from tests.processor.reference_committee import last_rounds, member_weights

NAMES = ("alice", "bob", "carol")
SOFT = tiny_task(committee=Committee("soft", 2))


def derive(tiny: TinyRound, past: Past = NOTHING) -> Derivation:
    return derive_round(tiny.facts, tiny.task, tiny.base, tiny.fetch, frozenset(), past)


def published(derivation: Derivation) -> CommitteeManifest:
    (files,) = derivation.artifacts
    found = decode_committee(dict(files))
    assert derivation.model is not None and derivation.model.committee == directory_digest(files)
    return found


def after(derivation: Derivation, index: int, task: Task = SOFT) -> tuple[TinyRound, Past]:
    """The next round, from the model that ``derivation`` made, and its past."""
    assert derivation.model is not None and derivation.model_files is not None
    model = decode_model(derivation.model_files)
    return TinyRound(task=task, base=model, index=index), Past(committee=published(derivation))


# --- what is refused ---


def test_a_past_that_the_base_does_not_name_is_a_defect_of_the_caller() -> None:
    first = derive(TinyRound(task=SOFT).post_all(NAMES))
    tiny, past = after(first, 2)
    tiny.post_all(NAMES)
    assert past.committee is not None
    wrong = replace(past.committee, vote="majority")
    for other in (NOTHING, Past(committee=wrong)):
        with pytest.raises(ValueError, match="committee"):
            derive(tiny, other)
    with pytest.raises(ValueError, match="committee"):
        derive(TinyRound(task=SOFT).post_all(NAMES), past)


def test_a_member_of_another_model_is_refused_by_name() -> None:
    tiny = TinyRound()
    update = tiny.update("alice")
    lacking = replace(update, deltas={name: delta for name, delta in update.deltas.items() if name != KERNEL})
    with pytest.raises(WrongTensor, match=KERNEL):
        member_model(tiny.base, lacking)
    with pytest.raises(OutsideWindow):
        member_model(tiny.base, replace(update, exponents={**update.exponents, KERNEL: -21}))


# --- members ---


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 30), delta_type=st.sampled_from(["int8", "int16", "int32"]), full=st.booleans())
def test_a_member_is_base_and_update_exactly(seed: int, delta_type: Any, full: bool) -> None:
    tiny = TinyRound(task=tiny_task(delta_type=delta_type), base=saturating_model() if full else tiny_model(seed))
    update = decode_update(encode_update(tiny.update("alice", seed=seed)))
    member = member_model(tiny.base, update)
    expected = member_weights(tiny.base, update)
    for spec in member.specs:
        if spec.exponent is not None:
            flat = [Fraction(int(q)) * Fraction(2) ** spec.exponent for q in member.mantissas[spec.name].reshape(-1)]
            assert flat == expected[spec.name]
            assert member.mantissas[spec.name].shape == spec.shape
    assert replace(member, mantissas=tiny.base.mantissas) == tiny.base
    encode_model(member)


# --- which updates are kept ---


def test_without_a_vote_nothing_is_kept() -> None:
    derivation = derive(TinyRound().post_all(NAMES))
    assert derivation.artifacts == () and derivation.model is not None and derivation.model.committee is None


def test_a_round_keeps_its_accepted_updates_with_the_reports_weights() -> None:
    tiny = TinyRound(task=SOFT).post_all(NAMES)
    tiny.post("mallory", tiny.update("mallory", steps=1))
    derivation = derive(tiny)
    accepted = {one.client: one for one in derivation.derived.updates if one.verdict == "accepted"}
    committee = published(derivation)
    assert committee.vote == "soft"
    assert [member.client for member in committee.members] == sorted(accepted) and len(accepted) == 3
    for member in committee.members:
        verdict = accepted[member.client]
        assert (member.update, member.weight) == (verdict.digest, verdict.weight) and member.weight == 95
        assert (member.round, member.base) == (1, tiny.base_digest)


def test_the_last_rounds_stay_and_older_ones_go() -> None:
    derivation = derive(TinyRound(task=SOFT).post_all(NAMES))
    for index in (2, 3):
        tiny, past = after(derivation, index)
        derivation = derive(tiny.post_all(NAMES[:index]), past)
    committee = published(derivation)
    assert [(member.round, member.client) for member in committee.members] == [
        (number, account(name))
        for number in (2, 3)
        for name in sorted(NAMES[:number], key=lambda name: account(name).lower())
    ]
    assert len({member.base for member in committee.members}) == 2


def test_a_round_that_merges_nothing_leaves_model_and_committee() -> None:
    task = replace(SOFT, min_updates=2)
    first = derive(TinyRound(task=task).post_all(NAMES))
    tiny, past = after(first, 2, task)
    derivation = derive(tiny.post_all(("alice",)), past)
    assert derivation.derived.outcome == "too-few-updates" and derivation.artifacts == ()
    assert derivation.derived.model == first.derived.model


def test_the_committee_is_a_function_of_the_set_of_updates() -> None:
    orders = [derive(TinyRound(task=SOFT).post_all(names)) for names in (NAMES, NAMES[::-1], ("bob", "carol", "alice"))]
    assert len({one.derived.model for one in orders}) == 1
    assert len({directory_digest(one.artifacts[0]) for one in orders}) == 1


weights = st.lists(
    st.dictionaries(st.sampled_from(["alice", "bob", "carol", "eve"]), st.integers(0, 5)), min_size=1, max_size=7
)


@given(rounds=weights, keep=st.integers(1, 4))
def test_the_kept_ones_are_those_of_the_reference(rounds: list[dict[str, int]], keep: int) -> None:
    committee: CommitteeManifest | None = None
    for number, round_weights in enumerate(rounds, start=1):
        facts = replace(TinyRound(index=number).facts, base=Digest(bytes([number]) * 32))
        by_client = {account(name): weight for name, weight in round_weights.items()}
        accepted = [Accepted(client, Digest(client.encode()[:32]), 1, 1, 1) for client in reversed(by_client)]
        committee = renewed(Committee("majority", keep), committee, facts, accepted, by_client)
    by_account = [{account(name): weight for name, weight in one.items()} for one in rounds]
    expected = last_rounds(by_account, keep)
    found = [] if committee is None else [(one.round, one.client, one.weight) for one in committee.members]
    assert found == expected
    if committee is not None:
        assert decode_committee(encode_committee(committee)) == committee
        assert {one.base for one in committee.members} == {Digest(bytes([one.round]) * 32) for one in committee.members}


def test_only_whole_rounds_that_fit_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committee_module, "MAX_MEMBERS", 4)
    derivation = derive(TinyRound(task=SOFT).post_all(NAMES))
    tiny, past = after(derivation, 2)
    assert {one.round for one in published(derive(tiny.post_all(("alice",)), past)).members} == {1, 2}
    tiny, past = after(derivation, 2)
    assert {one.round for one in published(derive(tiny.post_all(("alice", "bob")), past)).members} == {2}


def test_a_model_that_names_a_committee_survives_its_encoding() -> None:
    derivation = derive(TinyRound(task=SOFT).post_all(NAMES))
    assert derivation.model_files is not None and derivation.model is not None
    again = decode_model(derivation.model_files)
    assert again.committee == derivation.model.committee
    for name, mantissas in derivation.model.mantissas.items():
        assert np.array_equal(again.mantissas[name], mantissas)


def test_the_rules_that_leave_updates_out_leave_them_out_of_the_committee() -> None:
    """A rule's weight of 0 is what counts: here given by hand, whatever rule gives it."""
    tiny = TinyRound(task=tiny_task(merge=MergeRule(weighting="uniform", examples_cap=1000))).post_all(NAMES)
    accepted = [Accepted(account(name), Digest(bytes(32)), 95, 20, 1) for name in NAMES]
    by_client = {account("alice"): 1, account("bob"): 0, account("carol"): 1}
    committee = renewed(Committee("soft", 1), None, tiny.facts, accepted, by_client)
    assert committee is not None and account("bob") not in {one.client for one in committee.members}
    assert len(committee.members) == 2
    nobody = renewed(Committee("soft", 1), committee, tiny.facts, accepted, dict.fromkeys(by_client, 0))
    assert nobody == committee
