"""The client's commands as a person meets them; whole rounds through them are in tests/e2e."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner

from client.cli import app, claim
from protocol.errors import InvalidInput, SettingsError

claims = Typer()
claims.command()(claim)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "rondo.toml"
    path.write_text(f'home = "{tmp_path}"\nstore = "memory:"\n')
    return path


def invoke(cli: Typer, *arguments: str) -> None:
    CliRunner().invoke(cli, arguments, catch_exceptions=False)


# --- refusals: they reach rondo's main as they are ---


def test_missing_data_are_named_before_anything_is_connected(config: Path) -> None:
    with pytest.raises(InvalidInput, match="does not exist"):
        invoke(app, "run", "--data", "gone.npz", "--config", str(config))


def test_an_auditor_that_is_no_address_is_named(config: Path) -> None:
    with pytest.raises(InvalidInput, match="'carol' is not an address"):
        invoke(app, "run", "--data", "gone.npz", "--trust-auditor", "carol", "--config", str(config))


def test_a_relay_that_is_no_address_is_named(config: Path) -> None:
    with pytest.raises(InvalidInput, match="no address of a relay"):
        invoke(app, "run", "--data", "gone.npz", "--relay", "acme.example", "--config", str(config))


def test_missing_settings_are_named(config: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.zeros((2, 2), np.float32), y=np.zeros(2, np.int64))
    with pytest.raises(SettingsError, match="setting keystore is missing"):
        invoke(app, "run", "--data", "data.npz", "--config", str(config))
    with pytest.raises(SettingsError, match="setting keystore is missing"):
        invoke(claims, "--config", str(config))


# --- help ---


@pytest.mark.parametrize(
    ("cli", "arguments", "words"),
    [
        (
            app,
            ["run", "--help"],
            [
                "--data",
                "--rounds",
                "--once",
                "--allow-unaudited",
                "--allow-unpaid",
                "--trust-auditor",
                "--no-claim",
                "--relay",
            ],
        ),
        (claims, ["--help"], ["ROUND", "--json"]),
    ],
)
def test_help_names_every_option(cli: Typer, arguments: list[str], words: list[str]) -> None:
    result = CliRunner().invoke(cli, arguments, env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    assert result.exit_code == 0
    assert all(word in result.output for word in words)


def test_nothing_slow_is_imported_before_it_is_needed() -> None:
    program = (
        "import sys, client.cli\n"
        "assert not {'tensorflow', 'keras', 'web3', 'pydantic', 'numpy'} & set(sys.modules)\n"
        "import client.worker, client.loop, client.claims\n"
        "assert not {'tensorflow', 'keras', 'web3'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
