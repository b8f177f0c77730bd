"""Clients without a wei, real processes and a real node: three through acme's relay; a fourth whose relay is dead."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from client.artifacts import Artifacts
from client.claims import Claimer
from network.evm_chain import connect
from network.keys import open_keystore
from network.node import free_port
from network.store import open_store
from protocol.state import RoundState
from protocol.types import FederationId, address, bytes32
from tests.e2e.test_by_hand import PATIENCE_SECONDS, Person, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.node]

POOR = ("alice", "bob", "carol")
MARGIN, TRAINING = 120, 600  # chain seconds


class Machine:
    """All terminals of one directory; what runs in the background writes to a log and is killed at the end."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory, self.stack = directory, stack
        self.people = {name: Person(directory, name) for name in ("node", "acme", "payer", "eve", "dave", *POOR)}

    def start(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        log = self.stack.enter_context((self.directory / f"{name}.log").open("wb"))
        process = subprocess.Popen(
            [sys.executable, "-m", "rondo", *words],
            cwd=self.directory,
            env={**os.environ, **self.people[name].environment},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        return process

    def run(self, name: str, *words: str) -> Any:
        return self.people[name].run(*words)

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()

    def says(self, name: str, words: str) -> None:
        wait_for(lambda: words in self.log(name), f"{name} to say {words!r}: {self.log(name)}")

    def rpc(self, method: str, *parameters: object) -> Any:
        settings = tomllib.loads((self.directory / ".rondo" / "rondo.toml").read_text())
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        return requests.post(settings["chain_url"], json=request, timeout=20).json()["result"]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with ExitStack() as stack:
        machine = Machine(tmp_path, stack)
        machine.start("node", "node", "--dir", str(tmp_path / ".rondo"))
        machine.says("node", "RONDO_CONFIG")
        yield machine


def found(machine: Machine, addresses: dict[str, str]) -> FederationId:
    """acme's federation, audited by eve, and one round of it."""
    for name in ("acme", "payer", "eve", "dave"):
        machine.run("acme", "fund", addresses[name], "--dir", ".rondo")
    machine.run("acme", "fund", addresses["acme"], "--tokens", "1000", "--dir", ".rondo")
    root = Path(__file__).resolve().parents[2] / "rondo"
    create = ["--task", str(root / "digits_task.toml"), "--model", str(root / "digits_model.json")]
    federation = machine.run("acme", "org", "create", *create, "--auditor", addresses["eve"])["federation"]
    for person in machine.people.values():
        person.environment["RONDO_FEDERATION"] = federation
    windows = ["--training-seconds", str(TRAINING), "--settlement-seconds", "600", "--challenge-seconds", "600"]
    pay = ["--reward-per-milli", "1000", "--max-millis", "60000", "--time-cap-millis", "5000", "--max-updates", "4"]
    machine.run("acme", "org", "launch", *windows, *pay)
    return FederationId(bytes32(federation))


def test_clients_without_a_wei_are_paid_and_a_dead_relay_is_no_loss(machine: Machine) -> None:
    everybody = [name for name in machine.people if name != "node"]
    addresses = {name: machine.run(name, "keys", "new", f"{name}.json")["address"] for name in everybody}
    federation = found(machine, addresses)
    data = machine.run("acme", "digits", "data", "--clients", "4")["clients"]

    port = free_port()
    machine.start("payer", "org", "serve", "--port", str(port), "--relay", "payer.json", "--relay-anyone")
    machine.says("payer", f"http://127.0.0.1:{port}")
    relays = dict.fromkeys(POOR, f"http://127.0.0.1:{port}") | {"dave": f"http://127.0.0.1:{free_port()}"}
    clients = {
        name: machine.start(
            name, "client", "run", "--data", file, "--rounds", "1", "--trust-auditor", "any", "--relay", relays[name]
        )
        for (name, file) in zip((*POOR, "dave"), data, strict=True)
    }
    chain, _ = chain_of(machine, "acme")
    round_ = wait_for(lambda: with_updates(chain, federation, 3), "the relayed updates")
    machine.says("dave", "does not answer")
    about = requests.get(f"http://127.0.0.1:{port}/relay", timeout=20).json()
    assert about["account"] == addresses["payer"] and about["submitted"] == 3 and 1 <= about["transactions"] <= 3

    # dave waits until his margin, and is there in time with his own ether.
    own_from = round_.training_ends - MARGIN
    assert f"own transaction from chain second {own_from}" in machine.log("dave")
    machine.rpc("evm_setNextBlockTimestamp", hex(own_from))
    machine.rpc("evm_mine")
    wait_for(lambda: with_updates(chain, federation, 4), "dave's own transaction")
    assert "committed" in machine.log("dave")
    assert int(machine.rpc("eth_getTransactionCount", addresses["dave"], "latest"), 16) == 1

    machine.run("acme", "org", "settle", "1", "--wait")
    assert machine.run("eve", "audit", "1", "--attest")["verdict"] == "match"
    pay_from_acmes_gas(machine, federation, [addresses[name] for name in POOR])
    for name, process in clients.items():
        assert process.wait(PATIENCE_SECONDS) == 0, machine.log(name)
        assert "Traceback" not in machine.log(name)
    for name in POOR:
        assert int(machine.rpc("eth_getBalance", addresses[name], "latest"), 16) == 0
        assert int(machine.rpc("eth_getTransactionCount", addresses[name], "latest"), 16) == 0
        assert "is on chain" in machine.log(name) and "the update was merged" in machine.log(name)
    check_money(machine, federation, addresses)


def with_updates(chain: Any, federation: FederationId, count: int) -> RoundState | None:
    state = chain.state()
    round_ = state.rounds[state.federations[federation].rounds[0]]
    return round_ if len(round_.updates) == count else None


def chain_of(machine: Machine, name: str) -> Any:
    settings = tomllib.loads((machine.directory / ".rondo" / "rondo.toml").read_text())
    key = open_keystore(machine.directory / f"{name}.json", f"passphrase of {name}")
    return connect(settings["chain_url"], address(settings["contract"]), key), settings["store"]


def pay_from_acmes_gas(machine: Machine, federation: FederationId, clients: list[str]) -> None:
    """Anyone may send what pays a client."""
    chain, store = chain_of(machine, "acme")
    artifacts = Artifacts(open_store(store), chain.chain_id, chain.contract)
    state = chain.state()
    for client in clients:
        claimer = Claimer(chain, artifacts, address(client))
        assert claimer.take(claimer.due(state, state.federations[federation].rounds), state.now)


def check_money(machine: Machine, federation: FederationId, addresses: dict[str, str]) -> None:
    chain, _ = chain_of(machine, "acme")
    state = chain.state()
    [round_] = [state.rounds[one] for one in state.federations[federation].rounds]
    token = state.federations[federation].terms.token
    for name in (*POOR, "dave"):
        paid = round_.update_of(address(addresses[name])).paid
        assert paid and chain.balance_of(token, address(addresses[name])) == paid
    assert round_.paid_clients == sum(update.paid for update in round_.updates)
