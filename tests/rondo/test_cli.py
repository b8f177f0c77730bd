"""The command's front door: exit codes for scripts, errors that say what, why and what to do, and no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def rondo(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RONDO_")}
    return subprocess.run(
        [sys.executable, "-m", "rondo", *words],
        cwd=cwd,
        env={**clean, "PYTHONPATH": str(ROOT), "HOME": str(cwd), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nonsense"], 64, "nonsense"),
        (["audit"], 64, "Name a round"),
        (["audit", "1", "--follow"], 64, "Name a round"),
        (["org", "create", "--task", "x.toml"], 64, "--model"),
        (["demo", "--clients", "0"], 64, "--clients"),
        (["demo", "--ipfs", "nonsense"], 64, "--ipfs"),
        (["client", "run", "--data", "absent.npz"], 64, "absent.npz"),
        (["fund", "0x1234", "--dir", "absent"], 64, "0x1234"),
        (["deploy", "--check", "0x12", "--rpc", "http://127.0.0.1:9"], 64, "0x12"),
        (["deploy", "--chain-id", "0"], 64, "--chain-id"),
        (["org", "status"], 78, "federation"),
        (["pins"], 78, "federation"),
        (["import", "absent.car"], 64, "absent.car"),
        (["keys", "address", "absent.json"], 77, "absent.json"),
    ],
)
def test_wrong_words_have_a_code_and_an_explanation(words: list[str], code: int, said: str, tmp_path: Path) -> None:
    done = rondo(*words, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize("words", [[], ["org"], ["client"], ["keys"]])
def test_no_words_are_answered_with_the_help_and_a_reason(words: list[str], tmp_path: Path) -> None:
    done = rondo(*words, cwd=tmp_path)
    assert done.returncode == 64 and "Usage: rondo" in done.stdout
    assert done.stderr == "error: A command is missing.\n  do: see rondo --help\n"


def test_the_version_is_the_packages(tmp_path: Path) -> None:
    done = rondo("--version", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert done.stdout == f"rondo {stated}\n"


def test_an_unknown_setting_is_named(tmp_path: Path) -> None:
    (tmp_path / "rondo.toml").write_text('chain_ulr = "http://127.0.0.1:1"\n')
    done = rondo("org", "status", cwd=tmp_path)
    assert done.returncode == 78 and "chain_ulr" in done.stderr


@pytest.mark.parametrize("contract", [{"RONDO_CONTRACT": "0x" + "11" * 20}, {}])
@pytest.mark.parametrize("words", [["org", "status"], ["audit", "1"], ["deploy"]])
def test_a_silent_node_is_named(tmp_path: Path, words: list[str], contract: dict[str, str]) -> None:
    settings = {"RONDO_CHAIN_URL": "http://127.0.0.1:9", "RONDO_FEDERATION": "0x" + "22" * 32, **contract}
    done = rondo(*words, cwd=tmp_path, **settings)
    assert done.returncode == 69 and "127.0.0.1:9" in done.stderr and "Traceback" not in done.stderr


def test_a_wrong_passphrase_opens_nothing_and_is_not_repeated(tmp_path: Path) -> None:
    made = rondo("keys", "new", "alice.json", "--json", cwd=tmp_path, RONDO_PASSPHRASE="correct horse")
    assert made.returncode == 0 and "correct horse" not in made.stdout + made.stderr
    assert (tmp_path / "alice.json").stat().st_mode & 0o077 == 0
    again = rondo("keys", "new", "alice.json", cwd=tmp_path, RONDO_PASSPHRASE="other")
    assert again.returncode == 77, "an existing keystore is never overwritten"
    settings = {
        "RONDO_CONTRACT": "0x" + "11" * 20,
        "RONDO_KEYSTORE": "alice.json",
        "RONDO_FEDERATION": "0x" + "22" * 32,
    }
    done = rondo("audit", "1", "--attest", cwd=tmp_path, RONDO_PASSPHRASE="wrong staple", **settings)
    assert done.returncode == 77 and "passphrase is wrong" in done.stderr
    assert "wrong staple" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["org"],
        ["client"],
        ["keys"],
        ["audit"],
        ["deploy"],
        ["node"],
        ["demo"],
        ["org", "create"],
        ["pins"],
        ["export"],
        ["import"],
    ],
)
def test_every_command_has_help(words: list[str], tmp_path: Path) -> None:
    done = rondo(*words, "--help", cwd=tmp_path)
    assert done.returncode == 0 and "Usage: rondo" in done.stdout


def test_a_demo_through_kubo_begins_nothing_where_there_is_none(tmp_path: Path) -> None:
    nothing = {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    done = rondo("demo", "--ipfs", "kubo", "--dir", "run", cwd=tmp_path, **nothing)
    assert done.returncode == 69 and "make kubo" in done.stderr and done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr and not (tmp_path / "run").exists()


def test_the_operating_systems_no_is_an_error_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = rondo("digits", "file/below", cwd=tmp_path)
    assert done.returncode == 74 and "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(("words", "code"), [(["pins"], 78), (["cid"], 64)])
def test_an_error_that_nobody_can_be_told_keeps_its_exit_code(words: list[str], code: int, tmp_path: Path) -> None:
    # 1 would say "mismatch" or "something is missing" to who reads the codes of `rondo audit` and `rondo pins`.
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "rondo", *words]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stderr=full, check=False
        )
    assert done.returncode == code
