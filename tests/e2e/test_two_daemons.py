"""Real processes over real Kubo nodes that know nobody but each other: the demo, and a round in which nodes die."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from network.ipfs import KuboStore
from network.kubo_node import KuboNode, new_network_key
from protocol.cid import directory_cid, parse_cid
from protocol.state import RoundState
from protocol.terms import Phase
from protocol.types import Address, FederationId, address, bytes32
from rondo.demo_summary import read_report
from tests.e2e.test_by_hand import PATIENCE_SECONDS, wait_for
from tests.e2e.test_gasless import Machine, chain_of
from tests.network.kubo import IPFS, NO_IPFS

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.node,
    pytest.mark.skipif(IPFS is None, reason=NO_IPFS),
]

ROOT = Path(__file__).resolve().parents[2]
ROUNDS, CLIENTS = 2, 2
TRAINING, PUBLICATION = 600, 120  # chain seconds


# --- the demo ---


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    directory = tmp_path_factory.mktemp("demo") / "run"
    words = ["demo", "--ipfs", "kubo", "--clients", str(CLIENTS), "--rounds", str(ROUNDS), "--dir", str(directory)]
    done = subprocess.run(
        [sys.executable, "-m", "rondo", *words, "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), directory


def test_the_demo_comes_to_the_same_as_on_one_disk(demo: tuple[dict[str, Any], Path]) -> None:
    document, directory = demo
    assert [row["round"] for row in document["rounds"]] == [1, 2]
    for row in document["rounds"]:
        assert (row["updates"], row["audit"], row["outcome"]) == (CLIENTS, "match", "final")
    assert document["rounds"][1]["base_cid"] == document["rounds"][0]["model_cid"]
    assert document["rounds"][-1]["accuracy"] >= 0.8
    assert document["tampered_report_caught"] is True
    escrow = {key: int(value) for key, value in document["escrow"].items()}
    assert escrow["in"] == escrow["paid_clients"] + escrow["paid_auditors"] + escrow["returned"]
    assert escrow["paid_clients"] == sum(row["credited_ms"] for row in document["rounds"]) * 10**15 > 0
    assert not (directory / "store").exists(), "there was no other store"
    assert any((directory / "ipfs" / "auditor").rglob("bafk*")), "the auditor keeps a copy of its own"


def test_each_daemon_knew_nobody_but_the_other_and_had_all_content_from_it(demo: tuple[dict[str, Any], Path]) -> None:
    document, directory = demo
    assert document["ipfs"]["kind"] == "kubo"
    organization, clients = document["ipfs"]["daemons"]
    for row, peer in ((organization, clients), (clients, organization)):
        assert row["peers"] == row["peers_ever_seen"] == [peer["peer_id"]]
        assert row["received_bytes"] == row["received_from_peer_bytes"] > 10_000
        assert all(one.startswith("/ip4/127.0.0.1/tcp/") for one in [*row["addresses"], row["api"]])
        log = (directory / "ipfs" / row["name"] / "kubo.log").read_text()
        assert "Swarm is limited to private network of peers with the swarm key" in log
        assert log.count("Swarm listening on") == log.count("Swarm listening on 127.0.0.1:") == 1


# --- a round with faults ---


class Federation:
    """acme with a node, alice with a node, bob with a node, and the round that they are in; eve reads through alice's."""

    def __init__(self, machine: Machine, stack: ExitStack) -> None:
        self.machine, key = machine, new_network_key()
        self.nodes = {
            name: stack.enter_context(KuboNode(machine.directory / "ipfs" / name, network_key=key))
            for name in ("acme", "alice", "bob")
        }
        for name in ("alice", "bob"):
            self.nodes["acme"].peer_with(self.nodes[name])
        for name, place in {"acme": "acme", "alice": "alice", "bob": "bob", "eve": "alice"}.items():
            machine.people[name].environment["RONDO_STORE"] = self.nodes[place].store
        self.addresses: dict[str, Address] = {}
        for name in ("acme", "eve", "alice", "bob"):
            self.addresses[name] = address(machine.run(name, "keys", "new", f"{name}.json")["address"])
            machine.run("acme", "fund", self.addresses[name], "--dir", ".rondo")
        machine.run("acme", "fund", self.addresses["acme"], "--tokens", "1000", "--dir", ".rondo")
        self.data = machine.run("acme", "digits", "data", "--clients", "2")
        self.id = self._create()

    def _create(self) -> FederationId:
        task = (ROOT / "rondo" / "digits_task.toml").read_text()
        longer = task.replace("publication_seconds = 20", f"publication_seconds = {PUBLICATION}")
        assert longer != task
        (self.machine.directory / "task.toml").write_text(longer)
        words = ["--task", "task.toml", "--model", str(ROOT / "rondo" / "digits_model.json")]
        made = self.machine.run("acme", "org", "create", *words, "--auditor", self.addresses["eve"])["federation"]
        for person in self.machine.people.values():
            person.environment["RONDO_FEDERATION"] = made
        return FederationId(bytes32(made))

    def launch(self) -> None:
        windows = ["--training-seconds", str(TRAINING), "--settlement-seconds", "600", "--challenge-seconds", "600"]
        pay = ["--reward-per-milli", "1000", "--max-millis", "60000", "--time-cap-millis", "5000", "--max-updates", "3"]
        self.machine.run("acme", "org", "launch", *windows, *pay)

    def train(self, name: str) -> subprocess.Popen[bytes]:
        """Start a client and wait until its update is on chain."""
        shard = self.data["clients"][0 if name == "alice" else 1]
        words = ["--data", shard, "--rounds", "1", "--trust-auditor", self.addresses["eve"]]
        process = self.machine.start(name, "client", "run", *words)
        wait_for(lambda: self.round().update_of(self.addresses[name]), f"{name}'s update: {self.machine.log(name)}")
        return process

    def round(self) -> RoundState:
        state = self.state()
        return state.rounds[state.federations[self.id].rounds[0]]

    def state(self) -> Any:
        return chain_of(self.machine, "acme")[0].state()

    def advance_to(self, second: int) -> None:
        self.machine.rpc("evm_setNextBlockTimestamp", hex(second))
        self.machine.rpc("evm_mine")

    def verdicts(self) -> dict[str, str]:
        report = read_report(KuboStore(self.nodes["acme"].api_address), self.round())
        assert report is not None
        names = {one: name for name, one in self.addresses.items()}
        return {names[update.client]: update.verdict for update in report[0].updates}


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    with ExitStack() as stack:
        machine = Machine(tmp_path, stack)
        machine.start("node", "node", "--dir", str(tmp_path / ".rondo"))
        machine.says("node", "RONDO_CONFIG")
        yield Federation(machine, stack)


