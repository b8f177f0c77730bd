"""``rondo export`` and ``rondo import``: a round in a file, and an audit of it with nothing but the file and the chain."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from network.directory_store import DirectoryStore
from network.memory_chain import MemoryChain
from network.node import LocalNode
from protocol.car import encode_car, read_car_blocks, read_car_header
from protocol.cid import DAG_PB, Cid, directory_cid
from protocol.errors import BlockMissing, ContentError, InvalidInput, NotCanonical, RondoError, TooLarge, UnknownRound
from protocol.types import Digest, hex32
from protocol.unixfs import Block, child_cids
from rondo.cli import app
from tests.network.test_pins import Acme
from tests.organization.test_on_node import Federation
from tests.processor.factory import account

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Acme:
    acme = Acme(DirectoryStore(tmp_path / "store"), tmp_path / "acme")
    acme.round("alice", "bob")
    monkeypatch.setenv("RONDO_STORE", f"dir:{tmp_path / 'store'}")
    monkeypatch.setenv("RONDO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RONDO_FEDERATION", hex32(acme.world.federation_id))
    monkeypatch.setattr("network.session.open_chain", lambda settings, with_key: MemoryChain(acme.world.ledger))
    monkeypatch.chdir(tmp_path)
    return acme


def run(*words: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [*words, "--json"])
    if isinstance(result.exception, RondoError):
        raise result.exception
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def lose(acme: Acme, cid: Cid) -> None:
    assert isinstance(acme.store, DirectoryStore)
    acme.store.path(cid).unlink()


# --- refusals ---


def test_a_round_that_is_none_is_named(acme: Acme) -> None:
    with pytest.raises(UnknownRound):
        run("export", "2")
    with pytest.raises(InvalidInput):
        run("export", "first")


def test_stdout_is_the_files_or_the_documents(acme: Acme) -> None:
    with pytest.raises(InvalidInput, match="stdout"):
        run("export", "1", "-o", "-")


def test_what_an_audit_needs_and_is_not_there_is_code_69_and_no_file(acme: Acme, tmp_path: Path) -> None:
    update = directory_cid(acme.world.round.updates[0].digest)
    lose(acme, update)
    with pytest.raises(ContentError, match=str(update)) as caught:
        run("export", "1", "-o", str(tmp_path / "out.car"))
    assert caught.value.exit_code == 69 and account("alice") in str(caught.value)
    assert not list(tmp_path.glob("*.car*"))
    partial = run("export", "1", "--partial")
    assert not partial["complete"]
    assert [(one["cid"], one["audited"]) for one in partial["missing"]] == [(str(update), True)]
    assert (tmp_path / "round-1.car").exists()


def test_a_lost_result_is_named_and_does_not_matter_to_an_audit(acme: Acme) -> None:
    settled = acme.world.round.settled
    assert settled is not None
    result = directory_cid(settled.settlement.model)
    lose(acme, result)
    document = run("export", "1")
    assert document["complete"] and [one["cid"] for one in document["missing"]] == [str(result)]


def test_hostile_files_leave_the_store_as_it_was(acme: Acme, tmp_path: Path) -> None:
    run("export", "1", "-o", "good.car")
    good = (tmp_path / "good.car").read_bytes()
    (tmp_path / "cut.car").write_bytes(good[:-1])
    before = acme.store.kept()
    with pytest.raises(NotCanonical, match=r"cut\.car"):
        run("import", "cut.car")
    with pytest.raises(TooLarge, match="--limit"):
        run("import", "good.car", "--limit", "10")
    assert acme.store.kept() == before


def test_a_root_that_the_file_lacks_is_code_69_after_all_else_was_kept(acme: Acme, tmp_path: Path) -> None:
    lacking = Cid(DAG_PB, Digest(bytes(32)))
    (tmp_path / "bad.car").write_bytes(b"".join(encode_car([lacking], [])))
    result = CliRunner().invoke(app, ["import", "bad.car", "--json"])
    assert isinstance(result.exception, BlockMissing) and str(lacking) in str(result.exception)
    assert json.loads(result.stdout)["roots"] == [
        {"cid": str(lacking), "kept": False, "missing": str(lacking), "foreign": None}
    ]


# --- out and in ---


def test_a_round_by_index_or_id_to_a_file_or_stdout_is_the_same(acme: Acme, tmp_path: Path) -> None:
    document = run("export", "1")
    assert document["complete"] and document["index"] == 1 and document["missing"] == []
    whats = [one["what"] for one in document["artifacts"]]
    assert whats[:2] == ["task", "base model"] and whats[-2:] == ["report", "result model"]
    assert document["bytes"] == (tmp_path / "round-1.car").stat().st_size
    run("export", hex32(acme.world.round.id), "--output", "other.car")
    assert (tmp_path / "other.car").read_bytes() == (tmp_path / "round-1.car").read_bytes()
    piped = CliRunner().invoke(app, ["export", "1", "-o", "-"])
    assert piped.exit_code == 0 and piped.stdout_bytes == (tmp_path / "round-1.car").read_bytes()
    assert "6 artifacts" in piped.stderr


def test_import_keeps_the_round_and_says_what_it_took(
    acme: Acme, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = run("export", "1")
    monkeypatch.setenv("RONDO_STORE", f"dir:{tmp_path / 'eve'}")
    for _ in range(2):
        done = run("import", "round-1.car")
        assert [root["cid"] for root in done["roots"]] == [one["cid"] for one in document["artifacts"]]
        assert all(root["kept"] for root in done["roots"]) and done["bytes"] > 0
    assert DirectoryStore(tmp_path / "eve").kept() == acme.store.kept()
    words = CliRunner().invoke(app, ["import", "round-1.car"])
    assert "6 of 6 roots are whole and kept" in words.stdout


def test_an_open_round_goes_out_as_far_as_it_is(acme: Acme) -> None:
    acme.world.launch()
    acme.world.ledger.advance(30)
    acme.world.post("alice")
    acme.world.post("bob", withhold=True)
    document = run("export", "2")
    assert not document["settled"] and document["complete"]
    assert [one["what"] for one in document["missing"]] == [f"update of {account('bob')}"]


# --- an auditor without a network ---


@pytest.fixture(scope="module")
def node() -> Iterator[LocalNode]:
    with LocalNode(block_time=None) as running:
        yield running


@pytest.mark.node
@pytest.mark.slow
def test_eve_audits_with_the_file_and_the_chain_alone(node: LocalNode, tmp_path: Path) -> None:
    federation = Federation(node, tmp_path / "acme", b"\x0c")
    federation.run()
    (round_,) = federation.rounds
    chain = federation.world.chain("acme")
    base = {name: value for name, value in os.environ.items() if not name.startswith("RONDO_")}
    environment = {
        **base,
        "PYTHONPATH": str(ROOT),
        "RONDO_CHAIN_URL": node.url,
        "RONDO_CONTRACT": chain.contract,
        "RONDO_FEDERATION": hex32(federation.id),
    }

    def rondo(store: str, *words: str, code: int = 0) -> Any:
        settings = {**environment, "RONDO_STORE": f"dir:{tmp_path / store}", "RONDO_HOME": str(tmp_path / "home")}
        done = subprocess.run(
            [sys.executable, "-m", "rondo", *words, "--json"],
            cwd=tmp_path,
            env=settings,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout)

    DirectoryStore(tmp_path / "acmes").put_blocks([Block(cid, data) for cid, data in federation.store.blocks.items()])
    expected = rondo("acmes", "audit", "1")
    assert expected["verdict"] == "match"
    assert rondo("acmes", "export", "1", "-o", "round.car")["complete"]

    undecided = rondo("eves", "audit", "1", code=2)
    assert undecided["verdict"] == "undecided"
    rondo("eves", "import", "round.car")
    assert rondo("eves", "audit", "1") == expected

    update = directory_cid(round_.updates[0].digest)
    gone = child_cids(Block(update, federation.store.get_block(update)))[0]
    with (tmp_path / "round.car").open("rb") as stream:
        roots = read_car_header(stream, "")
        blocks = [block for block in read_car_blocks(stream, "") if block.cid != gone]
    (tmp_path / "short.car").write_bytes(b"".join(encode_car(roots, blocks)))
    taken = rondo("mallorys", "import", "short.car")
    assert [root["missing"] for root in taken["roots"] if not root["kept"]] == [str(gone)]
    audit = rondo("mallorys", "audit", "1", code=2)
    assert audit["verdict"] == "undecided" and str(gone) in audit["reason"] and str(update) in audit["reason"]
