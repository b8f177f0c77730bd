"""The auditor's worker attests what follows, once, takes its fee, and opens a rejected round (SPECIFICATION S4, S7, D3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from auditor.worker import AuditorWorker
from network.store import fetch, publish
from processor.round import Derivation
from protocol.cid import RAW, Cid
from protocol.errors import InvalidInput
from protocol.merkle import leaf
from protocol.report import encode_derived
from protocol.terms import PayBasis, Phase
from protocol.types import Digest, FederationId, Hash
from protocol.update import encode_update
from tests.auditor.conftest import AUDITORS, TOKEN, Stage
from tests.auditor.test_rederive import more_credit
from tests.processor.factory import account


def run(worker: AuditorWorker, passes: int = 6) -> int:
    return [worker.step() for _ in range(passes)][-1]


def test_an_unknown_federation_is_named(stage: Stage, tmp_path: Path) -> None:
    worker = AuditorWorker(stage.acme, stage.store, FederationId(b"\x01" * 32), tmp_path, attest=False, say=print)
    with pytest.raises(InvalidInput, match="no federation"):
        worker.step()


def test_nothing_is_attested_while_undecided(stage: Stage, tmp_path: Path) -> None:
    stage.submit().settle()
    settled = stage.state.settled
    assert settled is not None
    kept = dict(stage.store.blocks)
    stage.store.blocks.clear()
    worker = stage.worker(0, tmp_path)
    assert run(worker) == 0
    assert stage.state.attestations == {}
    assert sum("undecided" in line for line in stage.lines) == 1
    stage.store.blocks.update(kept)
    assert run(worker) == 1
    assert list(stage.state.attestations) == [AUDITORS[0]]


def test_a_quorum_makes_the_round_final_and_fees_are_paid(stage: Stage, tmp_path: Path) -> None:
    derivation = stage.submit().settle()
    assert run(stage.worker(0, tmp_path)) == 1
    assert stage.state.phase is Phase.CHALLENGE
    assert run(stage.worker(1, tmp_path)) == 1
    assert stage.state.phase is Phase.FINAL
    assert run(stage.worker(2, tmp_path)) == 1  # after the quorum: the fee does not race
    fee = stage.state.terms.attestation_fee
    assert stage.state.paid_auditors == dict.fromkeys(AUDITORS, fee)
    assert {result for result, _ in stage.state.attestations.values()} == {derivation.result_hash}
    assert len({witness for _, witness in stage.state.attestations.values()}) == 3


def test_a_restarted_auditor_does_not_attest_twice(stage: Stage, tmp_path: Path) -> None:
    stage.submit().settle()
    run(stage.worker(0, tmp_path))
    logs = len(stage.ledger.logs)
    assert run(stage.worker(0, tmp_path)) == 1
    assert len(stage.ledger.logs) == logs


def test_without_attest_nothing_is_said_on_chain(stage: Stage, tmp_path: Path) -> None:
    stage.submit().settle()
    assert run(stage.worker(0, tmp_path, attest=False)) == 1
    assert stage.state.attestations == {}


def test_a_lie_is_rejected_revealed_and_paid_by_the_auditors_result(stage: Stage, tmp_path: Path) -> None:
    truth = stage.submit().settle(lie=more_credit)
    for number in (0, 1):
        run(stage.worker(number, tmp_path))
    state = stage.state
    assert (state.phase, state.basis) == (Phase.REJECTED, PayBasis.RESULT)
    assert state.revealed is not None
    derived = stage.store.get_block(Cid(RAW, Digest(state.revealed.derived_hash)))
    assert derived == encode_derived(truth.derived)
    stage.acme.claim(
        stage.round,
        account("alice"),
        truth.derived.updates[0].reward,
        _proof(truth, "alice"),
    )
    assert stage.ledger.balance_of(TOKEN, account("alice")) == truth.derived.updates[0].reward
    stage.acme.forfeit(stage.round)
    assert stage.ledger.balance_of(TOKEN, account("charity")) == state.terms.bond


def _proof(truth: Derivation, name: str) -> Sequence[Hash]:
    amount = next(one.reward for one in truth.derived.updates if one.client == account(name))
    return truth.rewards.proof(leaf(truth.derived.round, account(name), amount))


def test_a_false_unavailable_is_outvoted_by_who_witnessed_the_bytes(stage: Stage, tmp_path: Path) -> None:
    stage.submit()
    workers = [stage.worker(number, tmp_path) for number in (0, 1)]
    for worker in workers:
        worker.step()  # within the publication window: the bytes are there
    stage.ledger.advance(61)
    stage.settle(unavailable=("carol",))
    for number in (0, 1):  # restarted in between: what was witnessed is on disk
        run(stage.worker(number, tmp_path))
    assert stage.state.phase is Phase.REJECTED
    assert stage.state.quorum_hash == stage.derive().result_hash


def test_bytes_that_appear_after_the_window_change_nothing(stage: Stage, tmp_path: Path) -> None:
    stage.submit(published=("alice", "bob"))
    workers = [stage.worker(number, tmp_path) for number in (0, 1)]
    for worker in workers:
        worker.step()
    stage.ledger.advance(61)
    for worker in workers:
        worker.step()
    stage.settle(unavailable=("carol",))
    publish(stage.store, encode_update(stage.updates["carol"]))
    for worker in workers:
        run(worker)
    assert stage.state.phase is Phase.FINAL
    assert fetch(stage.store, stage.digests["carol"], 10**9)
