"""The auditor's worker attests what follows, once, takes its fee, and opens a rejected round (SPECIFICATION S4, S7, D3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from auditor.availability import Availability
from auditor.rederive import Verdict
from auditor.session import run_worker
from auditor.worker import AuditorWorker
from network.chain import Chain
from network.memory_chain import MemoryChain
from network.memory_store import MemoryStore
from network.transfer import fetch, publish
from processor.round import Derivation
from protocol.cid import RAW, Cid, directory_cid
from protocol.errors import BlockMissing, ChainUnavailable, RondoError, SearchUnfinished, UnknownFederation
from protocol.merkle import leaf
from protocol.report import encode_derived
from protocol.state import State
from protocol.terms import PayBasis, Phase, Settlement
from protocol.types import Digest, FederationId, Hash
from protocol.update import encode_update
from tests.auditor.conftest import AUDITORS, TOKEN, Stage
from tests.auditor.test_rederive import more_credit
from tests.processor.factory import account


def run(worker: AuditorWorker, passes: int = 6) -> int:
    return [worker.step() for _ in range(passes)][-1]


def test_an_unknown_federation_is_named(stage: Stage, tmp_path: Path) -> None:
    worker = AuditorWorker(stage.acme, stage.store, FederationId(b"\x01" * 32), tmp_path, attest=False, say=print)
    with pytest.raises(UnknownFederation, match="no federation"):
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
    stage.ledger.advance(60)  # an undecided round is tried again after a while, by the chain's clock
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


def test_bytes_that_come_during_a_slow_look_are_late(stage: Stage, tmp_path: Path) -> None:
    """The look begins within the window; the bytes come after it, before the look has reached them."""
    stage.submit(published=())
    closed = stage.state.training_closed_at
    assert closed is not None
    worker = stage.worker(0, tmp_path)
    window_ends = closed + stage.task.publication_seconds

    class SlowStore(MemoryStore):
        def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
            if cid.digest == stage.digests["alice"]:
                stage.ledger.advance_to(window_ends + 5)
                for update in stage.updates.values():
                    publish(stage.store, encode_update(update))
            return stage.store.get_block(cid)

    Availability(worker._chain, SlowStore(), tmp_path / "0").watch(stage.state, stage.task)
    assert Availability(worker._chain, stage.store, tmp_path / "0").fetched_in_time(stage.round) == frozenset()


def test_who_withholds_keeps_no_auditor_from_witnessing_the_others(stage: Stage, tmp_path: Path) -> None:
    stage.submit(published=("alice",))

    class Hanging(MemoryStore):
        """A gateway that looks for what nobody has for longer than anybody waits."""

        def get_block(self, cid: Cid, seconds: float | None = None) -> bytes:
            if not stage.store.has_block(cid):
                raise SearchUnfinished("still looking")
            return stage.store.get_block(cid)

    availability = Availability(stage.worker(0, tmp_path)._chain, Hanging(), tmp_path / "0")
    with pytest.raises(SearchUnfinished):
        availability.watch(stage.state, stage.task)
    assert availability.fetched_in_time(stage.round) == {account("alice")}


def test_a_round_that_cannot_be_derived_stops_no_other(stage: Stage, tmp_path: Path) -> None:
    stage.submit().settle()
    for number in (0, 1):
        run(stage.worker(number, tmp_path))
    head = stage.acme.state().federations[stage.federation].head
    wide = replace(stage.state.terms, max_updates=200_000)  # the contract takes it, exact arithmetic does not
    stage.ledger.mint(TOKEN, account("acme"), 10**15)
    second = stage.acme.launch_round(stage.federation, head, wide)
    stage.ledger.advance(wide.training_seconds // 2)
    MemoryChain(stage.ledger, account("alice")).submit_update(second, stage.digests["alice"], 10)
    stage.ledger.advance(wide.training_seconds)
    hashes = stage.acme.state().rounds[second].updates_hash
    lie = Settlement(hashes, head, Digest(b"\x01" * 32), Hash(b"\x02" * 32), Hash(bytes(32)), 0)
    stage.acme.settle(second, lie)
    worker = stage.worker(2, tmp_path)
    run(worker)
    assert worker.audits[second].verdict is Verdict.UNDECIDED
    assert worker.audits[stage.round].verdict is Verdict.MATCH


def test_the_second_to_reveal_goes_on(stage: Stage, tmp_path: Path) -> None:
    stage.submit().settle(lie=more_credit)
    first, second = stage.worker(0, tmp_path), stage.worker(1, tmp_path)
    for worker in (first, second):
        worker.step()
    assert stage.state.phase is Phase.REJECTED
    stale = second._chain.state()
    run(first)
    assert stage.state.revealed is not None
    chain = second._chain
    second._chain = Stale(chain, stale)  # type: ignore[assignment]
    second.step()  # what it saw is old: AlreadyRevealed is said, not raised
    second._chain = chain
    assert run(second) == 1


class Stale:
    """A chain whose state is an old one; everything else is true."""

    def __init__(self, chain: Chain, state: State) -> None:
        self._chain, self._state = chain, state

    def state(self) -> State:
        return self._state

    def __getattr__(self, name: str) -> object:
        return getattr(self._chain, name)


def test_an_outage_is_ridden_out_and_said_once(stage: Stage, tmp_path: Path) -> None:
    stage.submit().settle()
    worker = stage.worker(0, tmp_path)
    outages: list[RondoError] = [ChainUnavailable("no answer")] * 3 + [BlockMissing("bafy")]
    honest = worker.step

    def step() -> int:
        if outages:
            raise outages.pop()
        return honest()

    worker.step = step  # type: ignore[method-assign]
    said: list[str] = []
    run_worker(worker, 1, pause=lambda: None, stopped=lambda: False, say=said.append)
    assert outages == [] and len(said) == 2
    assert list(stage.state.attestations) == [AUDITORS[0]]


def test_history_is_not_derived_again_after_a_restart(stage: Stage, tmp_path: Path) -> None:
    stage.submit().settle()
    run(stage.worker(0, tmp_path))
    stage.store.blocks.clear()
    worker = stage.worker(0, tmp_path)
    assert run(worker) == 1
    assert worker.audits[stage.round].verdict is Verdict.MATCH
    assert worker.audits[stage.round].derivation is None


def test_the_merged_model_is_served_by_who_confirmed_it(stage: Stage, tmp_path: Path) -> None:
    derivation = stage.submit().settle()
    digest = derivation.derived.model
    del stage.store.blocks[directory_cid(digest)]
    run(stage.worker(0, tmp_path))
    assert fetch(stage.store, digest, 10**9) == derivation.model_files


def test_a_copied_attestation_is_named(stage: Stage) -> None:
    derivation = stage.submit().settle()
    MemoryChain(stage.ledger, AUDITORS[0]).attest(stage.round, derivation.result_hash, Hash(b"\x07" * 32))
    honest = stage.audit()
    assert honest.copied == (AUDITORS[0],)
    assert honest.witness_of(AUDITORS[1]) != honest.witness_of(AUDITORS[0])
