"""Deploying on a real node: once, at the same address everywhere, whatever is killed, missing or in the way."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from network.address_book import AddressBook, Entry
from network.contract_code import Kind, judge
from network.deployment import Deployment, ensure_contract, examine
from network.evm_chain import connect, deploy
from network.factory import FACTORY, FACTORY_CODE, created_address, deterministic_address
from network.node import LocalNode, free_port
from protocol.errors import ChainUnavailable, DeploymentFailed, ForeignContract, InsufficientFunds, InvalidInput
from protocol.types import Address, address
from tests.network.chain_world import address_of, key_of
from tests.network.faulty_node import FaultyNode, always

pytestmark = pytest.mark.node
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def running() -> Iterator[LocalNode]:
    with LocalNode(block_time=None) as node:
        for name in ("acme", "bob"):
            node.fund(address_of(name))
        yield node


@pytest.fixture
def chain(running: LocalNode) -> Iterator[LocalNode]:
    """A chain that has the factory and no contract; whatever a test does to it is taken back."""
    snapshot = running.rpc("evm_snapshot")
    yield running
    running.rpc("evm_setAutomine", True)
    running.rpc("anvil_dropAllTransactions")
    assert running.rpc("evm_revert", snapshot)


@pytest.fixture
def book(tmp_path: Path) -> AddressBook:
    return AddressBook(tmp_path / "home")


def no_key() -> Any:
    raise AssertionError("nothing is to be sent")


def run(chain: LocalNode, book: AddressBook, name: str = "acme", **options: Any) -> Deployment:
    return ensure_contract(chain.url, lambda: key_of(name), book, **options)


def set_code(chain: LocalNode, place: Address, code: bytes) -> None:
    chain.rpc("anvil_setCode", place, "0x" + code.hex())


def code_of(chain: LocalNode, place: Address) -> bytes:
    return bytes.fromhex(chain.rpc("eth_getCode", place, "latest")[2:])


def is_ours(chain: LocalNode, place: Address) -> bool:
    return judge(code_of(chain, place), chain.chain_id, place).is_ours


def sent(chain: LocalNode, name: str = "acme") -> int:
    return int(chain.rpc("eth_getTransactionCount", address_of(name), "latest"), 16)


def waiting(chain: LocalNode) -> int:
    return int(chain.rpc("txpool_status")["pending"], 16)


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


# --- what fails ---


def test_no_node(book: AddressBook) -> None:
    with pytest.raises(ChainUnavailable, match="does not answer"):
        ensure_contract(f"http://127.0.0.1:{free_port()}", no_key, book)
    assert not book.path.exists()


def test_another_chain_than_was_meant(chain: LocalNode, book: AddressBook) -> None:
    with pytest.raises(InvalidInput, match=r"serves chain 31337, not chain 1\."):
        ensure_contract(chain.url, no_key, book, chain_id=1)
    with pytest.raises(InvalidInput, match=r"serves chain 31337, not chain 1\."):
        examine(chain.url, FACTORY, 1)


@pytest.mark.parametrize("with_factory", [True, False])
def test_an_account_without_gas_money(chain: LocalNode, book: AddressBook, with_factory: bool) -> None:
    if not with_factory:
        set_code(chain, FACTORY, b"")
    poor = Account.create()
    with pytest.raises(InsufficientFunds, match=rf"{poor.address} holds 0 wei.*Send \d+ wei"):
        ensure_contract(chain.url, lambda: poor, book)
    assert not book.path.exists()


@pytest.mark.parametrize("with_factory", [True, False])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--hardfork", "shanghai"), "lacks the Cancun upgrade"),
        (("--code-size-limit", "5000"), "does not create the contract"),
    ],
)
def test_a_chain_that_cannot_have_it(
    book: AddressBook, options: tuple[str, ...], said: str, with_factory: bool
) -> None:
    with LocalNode(block_time=None, options=options) as node:
        node.fund(address_of("acme"))
        if not with_factory:
            set_code(node, FACTORY, b"")
        with pytest.raises(DeploymentFailed, match=said) as failure:
            run(node, book)
        assert failure.value.exit_code == 76
        assert sent(node) == 0
    assert not book.path.exists()


# --- with the factory ---


def test_the_committed_factory_code_is_the_one_that_chains_have(chain: LocalNode) -> None:
    assert code_of(chain, FACTORY) == FACTORY_CODE


def test_the_first_run_creates_it_at_the_address_that_was_known_before(chain: LocalNode, book: AddressBook) -> None:
    place = deterministic_address()
    assert not code_of(chain, place)
    done = run(chain, book)
    assert (done.contract, done.deterministic, done.chain_id) == (place, True, 31337)
    assert is_ours(chain, place)
    assert done.transaction is not None and done.gas_used is not None and done.gas_used > 1_000_000
    block = chain.rpc("eth_getBlockByNumber", hex(done.block or 0), False)
    assert "0x" + done.transaction.hex() in block["transactions"]
    assert book.find(31337) == [Entry(place, done.block, bytes.fromhex(block["hash"][2:]))]  # type: ignore[arg-type]


def test_the_second_run_sends_nothing_and_opens_no_key(chain: LocalNode, book: AddressBook, tmp_path: Path) -> None:
    first = run(chain, book)
    again = ensure_contract(chain.url, no_key, book)
    assert (again.contract, again.transaction, again.block) == (first.contract, None, first.block)
    elsewhere = ensure_contract(chain.url, no_key, AddressBook(tmp_path / "elsewhere"))
    assert (elsewhere.contract, elsewhere.transaction, elsewhere.block) == (first.contract, None, None)
    assert sent(chain) == 1


def test_who_sends_it_does_not_matter_and_neither_does_the_chain(chain: LocalNode, book: AddressBook) -> None:
    with LocalNode(block_time=None, chain_id=4242) as other:
        other.fund(address_of("bob"))
        here, there = run(chain, book), run(other, book, "bob")
        assert here.contract == there.contract
        assert [book.find(31337)[0].address, book.find(4242)[0].address] == [here.contract] * 2
        assert is_ours(chain, here.contract) and is_ours(other, there.contract)
        # The same address on two chains is safe: a signature's domain, and so the code, binds the chain.
        mine, theirs = code_of(chain, here.contract), code_of(other, there.contract)
        assert mine != theirs
        set_code(chain, here.contract, theirs)
        assert examine(chain.url, here.contract).verdict.kind is Kind.MISPLACED


def test_the_person_who_waits_is_told(chain: LocalNode, book: AddressBook) -> None:
    said: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(run, chain, book, confirmations=2, say=said.append)
        wait_until(lambda: len(said) == 2)
        assert not done.done()
        chain.rpc("anvil_mine", hex(2))
        result = done.result(20)
    assert result.transaction is not None
    assert said[0] == f"Transaction 0x{result.transaction.hex()} is sent; waiting for a block to take it."
    assert said[1] == f"It is in block {result.block}; waiting for 2 more on top."


# --- killed, raced ---


def test_killed_after_the_block_and_before_the_book(chain: LocalNode, book: AddressBook) -> None:
    first = run(chain, book)
    book.path.unlink()
    assert ensure_contract(chain.url, no_key, book).contract == first.contract
    assert [entry.address for entry in book.find(31337)] == [first.contract]


@pytest.mark.parametrize("with_factory", [True, False])
def test_killed_between_sending_and_the_block(chain: LocalNode, book: AddressBook, with_factory: bool) -> None:
    if not with_factory:
        set_code(chain, FACTORY, b"")
    chain.rpc("evm_setAutomine", False)
    script = (
        "import pathlib\n"
        "from network.address_book import AddressBook\n"
        "from network.deployment import ensure_contract\n"
        "from tests.network.chain_world import key_of\n"
        f"ensure_contract({chain.url!r}, lambda: key_of('acme'), AddressBook(pathlib.Path({str(book.path.parent)!r})))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT) as child:
        wait_until(lambda: waiting(chain) == 1, 60)
        child.kill()
    said: list[str] = []

    def unaware(request: dict[str, Any], _: object) -> dict[str, Any]:
        """Estimate gas as of the latest block, as most nodes do: nothing is in the transaction's way there."""
        return {"jsonrpc": "2.0", "id": request["id"], "result": hex(6_000_000)}

    with FaultyNode(chain.url) as door, ThreadPoolExecutor(1) as pool:
        door.fault = always("eth_estimateGas", unaware)
        done = pool.submit(ensure_contract, door.url, lambda: key_of("acme"), book, say=said.append)
        wait_until(lambda: any("waits for a block already" in line for line in said))
        assert waiting(chain) == 1
        chain.rpc("evm_mine")
        deployment = done.result(20)
    assert deployment.transaction is None and is_ours(chain, deployment.contract)
    assert deployment.deterministic is with_factory
    assert sent(chain) == 1


