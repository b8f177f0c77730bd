"""``rondo org``: wrong words are refused by name before anything else; then the commands in the order they are used."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from network.directory_store import DirectoryStore
from network.memory_chain import MemoryChain
from organization.cli import app
from organization.session import parse_indices
from protocol.errors import InvalidInput, SettingsError, UnknownRound
from protocol.merge_terms import Committee, MergeRule
from protocol.terms import Phase
from protocol.types import hex32
from tests.organization.world import FUNDS, TOKEN, World
from tests.processor.factory import account, tiny_task

TERMS = [
    "--reward-per-milli=3",
    "--max-millis=5000",
    "--time-cap-millis=2500",
    "--max-updates=16",
    "--training-seconds=600",
    "--settlement-seconds=600",
    "--challenge-seconds=600",
    "--bond=1000",
    "--attestation-fee=10",
]


@pytest.fixture
def world(tmp_path, monkeypatch):
    world = World()
    world.store = DirectoryStore(tmp_path / "store")
    configure(world, tmp_path, monkeypatch)
    return world


def configure(world, tmp_path, monkeypatch):
    """Create acme's federation, and let commands find it."""
    world.found(tmp_path)
    monkeypatch.setenv("RONDO_STORE", f"dir:{tmp_path / 'store'}")
    monkeypatch.setenv("RONDO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RONDO_TOKEN", TOKEN)
    monkeypatch.setenv("RONDO_FEDERATION", hex32(world.federation_id))
    monkeypatch.setenv("RONDO_POLL_SECONDS", "0.001")
    monkeypatch.setattr(
        "organization.session.open_chain",
        lambda settings, with_key: world.chain() if with_key else MemoryChain(world.ledger),
    )


def org(*arguments):
    """Run a command; its answer as JSON."""
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in (0, 75), result.output
    return json.loads(result.stdout)


def train(world, *names):
    world.ledger.advance(10)
    for name in names:
        world.post(name)
    world.close_training()


# --- refusals ---


@pytest.mark.parametrize("text", ["x", "0", "-1", "1;2", "1.5"])
def test_refuses_what_is_no_list_of_rounds(text):
    with pytest.raises(InvalidInput):
        parse_indices(text)


def test_lists_of_rounds():
    assert parse_indices("") == frozenset() and parse_indices("3, 5,") == {3, 5}


@pytest.mark.parametrize(
    "flags",
    [
        ["--auditor", "dave"],
        [],
        ["--auditor", account("dave"), "--quorum", "2"],
        ["--unaudited", "--salt", "0x12"],
        ["--unaudited", "--forfeit-to", "0x" + "0" * 39],
        ["--unaudited"],
    ],
)
def test_create_refuses_words_before_it_opens_anything(flags, tmp_path, monkeypatch):
    monkeypatch.setattr("organization.session.open_chain", lambda *args, **kwargs: pytest.fail("the chain was opened"))
    with pytest.raises(InvalidInput):
        org("create", "--task", tmp_path / "absent.toml", "--model", tmp_path / "absent.json", *flags)


def test_settings_that_are_needed_are_named(world, monkeypatch):
    monkeypatch.delenv("RONDO_FEDERATION")
    for command in (["launch"], ["settle"], ["status"], ["withdraw"], ["run", "--rounds", "1"]):
        with pytest.raises(SettingsError, match="federation"):
            org(*command)


def test_settle_refuses_unknown_rounds(world):
    for reference in ([], ["1"], ["0x" + "00" * 32]):
        with pytest.raises(UnknownRound):
            org("settle", *reference)


def test_missing_test_data_is_refused_before_a_launch(world, tmp_path):
    with pytest.raises(InvalidInput, match=r"absent\.npz"):
        org("run", "--rounds", 1, "--test-data", tmp_path / "absent.npz", *TERMS)
    assert not world.federation.rounds


def test_public_data_are_refused_before_a_launch(world, tmp_path):
    np.savez(tmp_path / "labels.npz", y=np.zeros(3, int))
    for path in ("absent.npz", "labels.npz"):
        for command in (["run", "--rounds", 1, *TERMS], ["settle"]):
            with pytest.raises(InvalidInput, match=path):
                org(*command, "--public-data", tmp_path / path)
    assert not world.federation.rounds


def test_a_task_that_distils_is_not_launched_without_public_data(tmp_path, monkeypatch):
    task = tiny_task(publication_seconds=60, rederivation_margin_seconds=60, committee=Committee("soft", 1))
    world = World(replace(task, merge=MergeRule("distilled")))
    world.store = DirectoryStore(tmp_path / "store")
    configure(world, tmp_path, monkeypatch)
    with pytest.raises(InvalidInput, match="--public-data"):
        org("run", "--rounds", 1, *TERMS)
    assert not world.federation.rounds


