"""What the demo says of its two Kubo nodes is looked up, and each thing that it claims can turn out false."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from network.kubo_node import KuboNode
from network.store import open_store
from network.transfer import fetch_file, publish_file
from protocol.types import Address
from rondo.demo_stores import OneDirectory, TwoNodes, open_stores
from rondo.local_node import Deployment, write_settings
from tests.network.kubo import IPFS, NO_IPFS

needs_ipfs = pytest.mark.skipif(IPFS is None, reason=NO_IPFS)
NAMES = ("organization", "auditor", "client-1", "client-2", "demo")


def test_embedded_is_one_directory_for_everybody(tmp_path: Path) -> None:
    with open_stores("embedded", tmp_path) as stores:
        assert isinstance(stores, OneDirectory)
        assert {stores.of(name) for name in NAMES} == {f"dir:{tmp_path / 'store'}"}
        stores.watch()
        assert stores.conclude() == ({"kind": "embedded"}, [])


def test_the_settings_of_a_demo_name_its_store(tmp_path: Path) -> None:
    nowhere = Deployment("http://127.0.0.1:9", Address("0x" + "11" * 20), Address("0x" + "22" * 20))
    path = write_settings(tmp_path, nowhere, "kubo:/ip4/127.0.0.1/tcp/5001")
    assert 'store = "kubo:/ip4/127.0.0.1/tcp/5001"' in path.read_text()


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[TwoNodes]:
    with open_stores("kubo", tmp_path) as opened:
        assert isinstance(opened, TwoNodes)
        yield opened


def give(giver: KuboNode, taker: KuboNode, data: bytes) -> None:
    """Let a block be put on one node and read from the other."""
    cid = publish_file(open_store(giver.store), data)
    assert fetch_file(open_store(taker.store), cid, len(data)) == data


def give_both_ways(stores: TwoNodes) -> None:
    give(stores.organization, stores.clients, b"a base model")
    give(stores.clients, stores.organization, b"an update")


@needs_ipfs
def test_all_is_well_where_each_had_all_from_the_other(stores: TwoNodes) -> None:
    assert stores.of("organization") == stores.organization.store != stores.clients.store
    assert stores.of("client-1") == stores.of("client-2") == stores.clients.store
    assert stores.of("demo") == stores.organization.store
    give_both_ways(stores)
    stores.watch()
    document, problems = stores.conclude()
    assert problems == []
    organization, clients = document["daemons"]
    assert (organization["name"], clients["name"]) == ("organization", "clients")
    assert organization["received_bytes"] == organization["received_from_peer_bytes"] == len(b"an update")
    assert clients["received_bytes"] == clients["received_from_peer_bytes"] == len(b"a base model")
    assert organization["version"] == clients["version"] in stores.title


@needs_ipfs
def test_the_auditor_reads_both_nodes_through_their_gateways_and_writes_to_neither(stores: TwoNodes) -> None:
    auditor = open_store(stores.of("auditor"))
    for node, data in ((stores.organization, b"a report"), (stores.clients, b"an update")):
        cid = publish_file(open_store(node.store), data)
        assert fetch_file(auditor, cid, len(data)) == data
    mine = publish_file(auditor, b"what the auditor derived")
    assert fetch_file(auditor, mine, 100) == b"what the auditor derived"
    for node in (stores.organization, stores.clients):
        assert not open_store(node.store).has_block(mine)
        assert node.received() == 0, "a gateway fetches nothing for a stranger"


@needs_ipfs
def test_nodes_that_gave_each_other_nothing_show_nothing(stores: TwoNodes) -> None:
    give(stores.organization, stores.clients, b"a base model")
    _, problems = stores.conclude()
    assert len(problems) == 1 and "the organization node received nothing from its peer" in problems[0]


@needs_ipfs
def test_content_from_elsewhere_is_found_also_when_who_gave_it_is_gone(stores: TwoNodes, tmp_path: Path) -> None:
    give_both_ways(stores)
    key = (stores.organization.repository / "swarm.key").read_text()
    with KuboNode(tmp_path / "mallory", network_key=key) as mallory:
        mallory.peer_with(stores.clients)
        give(mallory, stores.clients, b"mallory's")
    _, problems = stores.conclude()
    assert "ipfs: the clients node received 9 bytes from elsewhere" in problems


@needs_ipfs
def test_a_third_peer_is_found_while_it_is_there_and_remembered(stores: TwoNodes, tmp_path: Path) -> None:
    give_both_ways(stores)
    key = (stores.organization.repository / "swarm.key").read_text()
    with KuboNode(tmp_path / "mallory", network_key=key) as mallory:
        mallory.peer_with(stores.organization)
        stores.watch()
        _, problems = stores.conclude()
        assert any(f"is connected to {sorted([mallory.peer_id, stores.clients.peer_id])}" in one for one in problems)
    _, problems = stores.conclude()
    assert any(f"was connected to {sorted([mallory.peer_id, stores.clients.peer_id])}" in one for one in problems)


@needs_ipfs
def test_a_node_that_died_is_a_problem_and_not_a_silence(stores: TwoNodes) -> None:
    give_both_ways(stores)
    stores.clients.kill()
    document, problems = stores.conclude()
    assert [row["name"] for row in document["daemons"]] == ["organization"]
    assert any("connected to nobody" in one for one in problems)
    assert any(str(stores.clients.directory) in one and "does not answer" in one for one in problems)
