"""``rondo deploy`` as it is typed: what it prints, its exit codes, and that other commands find what it deployed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from network.evm_chain import deploy_test_token
from network.factory import FACTORY, deterministic_address
from network.keys import new_keystore
from network.node import LocalNode
from rondo.local_node import ensure_deployed
from tests.network.chain_world import address_of, key_of
from tests.rondo.test_cli import rondo

pytestmark = pytest.mark.node
PASSPHRASE = "correct horse"
UNKNOWN = "0x" + "22" * 32


@pytest.fixture
def chain() -> Iterator[LocalNode]:
    with LocalNode(block_time=None) as node:
        yield node


class Desk:
    """Somebody with a keystore, at a node."""

    def __init__(self, directory: Path, node: LocalNode) -> None:
        self.directory, self.node = directory, node
        self.account = new_keystore(directory / "key.json", PASSPHRASE, 2**10)

    def rondo(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        mine = {"RONDO_CHAIN_URL": self.node.url, "RONDO_PASSPHRASE": PASSPHRASE, "RONDO_HOME": "home"}
        return rondo(*words, cwd=self.directory, **{**mine, **environment})

    def deploy(self, *words: str, **environment: str) -> dict[str, Any]:
        done = self.rondo("deploy", "--json", "--keystore", "key.json", *words, **environment)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))


@pytest.fixture
def desk(chain: LocalNode, tmp_path: Path) -> Desk:
    return Desk(tmp_path, chain)


# --- what fails ---


def test_no_key_and_no_money(desk: Desk) -> None:
    done = desk.rondo("deploy")
    assert (done.returncode, done.stdout) == (78, "") and "RONDO_KEYSTORE" in done.stderr
    done = desk.rondo("deploy", "--keystore", "key.json", "--json")
    assert done.returncode == 77 and f"{desk.account} holds 0 wei" in done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr
    assert not (desk.directory / "home" / "deployments.json").exists()


def test_another_chain(desk: Desk) -> None:
    done = desk.rondo("deploy", "--keystore", "key.json", "--chain-id", "1")
    assert done.returncode == 64 and "serves chain 31337, not chain 1" in done.stderr


def test_nothing_deployed_is_said_by_every_command(desk: Desk) -> None:
    for words in (["audit", "1"], ["org", "status"]):
        done = desk.rondo(*words, RONDO_FEDERATION=UNKNOWN)
        assert done.returncode == 78 and "rondo deploy" in done.stderr, done.stderr


def test_a_foreign_contract_is_refused_by_every_command_unless_accepted(desk: Desk) -> None:
    desk.node.fund(address_of("acme"))
    token = deploy_test_token(desk.node.url, key_of("acme"), 5)
    for words in (["audit", "1"], ["org", "status"]):
        done = desk.rondo(*words, RONDO_FEDERATION=UNKNOWN, RONDO_CONTRACT=token)
        assert done.returncode == 65 and "RONDO_ACCEPT_OTHER_CODE" in done.stderr, done.stderr
    done = desk.rondo("org", "status", RONDO_FEDERATION=UNKNOWN, RONDO_CONTRACT=token, RONDO_ACCEPT_OTHER_CODE="1")
    assert done.returncode == 66, done.stderr


@pytest.mark.parametrize(("place", "code", "found"), [("0x" + "11" * 20, 64, "nothing"), (FACTORY, 65, "foreign")])
def test_a_check_that_fails(desk: Desk, place: str, code: int, found: str) -> None:
    done = desk.rondo("deploy", "--check", place, "--json")
    assert done.returncode == code and done.stderr.startswith("error: ")
    document = json.loads(done.stdout)
    assert (document["matches"], document["found"], document["chain_id"]) == (False, found, 31337)
    assert document["why"]


# --- what works ---


def test_deployed_once_checked_and_found(desk: Desk) -> None:
    desk.node.fund(desk.account)
    first = desk.deploy()
    assert (first["contract"], first["deterministic"], first["created"]) == (deterministic_address(), True, True)
    again = desk.deploy()
    assert again == {**first, "created": False, "transaction": None, "gas_used": None}
    checked = desk.rondo("deploy", "--check", first["contract"], "--json")
    assert checked.returncode == 0
    assert json.loads(checked.stdout)["found"] == "ours"
    assert desk.rondo("org", "status", RONDO_FEDERATION=UNKNOWN).returncode == 66
    elsewhere = desk.rondo("org", "status", RONDO_FEDERATION=UNKNOWN, RONDO_HOME="elsewhere")
    assert elsewhere.returncode == 66, elsewhere.stderr


def test_people_read_lines(desk: Desk) -> None:
    desk.node.fund(desk.account)
    done = desk.rondo("deploy", "--rpc", desk.node.url, RONDO_KEYSTORE="key.json", RONDO_CHAIN_URL="http://127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    assert "is sent; waiting for a block" in done.stdout
    assert f"contract: {deterministic_address()}\ndeterministic: yes\ncreated: yes\n" in done.stdout
    done = desk.rondo("deploy")
    assert done.returncode == 0 and "nothing was created" in done.stdout


@pytest.mark.parametrize("with_factory", [True, False])
def test_twice_at_once(desk: Desk, with_factory: bool) -> None:
    desk.node.fund(desk.account)
    if not with_factory:
        desk.node.rpc("anvil_setCode", FACTORY, "0x")
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: desk.deploy(), range(2))
    assert first["contract"] == second["contract"]
    assert sorted([first["created"], second["created"]]) == [False, True]
    assert first["deterministic"] is with_factory
    assert int(desk.node.rpc("eth_getTransactionCount", desk.account, "latest"), 16) == 1


def test_twice_at_once_from_two_homes(desk: Desk) -> None:
    desk.node.fund(desk.account)
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda home: desk.deploy(RONDO_HOME=home), ["one", "two"]))
    assert {each["contract"] for each in done} == {deterministic_address()}


def test_the_local_node_has_it_at_the_same_address(chain: LocalNode, tmp_path: Path) -> None:
    deployment = ensure_deployed(chain, tmp_path)
    assert deployment.contract == deterministic_address()
    (tmp_path / "node.json").unlink()
    again = ensure_deployed(chain, tmp_path)
    assert again.contract == deployment.contract and again.token != deployment.token


def test_a_local_node_of_another_version_gets_this_ones_contract(chain: LocalNode, tmp_path: Path) -> None:
    deployment = ensure_deployed(chain, tmp_path)
    record = tmp_path / "node.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "contract": deployment.token}))
    assert ensure_deployed(chain, tmp_path) == deployment
