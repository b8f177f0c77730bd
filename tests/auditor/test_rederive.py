"""An audit re-derives a round and says where it differs (SPECIFICATION D1-D3, S6)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from auditor.rederive import Verdict
from protocol.cid import directory_cid
from protocol.errors import InvalidInput
from protocol.report import Derived, encode_report
from protocol.types import Digest, Hash
from tests.auditor.conftest import STATEMENT, Stage
from tests.processor.factory import account


def more_credit(derived: Derived) -> Derived:
    first = derived.updates[0]
    generous = replace(first, credit_millis=first.credit_millis + 1, reward=first.reward + 3)
    return replace(derived, updates=(generous, *derived.updates[1:]))


def refuse_carol(derived: Derived) -> Derived:
    updates = tuple(
        replace(one, verdict="refused", rule="not-canonical", weight=0, credit_millis=0, reward=0)
        if one.client == account("carol")
        else one
        for one in derived.updates
    )
    return replace(derived, updates=updates, merged=2)


def places(stage: Stage) -> set[str]:
    audit = stage.audit()
    assert audit.verdict is Verdict.MISMATCH
    return {difference.where for difference in audit.differences}


def test_an_unsettled_round_is_undecided(stage: Stage) -> None:
    assert stage.audit().verdict is Verdict.UNDECIDED
    stage.submit()
    audit = stage.audit()
    assert (audit.verdict, audit.verdict.exit_code) == (Verdict.UNDECIDED, 2)
    assert "not settled" in audit.reason


def test_missing_blocks_are_undecided_and_named(stage: Stage) -> None:
    stage.submit().settle()
    cid = next(iter(stage.store.blocks))
    del stage.store.blocks[cid]
    audit = stage.audit()
    assert audit.verdict is Verdict.UNDECIDED
    assert str(cid) in audit.reason or "cannot be fetched" in audit.reason
    assert audit.result_hash is None
    with pytest.raises(ValueError, match="no witness"):
        audit.witness_of(account("ann"))


def test_extra_credit_is_found_to_the_field(stage: Stage) -> None:
    stage.submit().settle(lie=more_credit)
    assert places(stage) == {
        "report.updates[0].credit_millis",
        "report.updates[0].reward",
        "report.rewards_root",
        "report.rewards_total",
        "chain.derived_hash",
        "chain.rewards_root",
        "chain.rewards_total",
    }


def test_a_silently_dropped_client_is_found(stage: Stage) -> None:
    stage.submit().settle(lie=refuse_carol)
    assert {"report.updates[2].verdict", "report.updates[2].rule", "report.merged"} <= places(stage)


def test_another_model_on_chain_is_found(stage: Stage) -> None:
    stage.submit().settle(model=Digest(b"\x01" * 32))
    assert places(stage) == {"chain.model"}


def test_another_derived_hash_on_chain_is_found(stage: Stage) -> None:
    stage.submit().settle(derived_hash=Hash(b"\x01" * 32))
    assert places(stage) == {"chain.derived_hash"}


def test_unavailable_before_the_window_ends_is_found(stage: Stage) -> None:
    stage.submit().settle(unavailable=("carol",))
    assert "report.updates[].verdict" in places(stage)
    assert "report.updates[2].verdict" in places(stage)


def test_unavailable_after_the_window_is_taken_as_said(stage: Stage) -> None:
    stage.submit(published=("alice", "bob"))
    stage.ledger.advance(61)
    stage.settle(unavailable=("carol",))
    assert stage.audit().verdict is Verdict.MATCH


def test_unavailable_is_contested_by_who_fetched_the_bytes_in_time(stage: Stage) -> None:
    stage.submit()
    stage.ledger.advance(61)
    stage.settle(unavailable=("carol",))
    assert stage.audit().verdict is Verdict.MATCH
    contested = stage.audit(fetched_in_time=frozenset({account("carol")}))
    assert contested.verdict is Verdict.MISMATCH
    assert contested.result_hash == stage.derive().result_hash


def test_an_honest_round_matches_what_was_settled(stage: Stage) -> None:
    derivation = stage.submit().settle()
    audit = stage.audit()
    assert (audit.verdict, audit.verdict.exit_code, audit.differences) == (Verdict.MATCH, 0, ())
    settled = stage.state.settled
    assert settled is not None
    assert audit.result_hash == settled.result_hash == derivation.result_hash


def test_a_tampered_copy_of_the_report_is_caught(stage: Stage, tmp_path: Path) -> None:
    derivation = stage.submit().settle()
    first = derivation.derived.updates[0]
    forged = replace(
        derivation.derived,
        updates=(replace(first, credit_millis=first.credit_millis + 1), *derivation.derived.updates[1:]),
    )
    for name, data in encode_report(forged, STATEMENT).items():
        (tmp_path / name).write_bytes(data)
    audit = stage.audit(report_copy=tmp_path)
    assert [difference.where for difference in audit.differences] == ["report.updates[0].credit_millis"]
    assert stage.audit().verdict is Verdict.MATCH


def test_a_copy_that_is_no_report_is_a_mismatch(stage: Stage, tmp_path: Path) -> None:
    stage.submit().settle()
    (tmp_path / "derived.json").write_bytes(b"{not json")
    (tmp_path / "statement.json").write_bytes(b"{}")
    audit = stage.audit(report_copy=tmp_path)
    assert audit.verdict is Verdict.MISMATCH and audit.differences[0].where == "report"


def test_a_folder_that_is_not_there_is_named(stage: Stage, tmp_path: Path) -> None:
    stage.submit().settle()
    with pytest.raises(InvalidInput, match="nowhere"):
        stage.audit(report_copy=tmp_path / "nowhere")


def test_a_missing_report_is_no_obstacle_where_everything_that_pays_follows(stage: Stage) -> None:
    stage.submit().settle()
    settled = stage.state.settled
    assert settled is not None
    del stage.store.blocks[directory_cid(settled.settlement.report)]
    audit = stage.audit()
    assert audit.verdict is Verdict.MATCH and "report" in audit.reason


def test_a_missing_report_and_another_result_is_undecided(stage: Stage) -> None:
    stage.submit().settle(lie=more_credit)
    settled = stage.state.settled
    assert settled is not None
    del stage.store.blocks[directory_cid(settled.settlement.report)]
    audit = stage.audit()
    assert audit.verdict is Verdict.UNDECIDED and audit.result_hash is None
