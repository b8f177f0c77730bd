"""The local node's directory: what a restart keeps, and who gets money from it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from network.evm_chain import connect
from network.node import LocalNode, free_port
from protocol.errors import InvalidInput
from protocol.types import address
from rondo.local_node import run_node
from tests.rondo.test_cli import ROOT, rondo

ALICE = "0x" + "11" * 20


def test_a_second_node_in_a_directory_is_refused(tmp_path: Path) -> None:
    with FileLock(tmp_path / "node.lock"), pytest.raises(InvalidInput, match="runs in") as refusal:
        run_node(tmp_path, 0, json_mode=True)
    assert refusal.value.exit_code == 64
    assert not (tmp_path / "chain").exists()


@contextmanager
def running(directory: Path, *words: str, end: signal.Signals = signal.SIGINT) -> Iterator[dict[str, Any]]:
    """A node as it is typed; what it says of itself."""
    command = [sys.executable, "-m", "rondo", "node", "--dir", str(directory), "--json", *words]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RONDO_")}
    process = subprocess.Popen(
        command,
        cwd=directory.parent,
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        lines: list[str] = []
        assert process.stdout is not None and process.stderr is not None
        while not lines or lines[-1] != "}\n":
            line = process.stdout.readline()
            assert line, process.stderr.read()
            lines.append(line)
        yield json.loads("".join(lines))
    finally:
        process.send_signal(end)
        process.communicate(timeout=60)


def settings(directory: Path) -> dict[str, Any]:
    return tomllib.loads((directory / "rondo.toml").read_text())


@pytest.mark.node
@pytest.mark.slow
def test_a_restart_keeps_the_port_and_a_persons_settings(tmp_path: Path) -> None:
    place = tmp_path / ".rondo"
    with running(place, end=signal.SIGKILL) as first:
        file = place / "rondo.toml"
        written = file.read_text()
        file.write_text(f'# mine\nfederation = "0x{"22" * 32}"\n{written}confirmations = 2\n')
        mine = settings(place)
    with running(place) as again:  # the killed node's chain may still save its state
        assert again == first
        assert settings(place) == mine and "# mine\n" in file.read_text()
        chain = connect(again["chain_url"], address(again["contract"]))
        assert chain.balance_of(address(again["token"]), deployer(place)) > 0
    other = free_port()
    with running(place, "--port", str(other)) as moved:
        assert moved == first | {"chain_url": f"http://127.0.0.1:{other}"}
        assert settings(place) == mine | {"chain_url": moved["chain_url"]}
    with running(place) as stayed:  # the last port counts
        assert stayed == moved


def deployer(place: Path) -> Any:
    return address("0x" + json.loads((place / "keys" / "deployer.json").read_text())["address"].removeprefix("0x"))


def test_a_kept_port_that_somebody_has_taken_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rondo.local_node.SAVING_SECONDS", 0.2)
    from protocol.errors import ChainUnavailable

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        (tmp_path / "node.json").write_text(json.dumps({"chain_url": url, "contract": ALICE, "token": ALICE}))
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        with pytest.raises(ChainUnavailable, match="in use"):
            run_node(tmp_path, 0, json_mode=True)
        for number, handler in handlers.items():
            signal.signal(number, handler)


# --- money ---


def balance(node: LocalNode, account: str) -> int:
    return int(node.rpc("eth_getBalance", account, "latest"), 16)


@pytest.mark.node
def test_gas_money_on_the_chain_that_the_variable_names(tmp_path: Path) -> None:
    done = rondo("fund", ALICE, cwd=tmp_path)
    assert done.returncode == 64 and "rondo node" in done.stderr
    with LocalNode(block_time=None) as node:
        done = rondo("fund", ALICE, cwd=tmp_path, RONDO_CHAIN_URL=node.url)
        assert done.returncode == 0, done.stderr
        assert balance(node, ALICE) == 100 * 10**18
        done = rondo("fund", ALICE, "--tokens", "1", cwd=tmp_path, RONDO_CHAIN_URL=node.url)
        assert done.returncode == 64 and "not a node's directory" in done.stderr
        # A directory of another chain has no tokens to give on this one.
        (tmp_path / ".rondo").mkdir()
        record = {"chain_url": "http://127.0.0.1:9", "contract": ALICE, "token": ALICE}
        (tmp_path / ".rondo" / "node.json").write_text(json.dumps(record))
        (tmp_path / ".rondo" / "rondo.toml").write_text('chain_url = "http://127.0.0.1:9"\n')
        done = rondo("fund", ALICE, "--tokens", "1", cwd=tmp_path, RONDO_CHAIN_URL=node.url)
        assert done.returncode == 64 and "http://127.0.0.1:9" in done.stderr and "Unset" in done.stderr
        done = rondo("fund", ALICE, cwd=tmp_path)
        assert done.returncode == 69 and "127.0.0.1:9" in done.stderr
