"""What an auditor published for others it lets go when no round needs it any more, and nothing that somebody else keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from network.memory_store import MemoryStore
from network.transfer import publish, publish_file
from protocol.cid import RAW, Cid, directory_cid
from protocol.errors import StoreUnavailable
from protocol.terms import Phase
from protocol.types import Digest
from tests.auditor.conftest import Stage
from tests.auditor.test_rederive import more_credit
from tests.auditor.test_worker import _proof
from tests.processor.factory import account


def settle_and_end(stage: Stage, home: Path) -> None:
    for number in (0, 1):
        stage.worker(number, home).step()
        stage.worker(number, home).step()


def test_a_model_that_was_served_is_kept_while_it_is_the_head(stage: Stage, tmp_path: Path) -> None:
    derivation = stage.submit().settle()
    model = directory_cid(derivation.derived.model)
    del stage.store.blocks[model]
    stage.store.release(model)
    settle_and_end(stage, tmp_path)
    assert stage.state.phase is Phase.FINAL and model in stage.store.kept()


def test_a_revealed_record_is_kept_until_all_have_claimed(stage: Stage, tmp_path: Path) -> None:
    truth = stage.submit().settle(lie=more_credit)
    settle_and_end(stage, tmp_path)
    revealed = stage.state.revealed
    assert revealed is not None
    record = Cid(RAW, Digest(revealed.derived_hash))
    assert record in stage.store.kept()
    for name in ("alice", "bob", "carol"):
        stage.worker(0, tmp_path).step()
        assert record in stage.store.kept()
        amount = next(one.reward for one in truth.derived.updates if one.client == account(name))
        stage.acme.claim(stage.round, account(name), amount, _proof(truth, name))
    stage.worker(0, tmp_path).step()
    assert record not in stage.store.kept()


def test_what_is_no_model_of_the_log_stays(stage: Stage, tmp_path: Path) -> None:
    foreign = publish_file(stage.store, b"eve's own")
    website = publish(stage.store, {"index.html": b"eve"})
    stage.submit().settle()
    kept = stage.store.kept()
    settle_and_end(stage, tmp_path)
    assert kept <= stage.store.kept() and {foreign, directory_cid(website)} <= kept


def test_a_store_whose_pins_fail_is_said_once_and_stops_no_audit(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.submit().settle()

    def down(self: MemoryStore) -> frozenset[Cid]:
        raise StoreUnavailable("The pins are gone.")

    monkeypatch.setattr(MemoryStore, "kept", down)
    settle_and_end(stage, tmp_path)
    assert stage.state.phase is Phase.FINAL
    worker = stage.worker(2, tmp_path)
    before = sum("The pins are gone." in line for line in stage.lines)
    for _ in range(3):
        assert worker.step() is not None
    assert sum("The pins are gone." in line for line in stage.lines) == before + 1
