"""Finding the contract, and refusing other code, on a real node."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from network.address_book import AddressBook, Entry
from network.deployment import ensure_contract
from network.evm_chain import EvmChain, connect, deploy, deploy_test_token
from network.factory import deterministic_address
from network.node import LocalNode
from protocol.errors import ForeignContract, InvalidInput, SettingsError
from protocol.types import Address, Hash, address
from tests.network.chain_game import Game
from tests.network.chain_world import EvmWorld, address_of, key_of
from tests.network.faulty_node import FaultyNode

pytestmark = pytest.mark.node
ELSEWHERE = address("0x" + "e1" * 20)


@pytest.fixture(scope="module")
def running() -> Iterator[LocalNode]:
    with LocalNode(block_time=None) as node:
        node.fund(address_of("acme"))
        yield node


@pytest.fixture
def chain(running: LocalNode) -> Iterator[LocalNode]:
    """What a test does to the chain is taken back."""
    snapshot = running.rpc("evm_snapshot")
    yield running
    assert running.rpc("evm_revert", snapshot)


@pytest.fixture
def book(tmp_path: Path) -> AddressBook:
    return AddressBook(tmp_path)


def code_of(chain: LocalNode, place: Address) -> str:
    return str(chain.rpc("eth_getCode", place, "latest"))


# --- an address is given ---


def test_nothing_there(chain: LocalNode) -> None:
    with pytest.raises(InvalidInput, match=r"no contract at 0xE1.*chain 31337"):
        connect(chain.url, ELSEWHERE)
    with pytest.raises(InvalidInput, match="no contract at 0xE1"):
        connect(chain.url, ELSEWHERE, accept_other_code=True)


def test_another_contract(chain: LocalNode) -> None:
    token = deploy_test_token(chain.url, key_of("acme"), 5)
    with pytest.raises(ForeignContract, match=rf"{token} on chain 31337.*is not this version's.*another version") as no:
        connect(chain.url, token)
    assert no.value.exit_code == 65
    assert connect(chain.url, token, accept_other_code=True).contract == token


def test_a_copy_of_the_code_at_another_address(chain: LocalNode) -> None:
    ours = deploy(chain.url, key_of("acme"))
    chain.rpc("anvil_setCode", ELSEWHERE, code_of(chain, ours))
    with pytest.raises(ForeignContract, match=rf"made for {ours} on chain 31337: a copy"):
        connect(chain.url, ELSEWHERE)


def test_a_proxy_in_front(chain: LocalNode) -> None:
    """It would work today; what is behind it is not this contract's to promise."""
    ours = deploy(chain.url, key_of("acme"))
    chain.rpc("anvil_setCode", ELSEWHERE, f"0x363d3d373d3d3d363d73{ours[2:].lower()}5af43d82803e903d91602b57fd5bf3")
    proxied = connect(chain.url, ELSEWHERE, accept_other_code=True)
    assert proxied.view("federationId", address_of("acme"), bytes(32)) != bytes(32)
    with pytest.raises(ForeignContract, match=rf"a proxy that runs the code of {ours}"):
        connect(chain.url, ELSEWHERE)


def test_an_account_that_borrows_the_code(chain: LocalNode) -> None:
    ours = deploy(chain.url, key_of("acme"))
    chain.rpc("anvil_setCode", ELSEWHERE, f"0xef0100{ours[2:].lower()}")
    with pytest.raises(ForeignContract, match=rf"runs the code of {ours}"):
        connect(chain.url, ELSEWHERE)


def test_the_check_is_one_request(chain: LocalNode, book: AddressBook) -> None:
    ours = ensure_contract(chain.url, lambda: key_of("acme"), book).contract
    with FaultyNode(chain.url) as door:
        for given, where in ((ours, None), (ours, book), (None, book), (None, AddressBook(book.path.parent / "none"))):
            door.asked.clear()
            chain_ = connect(door.url, given, book=where)
            chain_.state()
            assert chain_.contract == ours
            assert door.asked.count("eth_getCode") == 1


