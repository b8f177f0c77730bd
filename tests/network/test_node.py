"""The local node: it starts, keeps its chain, lets time pass, and never outlives us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from network.evm_chain import connect, deploy, deploy_test_token, fund_gas
from network.node import LocalNode, find_anvil, free_port
from protocol.errors import ChainUnavailable, SettingsError
from tests.network.chain_world import address_of, key_of

pytestmark = pytest.mark.node


def block(node: LocalNode) -> tuple[int, int]:
    """Number and timestamp of the latest block."""
    latest = node.rpc("eth_getBlockByNumber", "latest", False)
    return int(latest["number"], 16), int(latest["timestamp"], 16)


def test_anvil_is_the_packages_binary_or_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_anvil().is_file()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match=r"no anvil.*npm ci"):
        find_anvil(tmp_path)
    (tmp_path / "anvil").write_text("#!/bin/sh\n")
    (tmp_path / "anvil").chmod(0o755)
    assert find_anvil(tmp_path) == tmp_path / "anvil"


def test_time_passes_without_transactions() -> None:
    with LocalNode() as node:
        number, timestamp = block(node)
        deadline = time.monotonic() + 15
        while block(node)[1] < timestamp + 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert block(node)[0] > number


def test_no_accounts_but_those_we_fund(node: LocalNode) -> None:
    assert node.rpc("eth_accounts") == []
    fund_gas(node.url, address_of("bob"), 123)
    assert int(node.rpc("eth_getBalance", address_of("bob"), "latest"), 16) == 123
    node.fund(address_of("bob"), 456)
    assert int(node.rpc("eth_getBalance", address_of("bob"), "latest"), 16) == 456


def test_a_restart_keeps_the_chain_its_events_and_its_money(tmp_path: Path) -> None:
    from tests.network.chain_game import Game
    from tests.network.chain_world import EvmWorld

    with LocalNode(tmp_path / "chain", block_time=None) as node:
        world = EvmWorld(node)
        game = Game(world)
        game.launch()
        before = world.state()
        logs = world.chain("acme").logs()
    assert not node.is_running
    with LocalNode(tmp_path / "chain", port=node.port, block_time=None) as node:
        chain = connect(node.url, world.contract, key_of("acme"))
        assert chain.logs() == logs
        after = chain.state()
        assert (after.rounds, after.federations) == (before.rounds, before.federations)
        assert chain.view("getRound", game.round)[13] == after.rounds[game.round].updates_hash
        chain.set_admission(game.id, after.rounds[game.round].terms_hash)
        assert chain.now() >= before.now


def test_a_long_run_leaves_nothing_on_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # anvil's own files are below it
    with LocalNode(block_time=None) as node:
        node.rpc("anvil_mine", hex(700))
        assert block(node)[0] == 700
        assert sum(place.stat().st_size for place in tmp_path.rglob("*") if place.is_file()) < 100_000


def test_ids_of_a_chain_are_its_own() -> None:
    with LocalNode(block_time=None, chain_id=4242) as node:
        node.fund(address_of("acme"))
        contract = deploy(node.url, key_of("acme"))
        assert connect(node.url, contract).chain_id == 4242
        token = deploy_test_token(node.url, key_of("acme"), 5)
        assert connect(node.url, contract).balance_of(token, address_of("acme")) == 5


def test_a_port_that_is_taken(node: LocalNode, tmp_path: Path) -> None:
    with pytest.raises(ChainUnavailable, match=rf"cannot start on port {node.port}\..*in use"):
        LocalNode(tmp_path, port=node.port).start()
    assert node.is_running


def test_a_node_that_died_says_so(tmp_path: Path) -> None:
    with LocalNode(tmp_path, block_time=None) as node:
        node.check()
        (pid,) = anvils(node.port)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not node.is_running)
        with pytest.raises(ChainUnavailable, match="has ended"):
            node.check()
        with pytest.raises(ChainUnavailable, match="does not answer"):
            node.rpc("eth_chainId")
    node.stop()


def test_it_stops_when_we_are_killed_and_keeps_its_state(tmp_path: Path) -> None:
    port = free_port()
    script = f"""
import pathlib, time
from network.node import LocalNode
node = LocalNode(pathlib.Path({str(tmp_path)!r}), port={port}, block_time=None).start()
node.rpc("anvil_setBalance", "0x" + "11" * 20, "0x7b")
print("up", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        assert len(anvils(port)) == 1
        parent.kill()
    wait_for(lambda: not anvils(port))
    with LocalNode(tmp_path, block_time=None) as node:
        assert node.rpc("eth_getBalance", "0x" + "11" * 20, "latest") == "0x7b"


def anvils(port: int) -> list[int]:
    """Process ids of the anvils on ``port``."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().split(b"\0")
        except OSError:
            continue
        if Path(words[0].decode()).name == "anvil" and str(port).encode() in words:
            found.append(int(place.parent.name))
    return found


def wait_for(condition: object, seconds: float = 15) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)
