"""The README's walk in separate terminals: the node is restarted on the way, client and organization are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.node]

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 180


class Person:
    """One terminal: a working directory with its own key and settings."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory, self.name = directory, name
        (directory / f"{name}.pass").write_text(f"passphrase of {name}")
        self.environment = {
            **os.environ,
            "RONDO_CONFIG": str(directory / ".rondo" / "rondo.toml"),
            "RONDO_KEYSTORE": str(directory / f"{name}.json"),
            "RONDO_PASSPHRASE_FILE": str(directory / f"{name}.pass"),
            "RONDO_HOME": str(directory / "home" / name),
            "RONDO_POLL_SECONDS": "0.2",
            "PYTHONPATH": str(ROOT),
        }

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "rondo", *words],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, expect: int = 0) -> Any:
        process = self.start(*words, "--json")
        stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == expect, f"{words}: exit {process.returncode}\n{stdout}\n{stderr}"
        assert "Traceback" not in stderr
        return json.loads(stdout) if expect in (0, 1, 2) else stderr


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"waited in vain for {what}")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts (and, called again, restarts) the local chain of this directory."""
    running: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        for process in running:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
        running.clear()
        process = Person(tmp_path, "node").start("node", "--dir", str(tmp_path / ".rondo"))
        running.append(process)
        assert process.stdout is not None
        wait_for(lambda: "RONDO_CONFIG" in (process.stdout.readline() if process.stdout else ""), "the node")
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_a_round_by_hand_with_kills(tmp_path: Path, node: Callable[[], subprocess.Popen[str]]) -> None:
    node()
    acme, alice, eve = (Person(tmp_path, name) for name in ("acme", "alice", "eve"))
    addresses = {}
    for person in (acme, alice, eve):
        addresses[person.name] = person.run("keys", "new", f"{person.name}.json")["address"]
        person.run("fund", addresses[person.name], "--dir", ".rondo")
    acme.run("fund", addresses["acme"], "--tokens", "1000", "--dir", ".rondo")
    data = acme.run("digits", "data", "--clients", "2")

    create = ["org", "create", "--task", str(ROOT / "rondo" / "digits_task.toml")]
    create += ["--model", str(ROOT / "rondo" / "digits_model.json"), "--auditor", addresses["eve"]]
    federation = acme.run(*create)["federation"]
    assert acme.run(*create)["federation"] == federation  # repeated: found, not created again
    for person in (acme, alice, eve):
        person.environment["RONDO_FEDERATION"] = federation

    # The chain is stopped and started: its state is kept, and everything is where it was.
    node()
    terms = ["--reward-per-milli", "1000000000000000", "--max-millis", "20000", "--time-cap-millis", "5000"]
    terms += [
        "--max-updates",
        "1",
        "--training-seconds",
        "600",
        "--settlement-seconds",
        "600",
        "--challenge-seconds",
        "600",
    ]
    acme.run("org", "launch", *terms, "--attestation-fee", "7", "--consolidate")
    assert "training" in acme.run("org", "launch", *terms, expect=64)  # a second one is refused by name

    # The client is killed as soon as it has something on disk, and started again.
    trust = ["--trust-auditor", addresses["eve"]]
    first = alice.start("client", "run", "--data", data["clients"][0], "--rounds", "1", *trust)
    home = Path(alice.environment["RONDO_HOME"])
    wait_for(lambda: home.exists() and any(home.rglob("*")), "the client's home")
    time.sleep(2)
    first.kill()
    first.communicate()
    client = alice.start("client", "run", "--data", data["clients"][0], "--rounds", "1", *trust)
    wait_for(lambda: acme.run("org", "status")["rounds"][0]["updates"] == 1, "the update")

    # So is the organization, in the middle of its settlement.
    settling = acme.start("org", "settle", "1", "--wait", "--test-data", data["held_out"])
    time.sleep(3)
    settling.kill()
    settling.communicate()
    acme.run("org", "settle", "1", "--wait", "--test-data", data["held_out"])
    audit = eve.run("audit", "1", "--attest")
    assert audit["verdict"] == "match"

    stdout, stderr = client.communicate(timeout=PATIENCE_SECONDS)
    assert client.returncode == 0, stdout + stderr
    status = acme.run("org", "status")
    round_ = status["rounds"][0]
    assert (round_["phase"], round_["updates"]) == ("final", 1)
    eve.run("audit", "1")
    _check_merge_and_standing(eve, addresses["alice"])
    acme.run("org", "withdraw")
    alice.run("claim")  # nothing left to claim is no error
    assert "2" in acme.run("audit", "2", expect=66)
    ended = acme.run("org", "status")["rounds"][0]
    assert int(ended["withdrawable"]) == 0


def _check_merge_and_standing(eve: Person, client: str) -> None:
    """What a stranger with chain and store alone can find out of the round."""
    again = eve.run("merge", "--round", "1")
    assert (again["verdict"], again["index"]) == ("match", 1)
    assert again["model"] == again["settled"] is not None
    assert "2" in eve.run("merge", "--round", "2", expect=66)
    (standing,) = eve.run("standing", client)["clients"]
    assert (standing["client"], standing["rounds"], standing["accepted"]) == (client, 1, 1)
    assert standing["standing"] == standing["agreement"] > 0