# --- the commands ---


def test_launch_settle_withdraw(world):
    launched = org("launch", *TERMS, "--consolidate")
    assert launched["index"] == 1 and launched["phase"] == "training" and launched["consolidates"]
    assert launched["audited"]
    assert world.round.terms == world.terms.__class__(**{**_fields(world.terms), "consolidate": True})
    assert not org("settle")["settled"]
    train(world, "alice", "bob")
    assert org("settle", "1")["phase"] == "challenge"
    assert org("settle", hex32(world.round.id))["settled"]
    world.attest()
    assert org("withdraw")["transactions"] == 1
    assert org("withdraw")["transactions"] == 0
    owed = world.round.settled.settlement.rewards_total + 10
    assert world.balance("acme") == FUNDS - owed
    assert org("status")["rounds"][0]["withdrawable"] == "0"


def _fields(terms):
    return {name: getattr(terms, name) for name in terms.__slots__}


def test_settle_waits(world, monkeypatch):
    org("launch", *TERMS)
    monkeypatch.setattr("organization.session.stop_on_signal", lambda: lambda: False)
    monkeypatch.setattr("time.sleep", lambda seconds: train(world, "alice"))
    assert org("settle", "--wait")["settled"]


def test_run(world, monkeypatch):
    live = world.live()
    monkeypatch.setattr("organization.session.stop_on_signal", lambda: lambda: False)
    monkeypatch.setattr("time.sleep", lambda seconds: live())
    view = org("run", "--rounds", 2, "--consolidate", "2", *TERMS)
    assert [one["phase"] for one in view["rounds"]] == ["final", "final"]
    assert [one["consolidates"] for one in view["rounds"]] == [False, True]
    assert world.round.phase is Phase.FINAL


def test_people_read_tables(world):
    org("launch", *TERMS)
    result = CliRunner().invoke(app, ["status"])
    assert result.exit_code == 0 and "training" in result.stdout and hex32(world.federation_id) in result.stdout


def test_run_says_progress_on_stderr_where_stdout_is_json(world, monkeypatch):
    live = world.live()
    monkeypatch.setattr("organization.session.stop_on_signal", lambda: lambda: False)
    monkeypatch.setattr("time.sleep", lambda seconds: live())
    result = CliRunner().invoke(app, ["run", "--rounds", "1", *TERMS, "--json"])
    json.loads(result.stdout)
    assert "round 1: launched" in result.stderr


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_create_from_files_is_safe_to_repeat(world, tmp_path):
    demo = Path(__file__).parents[2] / "rondo"
    arguments = ["create", "--task", demo / "digits_task.toml", "--model", demo / "digits_model.json"]
    arguments += ["--seed", 7, "--auditor", account("dave")]
    created, again = org(*arguments), org(*arguments)
    assert created | {"existed": True} == again and not created["existed"]
    assert len(world.state.federations) == 2  # with the one that the fixture made
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert f'federation = "{created["federation"]}"' in result.stdout


def test_paying_for_anyone_needs_a_relay(world):
    with pytest.raises(InvalidInput, match="--relay-anyone needs a relay"):
        CliRunner().invoke(app, ["serve", "--relay-anyone"], catch_exceptions=False)


@pytest.mark.parametrize(
    ("words", "warning"),
    [([], "admission is open"), (["--relay-anyone"], "pays for anyone")],
)
def test_a_relay_says_whom_it_pays_for(world, monkeypatch, words, warning):
    monkeypatch.setattr("uvicorn.Server.run", lambda server, sockets: None)
    done = CliRunner().invoke(app, ["serve", "--port", "0", "--relay", "payer.json", *words], catch_exceptions=False)
    said = done.output.splitlines()
    assert done.exit_code == 0
    assert "the relay's key is the organization's own" in said[0]  # as it is in this test
    assert warning in said[1]
    assert f"{account('acme')} pays for updates of {hex32(world.federation_id)}" in said[2]
    assert said[3].startswith("http://127.0.0.1:")


def test_help_imports_nothing_slow():
    script = "import sys, organization.cli; print([n for n in sys.modules if n in "
    script += "('tensorflow', 'keras', 'web3', 'fastapi', 'pydantic', 'numpy')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout) == []


def test_only_building_and_measuring_import_keras():
    script = "import sys, organization.session, organization.service; print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
