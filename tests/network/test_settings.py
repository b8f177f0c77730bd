from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from network.settings import Settings, load_settings
from protocol.errors import SettingsError
from protocol.types import address, hex32

CONTRACT = address("0x" + "c0" * 20)
FEDERATION = bytes(range(32))


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("RONDO_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def write(path: Path, **values: object) -> Path:
    path.write_text("".join(f"{key} = {value!r}\n" for key, value in values.items()))
    return path


def test_defaults_are_one_machine() -> None:
    settings = load_settings()
    assert settings.chain_url == "http://127.0.0.1:8545"
    assert settings.store == "dir:~/.rondo/store"
    assert settings.home == Path.home() / ".rondo"
    assert (settings.poll_seconds, settings.confirmations, settings.contract_block) == (1.0, 0, 0)
    assert [settings.contract, settings.token, settings.federation, settings.keystore] == [None] * 4
    assert settings.accept_other_code is False


def test_every_setting_from_a_file(tmp_path: Path) -> None:
    path = write(
        tmp_path / "any.toml",
        chain_url="https://node.example",
        contract=CONTRACT.lower(),
        contract_block=7,
        confirmations=2,
        token=CONTRACT,
        federation=hex32(FEDERATION),
        store="memory:",
        keystore="~/key.json",
        home="here",
        poll_seconds=0.5,
    )
    settings = load_settings(path)
    assert settings.chain_url == "https://node.example"
    assert settings.contract == settings.token == CONTRACT
    assert (settings.contract_block, settings.confirmations, settings.poll_seconds) == (7, 2, 0.5)
    assert settings.federation == FEDERATION
    assert (settings.keystore, settings.home) == (Path.home() / "key.json", Path("here"))


def test_the_file_is_the_named_one_then_the_variables_then_the_working_directorys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "rondo.toml", store="dir:/working")
    assert load_settings().store == "dir:/working"
    monkeypatch.setenv("RONDO_CONFIG", str(write(tmp_path / "b.toml", store="dir:/variable")))
    assert load_settings().store == "dir:/variable"
    assert load_settings(write(tmp_path / "c.toml", store="dir:/named")).store == "dir:/named"


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "rondo.toml", poll_seconds=3.0, contract=CONTRACT)
    monkeypatch.setenv("RONDO_POLL_SECONDS", "0.25")
    monkeypatch.setenv("RONDO_FEDERATION", hex32(FEDERATION))
    monkeypatch.setenv("RONDO_ACCEPT_OTHER_CODE", "1")
    settings = load_settings()
    assert settings.accept_other_code is True
    assert (settings.poll_seconds, settings.contract, settings.federation) == (0.25, CONTRACT, FEDERATION)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        load_settings().store = "memory:"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("contarct = 'x'", r"unknown setting contarct\. Known are: chain_url, contract"),
        ("contract = '0x12'", r"contract in .*rondo\.toml is wrong.*'0x12' is not an address"),
        ("contract = 5", "'5' is not an address"),
        ("federation = '0x12'", "is not 32 bytes in hex"),
        ("poll_seconds = 0", "poll_seconds in .* is wrong.*greater than 0"),
        ("confirmations = -1", "confirmations in .* is wrong"),
        ("confirmations = 'many'", "confirmations in .* is wrong"),
        ("store = 5", "store in .* is wrong"),
        ("store", "is no TOML"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "rondo.toml").write_text(text)
    with pytest.raises(SettingsError, match=found) as refusal:
        load_settings()
    assert refusal.value.exit_code == 78


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RONDO_TOKEN", "0x12")
    with pytest.raises(SettingsError, match=r"The variable RONDO_TOKEN is wrong"):
        load_settings()


def test_a_named_file_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(tmp_path / "none.toml")
    monkeypatch.setenv("RONDO_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings()


@pytest.mark.parametrize("name", ["token", "federation", "keystore"])
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(
        SettingsError, match=rf"setting {name} is missing.*RONDO_{name.upper()}, or {name} in rondo.toml"
    ):
        getattr(load_settings(), f"require_{name}")()


def test_what_is_there_is_returned() -> None:
    settings = Settings(federation=hex32(FEDERATION), keystore="k", token=CONTRACT)  # type: ignore[arg-type]
    assert settings.require_token() == CONTRACT
    assert settings.require_federation() == FEDERATION
    assert settings.require_keystore() == Path("k")


@pytest.mark.parametrize(
    "module", ["chain", "memory_chain", "keys", "node", "evm_chain", "store", "console", "event_codec"]
)
def test_pydantic_is_imported_by_settings_alone(module: str) -> None:
    script = f"import sys, network.{module}; sys.exit('pydantic_settings' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, cwd=Path(__file__).parents[2]).returncode == 0
