"""Admission on a real chain by the commands alone: a listed client gets in and is paid, a stranger does not, a new list
counts only from the next launch."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from network.evm_chain import connect, deploy, deploy_test_token
from network.keys import new_keystore, open_keystore
from network.node import LocalNode
from protocol.errors import RondoError, TransactionReverted
from protocol.types import Digest, bytes32
from rondo.cli import app

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.node,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

ROOT = Path(__file__).resolve().parents[2]
PASSPHRASE = "of everybody here"
HOUR = 3600
TERMS = ["--reward-per-milli", 5, "--max-millis", 60_000, "--time-cap-millis", 30_000, "--max-updates", 4]


class Town:
    """People with keys of their own on one chain, who use nothing but the command."""

    def __init__(self, node: LocalNode, directory: Path) -> None:
        self.node, self.directory = node, directory
        self.addresses = {name: self._person(name) for name in ("acme", "eve", "alice", "bob", "mallory")}
        key = open_keystore(self.key("acme"), PASSPHRASE)
        self.contract = deploy(node.url, key)
        self.token = deploy_test_token(node.url, key, 10**15)
        (directory / "rondo.toml").write_text(
            f'chain_url = "{node.url}"\ncontract = "{self.contract}"\ntoken = "{self.token}"\n'
            f'store = "dir:{directory / "store"}"\n'
        )
        self.federation = ""

    def _person(self, name: str) -> str:
        address = new_keystore(self.key(name), PASSPHRASE, scrypt_n=1 << 10)
        self.node.fund(address)
        return address

    def key(self, name: str) -> Path:
        return self.directory / f"{name}.json"

    def do(self, name: str, *words: object, expect: int = 0) -> Any:
        """``name`` runs a command: its JSON, or the error where one is expected."""
        environment = {
            "RONDO_CONFIG": str(self.directory / "rondo.toml"),
            "RONDO_HOME": str(self.directory / "home" / name),
            "RONDO_KEYSTORE": str(self.key(name)),
            "RONDO_PASSPHRASE": PASSPHRASE,
            "RONDO_FEDERATION": self.federation or None,
        }
        result = CliRunner().invoke(app, [*map(str, words), "--json"], env=environment)
        if expect == 0:
            assert result.exit_code == 0, f"{words}: {result.exception!r}\n{result.output}"
            return json.loads(result.stdout)
        assert isinstance(result.exception, RondoError) and result.exception.exit_code == expect, result.output
        return str(result.exception)

    def train(self, name: str, expect: int = 0) -> Any:
        data = self.directory / "data" / f"client-{1 if name == 'alice' else 2}.npz"
        words = ("client", "run", "--data", data, "--once", "--no-claim", "--trust-auditor", self.addresses["eve"])
        return self.do(name, *words, expect=expect)

    def launch(self) -> Any:
        windows = ["--training-seconds", HOUR, "--settlement-seconds", HOUR, "--challenge-seconds", HOUR]
        launched = self.do("acme", "org", "launch", *TERMS, *windows)
        self.advance(60)  # trainings take seconds, and no more can be stated than have passed
        return launched

    def advance(self, seconds: int) -> None:
        now = int(self.node.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        self.node.advance_to(now + seconds)

    def list(self, *names: str) -> Path:
        path = self.directory / f"{'-'.join(names)}.txt"
        path.write_text("# admitted\n" + "".join(f"{self.addresses[name]}  # {name}\n" for name in names))
        return path

    def balance(self, name: str) -> int:
        return connect(self.node.url, self.contract).balance_of(self.token, self.addresses[name])


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with LocalNode(block_time=None) as node:
        yield Town(node, tmp_path)
    for number, handler in handlers.items():  # a command in this process catches them
        signal.signal(number, handler)


def test_who_is_listed_gets_in_and_is_paid(town: Town) -> None:
    people = town.addresses
    town.do("acme", "digits", town.directory / "data", "--clients", 2)
    create = ["--task", ROOT / "rondo" / "digits_task.toml", "--model", ROOT / "rondo" / "digits_model.json"]
    town.federation = town.do("acme", "org", "create", *create, "--auditor", people["eve"])["federation"]
    first, second = town.list("alice", "eve"), town.list("bob", "acme")

    # The list is set before the first launch; alice joins with the proof that acme wrote for everybody.
    proofs = town.directory / "proofs.json"
    admitted = town.do("acme", "org", "admit", first, "--proofs", proofs)
    assert (admitted["clients"], admitted["counts_from_round"], admitted["changed"]) == (2, 1, True)
    town.launch()
    assert "rondo client join --list FILE" in town.train("alice", expect=76)
    assert town.do("alice", "client", "join", "--proof", proofs)["counts_from_round"] == 1

    # A stranger is refused by every door: no proof, no training, and the contract itself.
    assert people["mallory"] in town.do("mallory", "client", "join", "--list", first, expect=77)
    assert "nothing was trained" in town.train("mallory", expect=76)
    mallory = connect(town.node.url, town.contract, open_keystore(town.key("mallory"), PASSPHRASE))
    round_id = next(iter(mallory.state().rounds))
    with pytest.raises(TransactionReverted, check=lambda error: error.name == "NotJoined"):
        mallory.submit_update(round_id, Digest(bytes32("0x" + "11" * 32)), 1)

    # A new list while the round runs: the round keeps the old one, whose members can still take part.
    assert town.do("acme", "org", "admit", second, "--join")["counts_from_round"] == 2
    assert town.do("bob", "client", "join", "--list", second)["transaction"] is None  # acme has joined him
    assert "Wait for the next round" in town.train("bob", expect=76)
    assert town.train("alice")["rounds"][0]["stage"] == "trained"

    town.advance(HOUR)
    assert town.train("alice")["rounds"][0]["stage"] == "published"
    assert town.do("acme", "org", "settle", "1")["settled"]
    assert town.do("eve", "audit", "1", "--attest")["verdict"] == "match"
    assert town.train("alice")["rounds"][0]["stage"] == "merged"
    [paid] = town.do("alice", "claim")["claims"]
    assert town.balance("alice") == int(paid["amount"]) > 0

    # From the next launch on it is the other way round.
    town.launch()
    assert "has not joined" in town.train("alice", expect=76)
    assert town.train("bob")["rounds"][0]["stage"] == "trained"
    status = town.do("acme", "org", "status")
    assert [one["updates"] for one in status["rounds"]] == [1, 1]
    assert status["joined"] == 2 and status["rounds"][1]["admission_root"] == status["admission_root"]
