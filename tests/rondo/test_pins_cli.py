"""``rondo pins``: what is needed and where it stands, on a real store; exit code 1 where something needed is not kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from network.directory_store import DirectoryStore
from network.memory_chain import MemoryChain
from network.store import ContentStore
from protocol.cid import Cid, directory_cid
from protocol.errors import RondoError, SettingsError
from protocol.types import hex32
from rondo.cli import app
from tests.network.kubo import IPFS, NO_IPFS, KuboNode
from tests.network.test_pins import Acme, update_of


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Acme:
    """Two rounds; rounds_kept is 1 and the task's retention a second."""
    acme = Acme(DirectoryStore(tmp_path / "store"), tmp_path / "acme")
    use(acme, monkeypatch, f"dir:{tmp_path / 'store'}", tmp_path)
    return acme


def use(acme: Acme, monkeypatch: pytest.MonkeyPatch, store: str, home: Path) -> None:
    for _ in range(2):
        acme.round("alice", "bob")
    acme.world.ledger.advance(3600)
    monkeypatch.setenv("RONDO_STORE", store)
    monkeypatch.setenv("RONDO_HOME", str(home / "home"))
    monkeypatch.setenv("RONDO_ROUNDS_KEPT", "1")
    monkeypatch.setenv("RONDO_FEDERATION", hex32(acme.world.federation_id))
    monkeypatch.setattr("network.session.open_chain", lambda settings, with_key: MemoryChain(acme.world.ledger))


def run(*words: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [*words, "--json"])
    if isinstance(result.exception, RondoError):
        raise result.exception
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def standings(document: dict[str, Any]) -> dict[str, str]:
    return {pin["cid"]: pin["standing"] for pin in document["pins"]}


def lose(acme: Acme, cid: Cid) -> None:
    assert isinstance(acme.store, DirectoryStore)
    acme.store.path(cid).unlink()


def test_a_federation_must_be_configured_or_all_be_asked_for(acme: Acme, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RONDO_FEDERATION")
    with pytest.raises(SettingsError, match="federation"):
        run("pins")
    document = run("pins", "--all")
    assert document["federations"] == [hex32(acme.world.federation_id)]


def test_everything_needed_is_shown_with_its_reason(acme: Acme) -> None:
    document = run("pins")
    assert document["complete"] and document["store"].startswith("dir:")
    reasons = {pin["cid"]: pin["needed_as"] for pin in document["pins"]}
    assert reasons[str(directory_cid(acme.world.federation.head))] == "head model"
    assert reasons[str(update_of(acme, "bob", 2))] == "update of round 2"
    assert reasons[str(update_of(acme, "bob", 1))] is None
    assert standings(document)[str(update_of(acme, "bob", 1))] == "releasable"


def test_a_lost_pin_is_code_1_and_repaired_to_0(acme: Acme) -> None:
    head = directory_cid(acme.world.federation.head)
    acme.store.release(head)
    before = run("pins", code=1)
    assert standings(before)[str(head)] == "missing pin" and not before["complete"]
    assert standings(run("pins", "--repair"))[str(head)] == "kept"
    assert head in acme.store.kept()
    assert run("pins")["complete"]


def test_lost_content_is_named_with_where_it_was_tried_and_stays_code_1(acme: Acme) -> None:
    head = directory_cid(acme.world.federation.head)
    lose(acme, head)
    assert standings(run("pins", "--quick"))[str(head)] == "kept"  # the store's word
    for words in (["pins"], ["pins", "--repair"]):
        (fault,) = (pin for pin in run(*words, code=1)["pins"] if pin["fault"])
        assert fault["cid"] == str(head) and fault["standing"] == "missing content"
        assert str(head) in fault["why"] and str(acme.store.root) in fault["why"]  # type: ignore[attr-defined]


def test_release_and_collect_free_what_no_round_needs(acme: Acme) -> None:
    old = update_of(acme, "alice", 1)
    nothing = run("pins", "--collect", "--grace", "0")
    assert nothing["collected"]["blocks"] == 0 and acme.store.has_block(old)  # still kept: nobody released it
    released = run("pins", "--release")
    assert standings(released)[str(old)] == "released" and acme.store.has_block(old)
    spared = run("pins", "--collect")
    assert spared["collected"]["blocks"] == 0  # put within the last hour
    collected = run("pins", "--collect", "--grace", "0")["collected"]
    assert collected["blocks"] > 0 and collected["bytes"] > 0 and collected["remaining_blocks"] > 0
    assert not acme.store.has_block(old)
    assert run("pins")["complete"]


def test_collect_spares_what_is_needed_and_not_kept(acme: Acme) -> None:
    head = directory_cid(acme.world.federation.head)
    acme.store.release(head)
    run("pins", "--collect", "--grace", "0", code=1)
    assert acme.store.has_block(head)
    run("pins", "--repair")


def test_people_read_a_table(acme: Acme) -> None:
    head = directory_cid(acme.world.federation.head)
    lose(acme, head)
    result = CliRunner().invoke(app, ["pins", "--release", "--collect"])
    assert result.exit_code == 1
    for words in ("head model", str(head), "missing content", "released", "report of round 1", "collected 0 blocks"):
        assert words in result.stdout, words
    assert "1 needed artifacts are not kept" in result.stdout


@pytest.mark.skipif(IPFS is None, reason=NO_IPFS)
def test_on_kubo_pins_of_others_stay_and_gc_is_the_operators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from network.ipfs import KuboStore

    with KuboNode(tmp_path / "kubo") as node:
        store: ContentStore = KuboStore(node.address, find_seconds=0.5)
        acme = Acme(store, tmp_path / "acme")
        foreign = node.command("add", "--quiet", "--cid-version=1", stdin=b"another application's")
        use(acme, monkeypatch, f"kubo:{node.address}", tmp_path)
        result = CliRunner().invoke(app, ["pins", "--release", "--repair", "--collect"])
        assert result.exit_code == 0, result.output
        assert "ipfs repo gc" in result.stdout and "released" in result.stdout
        pinned = node.command("pin", "ls", "--type=recursive", "--quiet").split()
        assert foreign in pinned and str(update_of(acme, "alice", 1)) not in pinned
        assert str(update_of(acme, "alice", 2)) in pinned
        node.command("repo", "gc")
        assert run("pins")["complete"]