def test_two_accounts_at_once_on_nodes_that_show_no_pool(chain: LocalNode, tmp_path: Path) -> None:
    """Both transactions go out; the second one's failure is no failure of the deployment."""
    chain.rpc("evm_setAutomine", False)

    def blind(request: dict[str, Any], forward: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
        if request["params"][1] == "pending":
            return {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32602, "message": "no such tag"}}
        return forward(request)

    def one(name: str) -> Deployment:
        return ensure_contract(door.url, lambda: key_of(name), AddressBook(tmp_path / name))

    with FaultyNode(chain.url) as door, ThreadPoolExecutor(2) as pool:
        door.fault = always("eth_getCode", blind)
        both = [pool.submit(one, name) for name in ("acme", "bob")]
        wait_until(lambda: waiting(chain) == 2)
        chain.rpc("evm_mine")
        done = [each.result(30) for each in both]
    assert {each.contract for each in done} == {deterministic_address()}
    assert [each.transaction is None for each in done].count(True) == 1
    assert (sent(chain, "acme"), sent(chain, "bob")) == (1, 1)


@pytest.mark.parametrize("with_factory", [True, False])
def test_many_at_once_from_one_home(chain: LocalNode, book: AddressBook, with_factory: bool) -> None:
    if not with_factory:
        set_code(chain, FACTORY, b"")
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: run(chain, AddressBook(book.path.parent)), range(4)))
    assert len({each.contract for each in done}) == 1
    assert [each.transaction is None for each in done].count(False) == 1
    assert sent(chain) == 1