# --- none is given ---


def test_none_anywhere_says_where_it_looked(chain: LocalNode, book: AddressBook) -> None:
    with pytest.raises(SettingsError, match=rf"chain 31337.*{deterministic_address()}: No code.*`rondo deploy`"):
        connect(chain.url, None)
    token = deploy_test_token(chain.url, key_of("acme"), 5)
    book.record(31337, Entry(token))
    with pytest.raises(SettingsError, match=rf"{token}: Its code is of another.*{deterministic_address()}: No") as no:
        connect(chain.url, None, book=book, accept_other_code=True)
    assert no.value.exit_code == 78


def test_the_deterministic_address_needs_no_book(chain: LocalNode, tmp_path: Path) -> None:
    ours = ensure_contract(chain.url, lambda: key_of("acme"), AddressBook(tmp_path / "deployer")).contract
    assert connect(chain.url, None).contract == ours
    assert connect(chain.url, None, book=AddressBook(tmp_path / "other")).contract == ours


def test_the_book_comes_first_and_a_stale_entry_does_no_harm(chain: LocalNode, book: AddressBook) -> None:
    everywhere = ensure_contract(chain.url, lambda: key_of("acme"), book).contract
    own = deploy(chain.url, key_of("acme"))
    book.record(31337, Entry(own))
    assert connect(chain.url, None, book=book).contract == own
    book.record(31337, Entry(ELSEWHERE))
    assert connect(chain.url, None, book=book).contract == everywhere


def test_what_everybody_knows_is_used(chain: LocalNode, tmp_path: Path) -> None:
    own = deploy(chain.url, key_of("acme"))
    known = json.dumps({"31337": {"address": own, "block": None, "block_hash": None}})
    assert connect(chain.url, None, book=AddressBook(tmp_path, known)).contract == own


# --- where its events begin ---


def first_block_asked(chain: LocalNode, given: Address | None, book: AddressBook, first_block: int = 0) -> int:
    first = []

    def note(request: dict[str, object], forward: object) -> dict[str, object]:
        if request["method"] == "eth_getLogs":
            first.append(int(request["params"][0]["fromBlock"], 16))  # type: ignore[index]
        return forward(request)  # type: ignore[operator,no-any-return]

    with FaultyNode(chain.url) as door:
        door.fault = note
        EvmChain(door.url, given, book=book, first_block=first_block).logs()
    return min(first)


def test_events_are_read_from_the_books_block(chain: LocalNode, book: AddressBook) -> None:
    chain.rpc("anvil_mine", hex(30))
    done = ensure_contract(chain.url, lambda: key_of("acme"), book)
    assert done.block is not None and done.block > 30
    chain.rpc("anvil_mine", hex(30))
    assert first_block_asked(chain, None, book) == done.block
    assert first_block_asked(chain, done.contract, book) == done.block
    assert first_block_asked(chain, done.contract, book, first_block=7) == 7


def test_a_block_of_another_chain_with_this_id_is_not_believed(chain: LocalNode, book: AddressBook) -> None:
    """Else a local chain that was started afresh would lose its first events."""
    ours = ensure_contract(chain.url, lambda: key_of("acme"), book).contract
    latest = int(chain.rpc("eth_blockNumber"), 16)
    book.record(31337, Entry(ours, latest, Hash(b"\7" * 32)))
    assert first_block_asked(chain, None, book) == 0
    book.record(31337, Entry(ours, latest + 1000, Hash(b"\7" * 32)))
    assert first_block_asked(chain, None, book) == 0


def test_a_found_contract_works(chain: LocalNode, book: AddressBook) -> None:
    world = EvmWorld(chain)
    game = Game(world)
    game.launch()
    book.record(31337, Entry(world.contract))
    assert connect(chain.url, None, book=book).state() == world.state()
