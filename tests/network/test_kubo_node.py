"""The private Kubo node: it starts, keeps its place, meets its peer again, talks to nobody else, and never outlives us."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from network.ipfs import KuboStore
from network.kubo_config import configure, read_config
from network.kubo_node import KuboNode, new_network_key
from network.transfer import fetch_file, publish_file
from protocol.cid import parse_cid
from protocol.errors import InvalidInput, StoreUnavailable
from protocol.unixfs import CHUNK
from tests.network.kubo import IPFS, NO_IPFS

pytestmark = pytest.mark.skipif(IPFS is None, reason=NO_IPFS)

DATA = hashlib.shake_256(b"a model").digest(20 * CHUNK + 12_345)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KuboNode, KuboNode]]:
    """acme's node and alice's, of one private network, connected."""
    place, key = tmp_path_factory.mktemp("pair"), new_network_key()
    with (
        KuboNode(place / "acme", network_key=key, gateway=True) as acme,
        KuboNode(place / "alice", network_key=key) as alice,
    ):
        acme.peer_with(alice)
        yield acme, alice


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def daemon_of(node: KuboNode) -> psutil.Process:
    """The process of the daemon itself."""
    assert node._process is not None
    return next(child for child in psutil.Process(node._process.pid).children(recursive=True) if child.name() == "ipfs")


# --- what fails ---


def test_without_a_kubo_there_is_no_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RONDO_IPFS", "/nowhere/ipfs")
    with pytest.raises(StoreUnavailable, match="RONDO_IPFS"):
        KuboNode(tmp_path / "node").start()


def test_without_the_network_key_it_does_not_start_at_all(tmp_path: Path) -> None:
    node = KuboNode(tmp_path / "node")
    node.initialise()
    (node.repository / "swarm.key").unlink()
    with pytest.raises(StoreUnavailable, match=r"did not start\..*private network"):
        node.start()
    assert not node.is_running
    node.stop()


def test_a_port_that_is_taken_is_in_the_error(tmp_path: Path) -> None:
    node = KuboNode(tmp_path / "node")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        node.initialise()
        configure(node.repository, {"Addresses.API": f"/ip4/127.0.0.1/tcp/{taken.getsockname()[1]}"})
        with pytest.raises(StoreUnavailable, match="address already in use"):
            node.start()


def test_one_that_never_answers_is_given_up_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with KuboNode(tmp_path / "node"):
        pass
    deaf = tmp_path / "ipfs"
    deaf.write_text("#!/bin/sh\n[ $1 = version ] && echo 0.40.1 && exit\necho deaf; exec sleep 60\n")
    deaf.chmod(0o755)
    monkeypatch.setenv("RONDO_IPFS", str(deaf))
    started = time.monotonic()
    node = KuboNode(tmp_path / "node")
    with pytest.raises(StoreUnavailable, match=r"did not start\. deaf Look into .*kubo.log"):
        node.start(patience=1)
    assert time.monotonic() - started < 10 and not node.is_running


def test_one_that_died_says_so(tmp_path: Path) -> None:
    with KuboNode(tmp_path / "node") as node:
        node.check()
        daemon_of(node).kill()
        wait_for(lambda: not node.is_running)
        with pytest.raises(StoreUnavailable, match="has ended"):
            node.check()
        with pytest.raises(StoreUnavailable, match="does not answer id"):
            node.rpc("id")


@pytest.mark.slow
def test_nodes_of_two_networks_do_not_meet(pair: tuple[KuboNode, KuboNode], tmp_path: Path) -> None:
    acme, alice = pair
    with KuboNode(tmp_path / "mallory") as mallory:
        with pytest.raises(InvalidInput, match="different private networks"):
            acme.peer_with(mallory)
        with pytest.raises(StoreUnavailable, match="refused swarm/connect"):  # nor by mallory's own effort
            mallory.rpc("swarm/connect", arg=acme.addresses[0])
        assert mallory.connected_peers() == frozenset()
    assert acme.connected_peers() == {alice.peer_id}


# --- what it is ---


def test_it_listens_and_talks_on_loopback_alone(pair: tuple[KuboNode, KuboNode]) -> None:
    for node, peer in (pair, pair[::-1]):
        sockets = daemon_of(node).net_connections(kind="inet")
        listening = {one.laddr.port for one in sockets if one.status == psutil.CONN_LISTEN}
        assert len(listening) == (3 if node.gateway else 2)  # API, swarm, gateway
        assert all(one.laddr.ip == "127.0.0.1" for one in sockets)
        assert all(one.raddr.ip == "127.0.0.1" for one in sockets if one.raddr)
        assert node.connected_peers() == {peer.peer_id}
        assert all(address.startswith("/ip4/127.0.0.1/tcp/") for address in node.addresses)


def test_it_knows_nobody_to_ask(pair: tuple[KuboNode, KuboNode]) -> None:
    acme, alice = pair
    config = read_config(acme.repository)
    assert config["Bootstrap"] == [] and config["Routing"]["Type"] == "none"
    assert not any(config[name]["Enabled"] for name in ("AutoConf", "AutoTLS", "HTTPRetrieval", "Provide"))
    assert acme.rpc("bootstrap/list")["Peers"] in (None, [])
    assert [peer["ID"] for peer in config["Peering"]["Peers"]] == [alice.peer_id]
    assert (acme.repository / "swarm.key").stat().st_mode & 0o077 == 0


def test_many_blocks_go_from_one_to_the_other_and_are_counted(pair: tuple[KuboNode, KuboNode]) -> None:
    acme, alice = pair
    before = acme.received()
    cid = publish_file(KuboStore(alice.api_address), DATA)
    assert fetch_file(KuboStore(acme.api_address), cid, len(DATA)) == DATA
    moved = acme.received() - before
    assert len(DATA) < moved < len(DATA) + 10_000  # 21 leaves and their root
    assert acme.received(alice.peer_id) == acme.received()
    assert int(alice.rpc("bitswap/ledger", arg=acme.peer_id)["Sent"]) == acme.received()


def test_the_gateway_gives_blocks_it_has_and_fetches_none(pair: tuple[KuboNode, KuboNode]) -> None:
    acme, alice = pair
    assert alice.gateway_url == "" and read_config(alice.repository)["Addresses"]["Gateway"] == []
    raw = {"Accept": "application/vnd.ipld.raw"}
    cid = acme.run("block", "put", "--cid-codec=raw", stdin=b"acme's").decode().strip()
    answer = httpx.get(f"{acme.gateway_url}/ipfs/{cid}", headers=raw, trust_env=False)
    assert (answer.status_code, answer.content) == (200, b"acme's")
    foreign = alice.run("block", "put", "--cid-codec=raw", stdin=b"alice's").decode().strip()
    assert httpx.get(f"{acme.gateway_url}/ipfs/{foreign}", headers=raw, trust_env=False).status_code >= 400
    assert str(parse_cid(foreign)) not in acme.run("refs", "local").decode()
    page = httpx.get(f"{acme.gateway_url}/ipfs/{cid}", trust_env=False)
    assert page.status_code >= 400, "it serves what can be verified, not pages"


# --- ends and beginnings ---


def test_after_a_kill_it_is_at_its_place_again_with_its_content_and_its_peer(tmp_path: Path) -> None:
    key = new_network_key()
    with (
        KuboNode(tmp_path / "acme", network_key=key, gateway=True) as acme,
        KuboNode(tmp_path / "alice", network_key=key) as alice,
    ):
        acme.peer_with(alice)
        place = (acme.api_address, acme.gateway_url, acme.addresses, acme.peer_id)
        cid = publish_file(KuboStore(acme.api_address), DATA)
        acme.kill()
        assert not acme.is_running
        wait_for(lambda: not alice.connected_peers())
        acme.start()
        assert (acme.api_address, acme.gateway_url, acme.addresses, acme.peer_id) == place
        assert alice.connected_peers() == {acme.peer_id}
        assert fetch_file(KuboStore(alice.api_address), cid, len(DATA)) == DATA
        acme.stop()
    # Another process's node knows its peer from its own settings.
    with KuboNode(tmp_path / "acme", gateway=True) as acme, KuboNode(tmp_path / "alice") as alice:
        assert acme.peer_id == place[3]
        assert acme.connected_peers() == {alice.peer_id}


def test_a_repository_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    half = tmp_path / "node" / "repository.new"
    half.mkdir(parents=True)
    (half / "config").write_text("{")  # a process was killed here
    with KuboNode(tmp_path / "node") as node:
        assert node.connected_peers() == frozenset()
    assert not half.exists()


def test_it_stops_when_we_are_killed(tmp_path: Path) -> None:
    script = f"""
import json, pathlib, time
from network.kubo_node import KuboNode
node = KuboNode(pathlib.Path({str(tmp_path)!r})).start()
print(json.dumps([node.api_address, node._process.pid]), flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        address, guard = json.loads(parent.stdout.readline())
        [daemon] = [child for child in psutil.Process(guard).children() if child.name() == "ipfs"]
        os.kill(parent.pid, signal.SIGKILL)
    wait_for(lambda: not daemon.is_running() or daemon.status() == psutil.STATUS_ZOMBIE)
    with KuboNode(tmp_path) as node:
        assert node.api_address == address
