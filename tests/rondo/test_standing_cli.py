"""``rondo standing``: the table, the document, and plain words where something is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from network.directory_store import DirectoryStore
from network.memory_chain import MemoryChain
from network.standing import RecordMissing
from protocol.cid import RAW, Cid, directory_cid
from protocol.errors import InvalidInput, RondoError, SettingsError, UnknownFederation
from protocol.merge_terms import Standing
from protocol.types import Digest, hex32
from rondo.cli import app
from tests.network.standing_world import HONEST, StandingWorld, said_of
from tests.processor import reference_standing as reference
from tests.processor.factory import account

WEIGHT = Standing(use="weight", window=3)


def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, standing: Standing) -> StandingWorld:
    """A federation whose chain is in memory and whose store is a directory, as the command finds them."""
    world = StandingWorld(tmp_path / "acme", standing, store=DirectoryStore(tmp_path / "store"))
    monkeypatch.setenv("RONDO_STORE", f"dir:{tmp_path / 'store'}")
    monkeypatch.setenv("RONDO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RONDO_FEDERATION", hex32(world.federation_id))
    monkeypatch.setattr("network.session.open_chain", lambda settings, with_key: MemoryChain(world.ledger))
    return world


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandingWorld:
    """Four rounds, of which three count; mallory is refused in each but the last, which it stays away from."""
    world = started(tmp_path, monkeypatch, WEIGHT)
    for _ in range(3):
        world.play(*HONEST, bad=["mallory"])
    world.play(*HONEST)
    return world


def invoke(*words: str) -> Any:
    result = CliRunner().invoke(app, ["standing", *words])
    if isinstance(result.exception, RondoError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def run(*words: str) -> Any:
    return json.loads(invoke(*words, "--json").stdout)


def test_all_clients_are_listed_best_first(world: StandingWorld) -> None:
    document = run()
    assert [document[key] for key in ("use", "decay", "window", "least")] == ["weight", "9/10", 3, None]
    assert document["federation"] == hex32(world.federation_id) and document["rounds"] == [2, 3, 4]
    standings = [one["standing"] for one in document["clients"]]
    assert standings == sorted(standings, reverse=True) and "history" not in document
    assert document["clients"][-1] == {
        "client": account("mallory"),
        "rounds": 2,
        "accepted": 0,
        "unavailable": 0,
        "refused": {"wrong-steps": 2},
        "agreement": 0,
        "standing": -1710,  # ((0 * 9/10 - 1000) * 9/10 - 1000) * 9/10
        "factor": 5,
        "admitted": True,
    }


def test_one_client_is_shown_alone_with_its_rounds(world: StandingWorld) -> None:
    document = run(account("alice").lower(), "--rounds")
    (alice,) = document["clients"]
    worth = [row["points"] for row in document["history"]]
    assert [(row["round"], row["client"], row["verdict"]) for row in document["history"]] == [
        (index, account("alice"), "accepted") for index in (2, 3, 4)
    ]
    assert worth[-1] == said_of(world.record(), "alice").agreement
    assert alice["standing"] == reference.standing(worth, WEIGHT.decay)
    assert (alice["rounds"], alice["accepted"], alice["agreement"]) == (3, 3, sum(worth) // 3)


def test_it_is_what_the_next_round_is_derived_with(world: StandingWorld) -> None:
    said = {one["client"]: one["standing"] for one in run()["clients"]}
    world.train(*HONEST, "mallory")
    for name in (*HONEST, "mallory"):
        assert world.standing_of(name) == said[account(name)]


def test_a_stranger_stands_at_0(world: StandingWorld) -> None:
    (stranger,) = run(account("eve"))["clients"]
    assert (stranger["rounds"], stranger["standing"], stranger["factor"]) == (0, 0, 8)


def test_no_update_and_no_model_is_read(world: StandingWorld) -> None:
    expected = run()
    store: Any = world.store
    for round_ in world.state.rounds.values():
        for digest in [update.digest for update in round_.updates] + [round_.base]:
            store.path(directory_cid(digest)).unlink(missing_ok=True)
    assert run() == expected


def test_people_read_a_table(world: StandingWorld) -> None:
    text = invoke("--rounds").stdout
    assert account("mallory") in text and "wrong-steps 2" in text and "-1710" in text
    assert "multiplies weights by the factor" in text and "3 of at most 3 rounds" in text


def test_before_the_first_round_nobody_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started(tmp_path, monkeypatch, Standing(use="admit", least=-100))
    document = run()
    assert (document["clients"], document["rounds"], document["least"]) == ([], [], -100)
    assert "below -100" in invoke().stdout


def test_admission_is_said_for_each_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = started(tmp_path, monkeypatch, Standing(use="admit", least=-999))
    world.play(*HONEST, bad=["mallory"])
    assert [one["admitted"] for one in run()["clients"]] == [True, True, False]


# --- what goes wrong ---


def test_a_lost_report_is_named(world: StandingWorld) -> None:
    settled = world.state.rounds[world.federation.rounds[2]].settled
    assert settled is not None
    store: Any = world.store
    store.path(directory_cid(settled.settlement.report)).unlink()
    store.path(Cid(RAW, Digest(settled.settlement.derived_hash))).unlink()  # its leaf, which the hash names too
    with pytest.raises(RecordMissing, match="record of round 3") as caught:
        run()
    assert caught.value.exit_code == 69


@pytest.mark.parametrize("words", [["nobody"], ["0x12"]])
def test_what_is_no_address_is_said_so(world: StandingWorld, words: list[str]) -> None:
    with pytest.raises(InvalidInput):
        run(*words)


def test_what_is_no_federation_is_said_so(world: StandingWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput):
        run("--federation", "seven")
    with pytest.raises(UnknownFederation):
        run("--federation", "0x" + "00" * 32)
    federation = hex32(world.federation_id)
    monkeypatch.delenv("RONDO_FEDERATION")
    with pytest.raises(SettingsError):
        run()
    assert run("--federation", federation)["federation"] == federation