# --- without the factory ---


@pytest.mark.parametrize(
    ("code", "words"),
    [(b"", "nothing"), (b"\x60\x00", "other code"), (FACTORY_CODE + b"\0", "other code")],
)
def test_without_the_factory_it_gets_an_address_of_its_own(
    chain: LocalNode, book: AddressBook, code: bytes, words: str
) -> None:
    set_code(chain, FACTORY, code)
    said: list[str] = []
    done = run(chain, book, say=said.append)
    assert not done.deterministic and is_ours(chain, done.contract)
    assert said[0].startswith(f"warning: Chain 31337 has {words} at the factory's address {FACTORY}.")
    assert deterministic_address() in said[0]
    assert not code_of(chain, deterministic_address())
    again = ensure_contract(chain.url, no_key, book)
    assert (again.contract, again.transaction, again.block) == (done.contract, None, done.block)


def test_without_the_factory_and_the_book_the_accounts_own_contract_is_found(
    chain: LocalNode, book: AddressBook
) -> None:
    set_code(chain, FACTORY, b"")
    first = run(chain, book)
    chain.rpc("anvil_setNonce", address_of("acme"), hex(sent(chain) + 20))  # other transactions since
    book.path.unlink()
    again = run(chain, book)
    assert (again.contract, again.transaction) == (first.contract, None)
    assert [entry.address for entry in book.find(31337)] == [first.contract]


def test_foreign_code_at_the_deterministic_address(chain: LocalNode, book: AddressBook) -> None:
    """As on a chain that changed its id: the code there has the old one in it."""
    first = run(chain, book)
    chain.rpc("anvil_setChainId", 777)
    said: list[str] = []
    try:
        with pytest.raises(ForeignContract, match=r"made for 0x\w+ on chain 31337"):
            connect(chain.url, first.contract)
        done = run(chain, book, say=said.append)
    finally:
        chain.rpc("anvil_setChainId", 31337)
    assert (done.chain_id, done.deterministic) == (777, False)
    assert said[0].startswith(f"warning: Chain 777 has other code at {first.contract}.")
    assert judge(code_of(chain, done.contract), 777, done.contract).is_ours


@pytest.mark.parametrize("nonce", [0, 1, 0x7F, 0x80, 0xFF, 0x100, 0x10000])
def test_addresses_of_created_contracts(chain: LocalNode, nonce: int) -> None:
    creator = Account.create()
    chain.fund(address(str(creator.address)))
    if nonce:
        chain.rpc("anvil_setNonce", creator.address, hex(nonce))
    assert deploy(chain.url, creator) == created_address(address(str(creator.address)), nonce)