def test_a_round_in_which_nodes_die(federation: Federation) -> None:
    machine, nodes = federation.machine, federation.nodes
    federation.launch()
    bob = federation.train("bob")
    nodes["bob"].kill()  # and with it all that is known of his update but its digest
    alice = federation.train("alice")
    nodes["alice"].kill()

    federation.advance_to(federation.round().training_ends)
    assert federation.round().phase is Phase.SETTLEMENT
    settling = machine.start("acme", "org", "settle", "1", "--wait", "--test-data", federation.data["held_out"])
    machine.says("alice", "Trying again")
    machine.says("acme", "waiting until")
    assert all(federation.addresses[name] in machine.log("acme") for name in ("alice", "bob"))

    # alice's node is back in time: her worker publishes, and the round waits for bob alone.
    nodes["alice"].start()
    machine.says("alice", "published")
    wait_for(
        lambda: f"for the bytes of {federation.addresses['bob']}" in machine.log("acme"), "bob alone to be missing"
    )
    assert settling.poll() is None and alice.poll() is None

    # bob's never is. His update is refused with that reason, and nobody else loses anything.
    closed = federation.round().training_closed_at
    assert closed is not None
    federation.advance_to(closed + PUBLICATION)
    assert settling.wait(PATIENCE_SECONDS) == 0, machine.log("acme")
    assert f"{federation.addresses['bob']} unavailable" in machine.log("acme")
    assert federation.verdicts() == {"alice": "accepted", "bob": "unavailable"}
    [audit] = machine.run("eve", "audit", "--follow", "--attest", "--rounds", "1")["audits"]
    assert audit["verdict"] == "match"
    assert alice.wait(PATIENCE_SECONDS) == 0, machine.log("alice")

    # What comes too late changes nothing: not the verdict, not the pay.
    nodes["bob"].start()
    assert bob.wait(PATIENCE_SECONDS) == 0, machine.log("bob")
    assert "the update was not merged" in machine.log("bob")
    round_ = federation.round()
    assert round_.phase is Phase.FINAL
    assert round_.update_of(federation.addresses["alice"]).paid > 0
    assert not round_.update_of(federation.addresses["bob"]).paid
    assert machine.run("eve", "audit", "1")["verdict"] == "match"
    assert not any("Traceback" in machine.log(name) for name in ("acme", "alice", "bob"))
    for name, peers in {"acme": {"alice", "bob"}, "alice": {"acme"}, "bob": {"acme"}}.items():
        assert nodes[name].connected_peers() <= {nodes[peer].peer_id for peer in peers}
    assert nodes["acme"].received(nodes["alice"].peer_id) > 0
    lost_pins_come_back(federation)


def lost_pins_come_back(federation: Federation) -> None:
    """acme's node loses every pin and all its content; `rondo pins --repair` brings it back from alice's, through which
    eve has read, and on which she left the result that she derived."""
    acme, node = federation.machine.people["acme"], federation.nodes["acme"]
    settled = federation.round().settled
    assert settled is not None
    needed = {str(directory_cid(one)) for one in (settled.settlement.model, settled.settlement.report)}
    assert needed <= pinned(node)
    federation.nodes["bob"].stop()
    node.run("pin", "rm", *pinned(node))
    node.run("repo", "gc")
    assert not any(KuboStore(node.api_address).has_block(parse_cid(one)) for one in needed)
    before = node.received()

    lost = acme.run("pins", expect=1)
    assert not lost["complete"] and {pin["cid"] for pin in lost["pins"] if pin["fault"]}
    assert node.received() == before, "showing fetches nothing"
    mended = acme.run("pins", "--repair")
    assert mended["complete"] and needed <= {pin["cid"] for pin in mended["pins"]}
    assert needed <= pinned(node)
    assert node.received(federation.nodes["alice"].peer_id) > before
    node.run("repo", "gc")
    again = acme.run("pins")
    assert again["complete"] and [pin["standing"] for pin in again["pins"] if pin["cid"] in needed] == ["kept"] * 2
    # What came back is enough for anybody: alice's node is down now, and acme's alone is asked.
    federation.nodes["alice"].stop()
    assert acme.run("audit", "1")["verdict"] == "match"


def pinned(node: KuboNode) -> set[str]:
    return set(node.run("pin", "ls", "--type=recursive", "--quiet").decode().split())
